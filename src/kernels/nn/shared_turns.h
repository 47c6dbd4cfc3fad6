// Turns of a loop, each divided among threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "savedmodel/op.h"
#include "src/base/pause.h"

namespace savedmodel {

// Turns that are divided among threads, which wait for each other after each. Each thread has a
// part of its own in all turns, and takes those of others that have not come: nobody waits for
// them.
class SharedTurns {
 public:
  SharedTurns(int64_t turns, int64_t parts)
      : turns_(turns), parts_(parts), taken_(static_cast<size_t>(parts)) {}

  // Takes part as the thread of part `own` until no turn is left: run(turn, part) is called once
  // for each. When it is false, all turns end early.
  void Work(int64_t own, FunctionRef<bool(int64_t turn, int64_t part)> run) {
    for (;;) {
      // Read once: the turn that it says must be one that there is.
      const int64_t turn = done_.load(std::memory_order_acquire) / parts_;
      if (turn >= turns_) return;
      for (int64_t i = 0; i < parts_; ++i) {
        const int64_t part = (own + i) % parts_;
        int64_t next = turn;
        if (!taken_[part].turns.compare_exchange_strong(next, turn + 1)) continue;
        if (run(turn, part)) {
          done_.fetch_add(1, std::memory_order_release);
        } else {
          done_.store(turns_ * parts_, std::memory_order_release);
        }
      }
      WaitFor((turn + 1) * parts_);
    }
  }

 private:
  struct alignas(64) Part {
    std::atomic<int64_t> turns{0};  // that have been begun
  };

  void WaitFor(int64_t parts) const {
    constexpr int kLooks = 2000;  // some tens of microseconds
    for (int looks = 0; done_.load(std::memory_order_acquire) < parts; ++looks) {
      if (looks < kLooks) {
        Pause();
      } else {
        std::this_thread::yield();
      }
    }
  }

  const int64_t turns_, parts_;
  std::vector<Part> taken_;
  alignas(64) std::atomic<int64_t> done_{0};  // parts of all turns
};

}  // namespace savedmodel
