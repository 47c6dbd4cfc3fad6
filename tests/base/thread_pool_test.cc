#include "savedmodel/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
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

}  // namespace
}  // namespace savedmodel
