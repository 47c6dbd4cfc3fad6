#include "src/base/large_pages.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>

namespace savedmodel {
namespace {

TEST(TakePages, ChangesNoByte) {
  constexpr size_t kLarge = 2 << 20;
  for (const size_t alignment : {size_t{64}, kLarge}) {
    for (const size_t n : {size_t{64}, size_t{100'000}, kLarge - 64, kLarge, 3 * kLarge + 4160}) {
      void* memory = nullptr;
      ASSERT_EQ(posix_memalign(&memory, alignment, n), 0);
      const std::unique_ptr<void, void (*)(void*)> owner(memory, std::free);
      char* const bytes = static_cast<char*>(memory);
      for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
      EXPECT_LE(TakeLargePages(bytes, n), n);
      TakePages(bytes, n);
      for (size_t i = 0; i < n; ++i) {
        ASSERT_EQ(bytes[i], static_cast<char>(i * 7 + i / 251)) << i << " of " << n;
      }
    }
  }
}

}  // namespace
}  // namespace savedmodel
