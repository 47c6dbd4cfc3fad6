// The limits that every loop of a graph keeps.
#pragma once

#include "savedmodel/op.h"
#include "src/base/status_macros.h"

namespace savedmodel {

// Counts the turns of one loop.
class LoopGuard {
 public:
  explicit LoopGuard(OpContext& ctx) : run_(ctx.run()) {}

  // Called before each turn. RESOURCE_EXHAUSTED beyond the run's limit; CANCELLED or
  // DEADLINE_EXCEEDED once it is so.
  Status NextTurn() {
    if (turns_ >= run_.max_loop_iterations) {
      return ResourceExhausted("the loop has made ", turns_,
                               " turns, the most that this run allows; raise the limit "
                               "(max_loop_iterations) if the model needs more");
    }
    ++turns_;
    return run_.CheckInterrupt();
  }

 private:
  const RunState& run_;
  int64_t turns_ = 0;
};

}  // namespace savedmodel
