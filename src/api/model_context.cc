#include "src/api/model_context.h"

namespace savedmodel::api {

RunState ModelContext::MakeRun(const RunOptions& run_options, bool loading) const {
  RunState run;
  run.pool = pool.get();
  const int64_t limit =
      run_options.memory_limit != 0 ? run_options.memory_limit : options.memory_limit;
  if (limit >= 0) run.budget = std::make_shared<MemoryBudget>(limit);
  run.resources = &resources;
  run.files = model_files.get();
  if (loading) run.checkpoints = checkpoints.get();
  if (run_options.timeout != std::chrono::nanoseconds::max()) {
    run.deadline = std::chrono::steady_clock::now() + run_options.timeout;
  }
  run.cancelled = run_options.cancelled;
  run.max_loop_iterations = options.max_loop_iterations;
  return run;
}

}  // namespace savedmodel::api
