#include "src/base/block_cache.h"

#include <algorithm>
#include <atomic>
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
    while (num_large_ > 0) std::free(TakeLarge(0));
    is_gone_ = true;
  }

  static void* Take(size_t size) {
    const size_t bin = size / kBlockAlignment;
    if (bin < kBins && !is_gone_ && ThisThread().bins_[bin] != nullptr) {
      BlockCache& cache = ThisThread();
      cache.bytes_ -= size;
      return std::exchange(cache.bins_[bin], cache.bins_[bin]->next);
    }
    if (bin >= kBins && !is_gone_) {
      BlockCache& cache = ThisThread();
      for (int i = cache.num_large_ - 1; i >= 0; --i) {
        if (cache.large_[i].size == size) return cache.TakeLarge(i);
      }
    }
    return std::aligned_alloc(kBlockAlignment, size);
  }

  static void Give(void* memory, size_t size) {
    const size_t bin = size / kBlockAlignment;
    if (bin < kBins && !is_gone_ && ThisThread().bytes_ + size <= kMostBytes) {
      BlockCache& cache = ThisThread();
      cache.bytes_ += size;
      cache.bins_[bin] = new (memory) Block{cache.bins_[bin]};
      return;
    }
    if (bin < kBins || is_gone_ || !ThisThread().GiveLarge(memory, size)) std::free(memory);
  }

 private:
  struct Block {
    Block* next;
  };
  static constexpr size_t kBins = kSanitized ? 0 : 512;  // blocks of less than 32 KiB
  static constexpr size_t kMostBytes = 512 << 10;
  static constexpr int kMostLarge = kSanitized ? 0 : 32;                // blocks of 32 KiB and more
  static constexpr size_t kMostLargeBytes = kSanitized ? 0 : 32 << 20;  // of all threads

  struct LargeBlock {
    void* memory = nullptr;
    size_t size = 0;
  };

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
    while (!fits() && num_large_ > 0) std::free(TakeLarge(0));
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

void* TakeBlock(size_t size) { return BlockCache::Take(size); }

void GiveBlock(void* memory, size_t size) { BlockCache::Give(memory, size); }

}  // namespace savedmodel
