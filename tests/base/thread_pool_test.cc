#include "savedmodel/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

namespace savedmodel {
namespace {

TEST(ThreadPool, RunsEachIndexOnce) {
  for (const int threads : {1, 2, 4}) {
    const auto pool = MakeThreadPool(threads);
    EXPECT_EQ(pool->num_threads(), threads);
    std::vector<std::atomic<int>> seen(1000);
    pool->Run(1000, [&](int64_t i) { ++seen[static_cast<size_t>(i)]; });
    for (const auto& count : seen) EXPECT_EQ(count, 1);
    pool->Run(0, [](int64_t) { FAIL(); });
  }
}

TEST(ThreadPool, NestsAndServesManyCallers) {
  const auto pool = MakeThreadPool(3);
  std::atomic<int> total{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back(
        [&] { pool->Run(8, [&](int64_t) { pool->Run(8, [&](int64_t) { ++total; }); }); });
  }
  for (std::thread& t : callers) t.join();
  EXPECT_EQ(total, 4 * 64);
}

TEST(ThreadPool, GivesTheCallerWhatALoopThrows) {
  const auto pool = MakeThreadPool(3);
  for (int i = 0; i < 100; ++i) {
    EXPECT_THROW(pool->Run(20,
                           [&](int64_t at) {
                             if (at == i % 20) throw std::length_error("x");
                           }),
                 std::length_error);
  }
  std::atomic<int> total{0};
  pool->Run(20, [&](int64_t) { ++total; });
  EXPECT_EQ(total, 20);
}

// What a loop wrote is seen by its caller, and by the next loop, whoever ran it.
TEST(ThreadPool, OrdersLoops) {
  const auto pool = MakeThreadPool(4);
  std::vector<std::thread> callers;
  for (int t = 0; t < 3; ++t) {
    callers.emplace_back([&] {
      std::vector<int64_t> values(16, 0), next(16, 0);
      for (int round = 0; round < 2000; ++round) {
        pool->Run(16, [&](int64_t i) { next[i] = values[(i + 5) % 16] + i; });
        values.swap(next);
      }
      int64_t sum = 0;
      for (const int64_t v : values) sum += v;
      EXPECT_EQ(sum, 2000 * 120);
    });
  }
  for (std::thread& t : callers) t.join();
}

TEST(ThreadPool, NeverHasMoreAwakeThanThreads) {
  const auto pool = MakeThreadPool(2), large = MakeThreadPool(5);
  large->Run(100, [&](int64_t) {
    EXPECT_GE(pool->num_awake(), 1);
    EXPECT_LE(pool->num_awake(), 2);
    EXPECT_LE(large->num_awake(), 5);
  });
}

}  // namespace
}  // namespace savedmodel
