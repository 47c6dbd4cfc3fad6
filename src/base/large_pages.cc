#include "src/base/large_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>

namespace savedmodel {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kWorthAsking = 16 << 10;
constexpr uintptr_t kLargePage = 2 << 20;
// Nanoseconds that a large page may take, which is less than as many small ones do, and how many
// more in all before this process does without: now and then one takes milliseconds.
constexpr int64_t kWorthwhile = 400'000;
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

StatusOr<Tensor> AllocateOnLargePages(DType dtype, const Shape& shape) {
  const size_t bytes = static_cast<size_t>(shape.num_elements()) * DTypeSize(dtype);
  void* memory = nullptr;
  if (bytes < kLargePage || posix_memalign(&memory, kLargePage, bytes) != 0) {
    return Tensor::Allocate(dtype, shape);
  }
  return Tensor::BorrowMutable(dtype, shape, memory, bytes, [memory] { std::free(memory); });
}

void TakePages(void* memory, size_t bytes) {
  static const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(memory);
  if (bytes >= kWorthAsking) Advise(begin / page * page, begin + bytes, kPopulateWrite);
}

size_t TakeLargePages(void* memory, size_t bytes) {
  static std::atomic<int64_t> lost{0};  // nanoseconds
  const uintptr_t begin = reinterpret_cast<uintptr_t>(memory);
  // The first page may hold the allocator's words too.
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
