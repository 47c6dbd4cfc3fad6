/// Where the time of calls goes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "savedmodel/export.h"

namespace savedmodel {

/// One step of one call.
struct StepTiming {
  std::string node;
  std::string op;
  uint64_t thread = 0;      // equal for the steps that one thread ran
  int64_t start_ns = 0;     // since the profile started
  int64_t duration_ns = 0;  // steps of functions that the step called included
  int64_t self_ns = 0;      // steps of functions that it called excluded
};

/// Records every step that calls of this process run, of all models, until StopProfile. Calls
/// that are running already may be missed. Costs a clock reading and a copy of two names a step;
/// nothing where no profile is recorded. False when one is being recorded already.
SAVEDMODEL_EXPORT bool StartProfile();
/// Ends recording; the steps in the order in which they ended on their thread.
SAVEDMODEL_EXPORT std::vector<StepTiming> StopProfile();

}  // namespace savedmodel
