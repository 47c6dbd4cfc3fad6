#include "src/executor/memory_plan.h"

#include <algorithm>
#include <numeric>

namespace savedmodel {
namespace {

constexpr int64_t kAlignment = 64;

int64_t Aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

int64_t PlaceBlocks(std::vector<ArenaBlock>* blocks) {
  std::vector<int> order(blocks->size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return (*blocks)[a].bytes > (*blocks)[b].bytes; });
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

}  // namespace savedmodel
