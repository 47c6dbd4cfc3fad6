#include "src/executor/memory_plan.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace savedmodel {
namespace {

constexpr int64_t kAlignment = 64;

int64_t Aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// Places blocks in this order, each at the lowest offset that is free for its whole life. Returns
// the arena's size.
int64_t PlaceInOrder(const std::vector<int>& order, std::vector<ArenaBlock>* blocks) {
  std::vector<int> placed;  // by ascending offset
  int64_t size = 0;
  for (int index : order) {
    ArenaBlock& block = (*blocks)[index];
    int64_t offset = 0;
    for (int other_index : placed) {
      const ArenaBlock& other = (*blocks)[other_index];
      if (other.last < block.first || block.last < other.first) continue;
      if (other.offset - offset >= Aligned(block.bytes)) break;
      offset = std::max(offset, other.offset + Aligned(other.bytes));
    }
    block.offset = offset;
    size = std::max(size, offset + Aligned(block.bytes));
    const auto at =
        std::upper_bound(placed.begin(), placed.end(), offset,
                         [&](int64_t value, int other) { return value < (*blocks)[other].offset; });
    placed.insert(at, index);
  }
  return size;
}

}  // namespace

int64_t PlaceBlocks(std::vector<ArenaBlock>* blocks) {
  using Rank = int64_t (*)(const ArenaBlock&);  // those of the highest rank are placed first
  constexpr Rank kRanks[] = {
      [](const ArenaBlock& b) { return b.bytes; },
      [](const ArenaBlock& b) { return int64_t{b.last} - b.first; },
      [](const ArenaBlock& b) { return -int64_t{b.first}; },
      [](const ArenaBlock& b) { return int64_t{b.last}; },
  };
  const int64_t least = LargestLiveSet(*blocks);
  std::vector<int> order(blocks->size());
  std::vector<ArenaBlock> best;
  int64_t best_size = INT64_MAX;
  for (const Rank rank : kRanks) {
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int i, int j) {
      const ArenaBlock &a = (*blocks)[i], &b = (*blocks)[j];
      return rank(a) != rank(b) ? rank(a) > rank(b) : a.bytes > b.bytes;
    });
    const int64_t size = PlaceInOrder(order, blocks);
    if (size < best_size) {
      best_size = size;
      best = *blocks;
    }
    if (size == least) break;
  }
  *blocks = std::move(best);
  return best_size;
}

int64_t LargestLiveSet(const std::vector<ArenaBlock>& blocks) {
  std::map<int64_t, int64_t> changes;  // what a step adds to those before it
  for (const ArenaBlock& block : blocks) {
    changes[block.first] += Aligned(block.bytes);
    changes[int64_t{block.last} + 1] -= Aligned(block.bytes);
  }
  int64_t live = 0, largest = 0;
  for (const auto& [step, change] : changes) largest = std::max(largest, live += change);
  return largest;
}

}  // namespace savedmodel
