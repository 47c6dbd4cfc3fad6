#include "src/base/block_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

namespace savedmodel {
namespace {

// Whether a sanitizer is to see every use of freed memory.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

class BlockCache {
 public:
  ~BlockCache() {
    for (Block*& bin : bins_) {
      while (bin != nullptr) std::free(std::exchange(bin, bin->next));
    }
    while (num_large_ > 0) FreeOldest();
    is_gone_ = true;
  }

  static void* Take(size_t* size) {
    const size_t bin = *size / kBlockAlignment;
    if (bin < kBins) {
      if (!is_gone_ && ThisThread().bins_[bin] != nullptr) {
        BlockCache& cache = ThisThread();
        cache.bytes_ -= *size;
        return std::exchange(cache.bins_[bin], cache.bins_[bin]->next);
      }
    } else if (!kSanitized) {
      *size = RoundUp(*size);
      if (void* const known = is_gone_ ? nullptr : ThisThread().TakeFitting(size)) return known;
    }
    return Allocate(*size);
  }

  static void Give(void* memory, size_t size) {
    const size_t bin = size / kBlockAlignment;
    if (bin < kBins && !is_gone_ && ThisThread().bytes_ + size <= kMostBytes) {
      BlockCache& cache = ThisThread();
      cache.bytes_ += size;
      cache.bins_[bin] = new (memory) Block{cache.bins_[bin]};
      return;
    }
    if (bin < kBins || is_gone_ || !ThisThread().GiveLarge(memory, size)) Free(memory, size);
  }

 private:
  struct Block {
    Block* next;
  };
  static constexpr size_t kBins = kSanitized ? 0 : 512;  // blocks of less than 32 KiB
  static constexpr size_t kMostBytes = 512 << 10;
  static constexpr int kMostLarge = kSanitized ? 0 : 32;                // blocks of 32 KiB and more
  static constexpr size_t kMostLargeBytes = kSanitized ? 0 : 64 << 20;  // of all threads

  struct LargeBlock {
    void* memory = nullptr;
    size_t size = 0;
  };

  // The system's own pages, so that they go back to it: between blocks of many sizes an allocator
  // keeps more than is in use.
  static constexpr size_t kOwnPages = kSanitized ? SIZE_MAX : 1 << 20;
  static void* Allocate(size_t size) {
    if (size < kOwnPages) return std::aligned_alloc(kBlockAlignment, size);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#ifdef MAP_POPULATE
    if (size <= kMostLargeBytes) flags |= MAP_POPULATE;  // all of them at once come sooner
#endif
    void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    return memory == MAP_FAILED ? nullptr : memory;
  }
  static void Free(void* memory, size_t size) {
    if (size < kOwnPages) {
      std::free(memory);
    } else {
      munmap(memory, size);
    }
  }

  // Sizes of large blocks are some of 16 between two powers of two.
  static size_t RoundUp(size_t size) {
    size_t unit = kBlockAlignment;
    while (unit * 32 <= size) unit *= 2;
    return size > SIZE_MAX - unit ? size : (size + unit - 1) / unit * unit;
  }

  // The smallest large block of at least `*size` bytes, if it is not much larger.
  void* TakeFitting(size_t* size) {
    int best = -1;
    for (int i = num_large_ - 1; i >= 0; --i) {
      const size_t found = large_[i].size;
      const bool fits = found >= *size && found - *size <= *size / 4;
      if (fits && (best < 0 || found < large_[best].size)) best = i;
    }
    if (best < 0) return nullptr;
    *size = large_[best].size;
    return TakeLarge(best);
  }

  void FreeOldest() {
    const size_t size = large_[0].size;
    Free(TakeLarge(0), size);
  }

  void* TakeLarge(int i) {
    const LargeBlock block = large_[i];
    all_large_bytes_.fetch_sub(block.size, std::memory_order_relaxed);
    std::copy(large_ + i + 1, large_ + num_large_, large_ + i);
    --num_large_;
    return block.memory;
  }

  // False where there is no room. The blocks that have waited longest make some.
  bool GiveLarge(void* memory, size_t size) {
    const auto fits = [&] {
      return num_large_ < kMostLarge &&
             all_large_bytes_.load(std::memory_order_relaxed) + size <= kMostLargeBytes;
    };
    if (size > kMostLargeBytes) return false;
    while (!fits() && num_large_ > 0) FreeOldest();
    if (!fits()) return false;
    large_[num_large_++] = {memory, size};
    all_large_bytes_.fetch_add(size, std::memory_order_relaxed);
    return true;
  }

  static BlockCache& ThisThread() {
    static thread_local BlockCache cache;
    return cache;
  }

  // Tensors may outlive their thread's cache: those in static and thread-local variables.
  static thread_local bool is_gone_;
  Block* bins_[kBins + 1] = {};
  size_t bytes_ = 0;
  LargeBlock large_[kMostLarge + 1];  // those freed first come first
  int num_large_ = 0;
  static std::atomic<size_t> all_large_bytes_;  // of all threads
};
std::atomic<size_t> BlockCache::all_large_bytes_{0};
thread_local bool BlockCache::is_gone_ = false;

}  // namespace

void* TakeBlock(size_t* size) { return BlockCache::Take(size); }

void GiveBlock(void* memory, size_t size) { BlockCache::Give(memory, size); }

}  // namespace savedmodel
