#include "src/base/large_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace savedmodel {

#if defined(MADV_HUGEPAGE) && defined(MADV_NOHUGEPAGE)

void TakeLargePages(void* memory, size_t bytes) {
  using Clock = std::chrono::steady_clock;
  constexpr uintptr_t kPage = 2 << 20;
  constexpr std::chrono::microseconds kPatience(1000);  // ten times what a page at hand takes
  static std::atomic<bool> are_scarce{false};
  const uintptr_t begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = begin / kPage * kPage, end = (begin + bytes) / kPage * kPage;
  if (are_scarce.load(std::memory_order_relaxed) || end <= first + kPage) return;
  const auto advise = [end](uintptr_t from, int advice) {
    return madvise(reinterpret_cast<void*>(from), end - from, advice) == 0;
  };
  if (!advise(first, MADV_HUGEPAGE)) return;
  for (uintptr_t page = first; page < end; page += kPage) {
    const Clock::time_point start = Clock::now();
    *reinterpret_cast<volatile char*>(std::max(page, begin)) = 0;
    if (Clock::now() - start < kPatience) continue;
    are_scarce.store(true, std::memory_order_relaxed);
    advise(page, MADV_NOHUGEPAGE);
    return;
  }
}

#else

void TakeLargePages(void*, size_t) {}

#endif

}  // namespace savedmodel
