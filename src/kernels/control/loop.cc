// _Loop: a while loop of a TensorFlow 1 graph, raised from Enter, Switch, NextIteration and Exit.
#include "src/kernels/control/loop.h"

#include <algorithm>
#include <utility>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/control/callee.h"
#include "src/kernels/control/control_ops.h"
#include "src/kernels/state/keep_input.h"

namespace savedmodel {
namespace {

// Runs `body` on the loop variables, which come first, and the invariants until no variable has a
// next value. An output is what its exit gave when it was last alive, or dead.
Status RunLoop(const Callee& body, int num_vars, OpContext& ctx) {
  std::vector<Tensor> values(ctx.num_inputs());
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    SM_ASSIGN_OR_RETURN(values[i], KeepInput(ctx, i));
  }
  std::vector<Tensor> exits(ctx.num_outputs());
  std::vector<Tensor> results(num_vars + ctx.num_outputs());
  LoopGuard guard(ctx);
  for (bool alive = true; alive;) {
    SM_RETURN_IF_ERROR(guard.NextTurn());
    // The variables move into the body, the invariants stay for the next turn.
    std::vector<Tensor> arguments(values.size());
    std::move(values.begin(), values.begin() + num_vars, arguments.begin());
    std::copy(values.begin() + num_vars, values.end(), arguments.begin() + num_vars);
    SM_RETURN_IF_ERROR(body.Run(arguments, results, ctx.run()));
    alive = false;
    for (int i = 0; i < num_vars; ++i) {
      alive |= results[i].has_value();
      values[i] = std::exchange(results[i], Tensor());
    }
    for (size_t i = 0; i < exits.size(); ++i) {
      Tensor& exit = results[num_vars + i];
      if (exit.has_value()) exits[i] = std::exchange(exit, Tensor());
    }
  }
  for (size_t i = 0; i < exits.size(); ++i) {
    ctx.set_output(static_cast<int>(i), std::move(exits[i]));
  }
  return Status();
}

StatusOr<KernelPtr> BuildLoop(BuildContext& build) {
  const int64_t num_vars = build.attrs().Int("num_vars");
  SM_CHECK_ARG(num_vars >= 0 && num_vars <= build.num_inputs(), "found ", num_vars,
               " loop variables, expected no more than the ", build.num_inputs(), " inputs");
  // Nothing is known of a variable's shape after the first turn.
  std::vector<Shape> shapes = InputShapesFrom(build, 0);
  std::fill(shapes.begin(), shapes.begin() + num_vars, Shape::Unknown());
  Callee body = CompileCallee(build, build.attrs().Get<FuncAttr>("body"), shapes,
                              static_cast<int>(num_vars) + build.num_outputs());
  SM_RETURN_IF_ERROR(body.error);
  return MakeKernel(
      [body, n = static_cast<int>(num_vars)](OpContext& ctx) { return RunLoop(body, n, ctx); });
}

constexpr OpDef kOps[] = {
    {.signature = "_Loop(input: Tin) -> (output: Tout); body: func; num_vars: int; "
                  "Tin: list(type) >= 0; Tout: list(type) >= 0",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildLoop},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> LoopOps() { return kOps; }

}  // namespace savedmodel
