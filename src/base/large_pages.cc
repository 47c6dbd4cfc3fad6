#include "src/base/large_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace savedmodel {

#if defined(MADV_HUGEPAGE) && defined(MADV_NOHUGEPAGE)

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE: of Linux 5.14, not in older headers
constexpr uintptr_t kLargePage = 2 << 20;
constexpr size_t kWorthAsking = 64 << 10;
// What a large page's worth of small pages takes, about, and how much more than that large pages
// may have taken in all before this process does without: now and then one takes milliseconds.
constexpr int64_t kSmallPages = 600'000;
constexpr int64_t kPatience = 3'000'000;

bool Advise(uintptr_t begin, uintptr_t end, int advice) {
  return begin < end && madvise(reinterpret_cast<void*>(begin), end - begin, advice) == 0;
}

}  // namespace

void TakePages(void* memory, size_t bytes) {
  static const uintptr_t small_page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  static std::atomic<int64_t> lost{0};  // nanoseconds
  if (bytes < kWorthAsking) return;
  const uintptr_t start = reinterpret_cast<uintptr_t>(memory), end = start + bytes;
  const uintptr_t begin = start / small_page * small_page;
  // Large pages lie in blocks of their size or more, which begin with one.
  const uintptr_t first = begin / kLargePage * kLargePage, last = end / kLargePage * kLargePage;
  bool large = bytes >= kLargePage && lost.load(std::memory_order_relaxed) < kPatience &&
               Advise(first, last, MADV_HUGEPAGE);
  for (uintptr_t page = first; page < end; page += kLargePage) {
    const Clock::time_point before = Clock::now();
    if (!Advise(std::max(page, begin), std::min(page + kLargePage, end), kPopulateWrite)) {
      volatile char* const byte = reinterpret_cast<char*>(std::max(page, start));
      *byte = *byte;
    }
    if (!large || page >= last) continue;
    const int64_t more = std::chrono::nanoseconds(Clock::now() - before).count() - kSmallPages;
    const int64_t in_all = std::max<int64_t>(lost.load(std::memory_order_relaxed) + more, 0);
    lost.store(in_all, std::memory_order_relaxed);
    if (in_all < kPatience) continue;
    large = false;
    Advise(page + kLargePage, last, MADV_NOHUGEPAGE);
  }
}

#else

void TakePages(void*, size_t) {}

#endif

}  // namespace savedmodel
