#include "src/api/model_context.h"

namespace savedmodel::api {

void ModelContext::SetLimits(const RunOptions& run_options, RunState* run) const {
  run->pool = run_options.thread_pool != nullptr ? run_options.thread_pool : pool.get();
  const int64_t limit =
      run_options.memory_limit != 0 ? run_options.memory_limit : options.memory_limit;
  const bool has_limit = run->budget != nullptr && run->budget->limit() == limit;
  if (!has_limit) run->budget = limit < 0 ? nullptr : std::make_shared<MemoryBudget>(limit);
  run->deadline = run_options.timeout == std::chrono::nanoseconds::max()
                      ? std::chrono::steady_clock::time_point::max()
                      : std::chrono::steady_clock::now() + run_options.timeout;
  run->cancelled = run_options.cancelled;
  run->max_loop_iterations = run_options.max_loop_iterations != 0 ? run_options.max_loop_iterations
                                                                  : options.max_loop_iterations;
}

RunState ModelContext::MakeRun(const RunOptions& run_options, bool loading) const {
  RunState run;
  SetLimits(run_options, &run);
  run.resources = &resources;
  run.files = model_files.get();
  if (loading) run.checkpoints = checkpoints.get();
  return run;
}

}  // namespace savedmodel::api
