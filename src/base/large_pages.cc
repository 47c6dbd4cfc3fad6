#include "src/base/large_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace savedmodel {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kWorthAsking = 16 << 10;
constexpr uintptr_t kLargePage = 2 << 20;
// What a large page may take (half of what as many small ones take), and how much more in all
// before this process does without: now and then one takes milliseconds.
constexpr int64_t kWorthwhile = 300'000;
constexpr int64_t kPatience = 3'000'000;

#ifdef MADV_HUGEPAGE
constexpr int kHuge = MADV_HUGEPAGE, kNoHuge = MADV_NOHUGEPAGE;
constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE: of Linux 5.14, not in older headers
#else
constexpr int kHuge = -1, kNoHuge = -1, kPopulateWrite = -1;
#endif

bool Advise(uintptr_t begin, uintptr_t end, int advice) {
  return advice >= 0 && begin < end &&
         madvise(reinterpret_cast<void*>(begin), end - begin, advice) == 0;
}

}  // namespace

void TakePages(void* memory, size_t bytes) {
  static const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(memory);
  if (bytes >= kWorthAsking) Advise(begin / page * page, begin + bytes, kPopulateWrite);
}

size_t TakeLargePages(void* memory, size_t bytes) {
  static std::atomic<int64_t> lost{0};  // nanoseconds
  const uintptr_t begin = reinterpret_cast<uintptr_t>(memory);
  // Blocks of this size begin with a large page, which holds the allocator's words too.
  const uintptr_t first = begin / kLargePage * kLargePage;
  const uintptr_t end = (begin + bytes) / kLargePage * kLargePage;
  if (bytes < kLargePage || lost.load(std::memory_order_relaxed) >= kPatience ||
      !Advise(first, end, kHuge)) {
    return 0;
  }
  for (uintptr_t page = first; page < end; page += kLargePage) {
    const Clock::time_point start = Clock::now();
    volatile char* const byte = reinterpret_cast<char*>(std::max(page, begin));
    *byte = *byte;
    const int64_t more = std::chrono::nanoseconds(Clock::now() - start).count() - kWorthwhile;
    const int64_t in_all = std::max<int64_t>(lost.load(std::memory_order_relaxed) + more, 0);
    lost.store(in_all, std::memory_order_relaxed);
    if (in_all < kPatience) continue;
    Advise(page + kLargePage, end, kNoHuge);
    return page - std::min(page, begin);
  }
  return end - begin;
}

}  // namespace savedmodel
