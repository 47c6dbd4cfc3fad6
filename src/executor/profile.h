// Recording of steps for StartProfile.
#pragma once

#include <atomic>
#include <chrono>

#include "src/graph/graph.h"

namespace savedmodel {

namespace internal {
extern std::atomic<bool> profiling;
}

// Whether steps are to be recorded: one relaxed load.
inline bool IsProfiling() { return internal::profiling.load(std::memory_order_relaxed); }

// Records the step of `node` from construction to destruction.
class StepTimer {
 public:
  explicit StepTimer(const Node& node);
  ~StepTimer();
  StepTimer(const StepTimer&) = delete;
  StepTimer& operator=(const StepTimer&) = delete;

 private:
  const Node& node_;
  StepTimer* const outer_;  // the step of this thread that this one is inside of
  int64_t inner_ns_ = 0;    // taken by steps inside of this one
  std::chrono::steady_clock::time_point start_;
};

}  // namespace savedmodel
