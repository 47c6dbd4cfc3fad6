// Runs cases in child processes, so that no case can end the whole run.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/replay/case.h"

namespace savedmodel::replay {

struct RunnerOptions {
  bool in_process = false;  // no children at all: for debuggers
  bool isolate = false;     // one child per case instead of one per batch
  int jobs = 1;
  std::chrono::milliseconds timeout{60000};  // per case
  int64_t max_bytes = int64_t{8} << 30;      // resident memory of a child
  LoadOptions load;
};

struct Result {
  size_t index = 0;  // into the cases
  Outcome outcome;
  double seconds = 0;
};

// Runs all cases and calls `done` for each as it ends. A signal, a timeout, too much memory or an
// unclean exit of the child is a failure of the case that was running.
void RunCases(const std::vector<Case>& cases, const RunnerOptions& options,
              const std::function<void(const Result&)>& done);

}  // namespace savedmodel::replay
