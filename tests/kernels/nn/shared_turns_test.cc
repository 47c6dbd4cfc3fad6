// Turns that are divided among threads: each part of each turn runs once, in order, and no more.
#include "src/kernels/nn/shared_turns.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace savedmodel {
namespace {

// What `threads` threads do of `turns` turns, many times: the threads meet before each time, so
// that they are often about to begin or to end together.
void CheckTurns(int threads, int64_t turns, int times) {
  std::vector<std::unique_ptr<SharedTurns>> loops;
  for (int i = 0; i < times; ++i) loops.push_back(std::make_unique<SharedTurns>(turns, threads));
  std::atomic<int64_t> wrong{0}, calls{0}, met{0};
  std::atomic<int64_t> begun{0};  // parts of all times, in their order
  const auto work = [&](int own) {
    for (int i = 0; i < times; ++i) {
      for (met.fetch_add(1); met.load() < (i + 1) * threads;) std::this_thread::yield();
      loops[i]->Work(own, [&](int64_t turn, int64_t part) {
        const int64_t before = i * turns * threads + turn * threads;
        const int64_t now = begun.fetch_add(1);
        const bool in_order = now >= before && now < before + threads;
        if (turn >= turns || part >= threads || !in_order) wrong.fetch_add(1);
        calls.fetch_add(1);
        return true;
      });
    }
  };
  std::vector<std::thread> others;
  for (int own = 1; own < threads; ++own) others.emplace_back(work, own);
  work(0);
  for (std::thread& thread : others) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(calls.load(), times * turns * threads);
}

TEST(SharedTurnsTest, EachPartRunsOnce) {
  CheckTurns(2, 1, 20000);
  CheckTurns(2, 3, 20000);
  CheckTurns(3, 5, 2000);
}

TEST(SharedTurnsTest, OneThreadDoesAllIfNobodyComes) {
  SharedTurns loop(4, 3);
  std::vector<int64_t> turns;
  loop.Work(1, [&](int64_t turn, int64_t) {
    turns.push_back(turn);
    return true;
  });
  EXPECT_EQ(turns, (std::vector<int64_t>{0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3}));
  loop.Work(0, [&](int64_t, int64_t) { return ADD_FAILURE() << "no turn is left", true; });
}

TEST(SharedTurnsTest, FalseEndsAllTurns) {
  SharedTurns loop(100, 2);
  int64_t calls = 0;
  loop.Work(0, [&](int64_t turn, int64_t) { return ++calls, turn < 5; });
  EXPECT_LE(calls, 12);
  EXPECT_GE(calls, 11);
}

}  // namespace
}  // namespace savedmodel
