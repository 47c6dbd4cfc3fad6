// Placement of values with known sizes and life times in one arena.
#pragma once

#include <cstdint>
#include <vector>

namespace savedmodel {

// A block that is needed from step `first` to step `last`, both included.
struct ArenaBlock {
  int64_t bytes = 0;
  int first = 0;
  int last = 0;
  int64_t offset = -1;  // set by PlaceBlocks; a multiple of 64
};

// Sets offsets such that blocks whose life times meet do not overlap. Returns the arena's size.
// Blocks are placed one after the other, each at the lowest offset that is free for its whole life:
// in several orders, largest first among them, of which the best is kept.
int64_t PlaceBlocks(std::vector<ArenaBlock>* blocks);

// Bytes of the blocks that are needed at the same step, at most: no arena can be smaller.
int64_t LargestLiveSet(const std::vector<ArenaBlock>& blocks);

}  // namespace savedmodel
