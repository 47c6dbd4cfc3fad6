// Placement of values in the arena: nothing overlaps, and little is wasted.
#include "src/executor/memory_plan.h"

#include <gtest/gtest.h>

#include <random>

namespace savedmodel {
namespace {

void ExpectNoOverlap(const std::vector<ArenaBlock>& blocks, int64_t size) {
  for (size_t i = 0; i < blocks.size(); ++i) {
    const ArenaBlock& a = blocks[i];
    EXPECT_GE(a.offset, 0);
    EXPECT_EQ(a.offset % 64, 0);
    EXPECT_LE(a.offset + a.bytes, size);
    for (size_t j = 0; j < i; ++j) {
      const ArenaBlock& b = blocks[j];
      const bool both_live = a.first <= b.last && b.first <= a.last;
      const bool apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
      EXPECT_TRUE(!both_live || apart) << i << " and " << j;
    }
  }
}

TEST(MemoryPlanTest, LargestLiveSet) {
  EXPECT_EQ(LargestLiveSet({}), 0);
  // The third meets the first two, which do not meet.
  EXPECT_EQ(LargestLiveSet({{100, 0, 1}, {640, 2, 3}, {64, 1, 2}}), 640 + 64);
  // The end of one is the beginning of the other: both are needed then.
  EXPECT_EQ(LargestLiveSet({{64, 0, 1}, {64, 1, 2}}), 128);
}

TEST(MemoryPlanTest, NoBlocks) {
  std::vector<ArenaBlock> none;
  EXPECT_EQ(PlaceBlocks(&none), 0);
}

TEST(MemoryPlanTest, ChainsAlternate) {
  std::vector<ArenaBlock> chain;
  for (int i = 0; i < 20; ++i) chain.push_back({640, i, i + 1});
  EXPECT_EQ(PlaceBlocks(&chain), 2 * 640);
  ExpectNoOverlap(chain, 2 * 640);
}

// Largest first would take 384 bytes: the last block is put above the first two, which do not meet.
TEST(MemoryPlanTest, TriesOtherOrders) {
  std::vector<ArenaBlock> blocks = {{256, 1, 1}, {192, 4, 4}, {128, 2, 4}, {64, 1, 3}};
  EXPECT_EQ(LargestLiveSet(blocks), 320);
  EXPECT_EQ(PlaceBlocks(&blocks), 320);
  ExpectNoOverlap(blocks, 320);
}

TEST(MemoryPlanTest, RandomBlocksNeverOverlap) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<ArenaBlock> blocks(1 + random() % 60);
    for (ArenaBlock& b : blocks) {
      b.bytes = random() % 5000;
      b.first = static_cast<int>(random() % 50);
      b.last = b.first + static_cast<int>(random() % 8);
    }
    const int64_t size = PlaceBlocks(&blocks);
    EXPECT_GE(size, LargestLiveSet(blocks));
    ExpectNoOverlap(blocks, size);
  }
}

}  // namespace
}  // namespace savedmodel
