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

// The body, compiled for variables of any shape and, where all shapes are known, for those that the
// first turn finds. A loop whose variables keep their shapes never leaves the second.
struct Bodies {
  Callee any, fixed;
  std::vector<Shape> shapes;  // of the variables, for `fixed`
  int num_vars = 0;

  const Callee& For(const std::vector<Tensor>& values) const {
    if (fixed.function == nullptr) return any;
    for (int i = 0; i < num_vars; ++i) {
      if (values[i].has_value() && values[i].shape() != shapes[i]) return any;
    }
    return fixed;
  }
};

// Runs the body on the loop variables, which come first, and the invariants until no variable has a
// next value. An output is what its exit gave when it was last alive, or dead.
Status RunLoop(const Bodies& bodies, OpContext& ctx) {
  const int num_vars = bodies.num_vars;
  std::vector<Tensor> values(ctx.num_inputs());
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    SM_ASSIGN_OR_RETURN(values[i], KeepInput(ctx, i));
  }
  std::vector<Tensor> exits(ctx.num_outputs());
  std::vector<Tensor> arguments(values.size()), results(num_vars + ctx.num_outputs());
  LoopGuard guard(ctx);
  for (bool alive = true; alive;) {
    SM_RETURN_IF_ERROR(guard.NextTurn());
    const Callee& body = bodies.For(values);
    // The variables move into the body, the invariants stay for the next turn.
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
  const int num_results = static_cast<int>(num_vars) + build.num_outputs();
  const FuncAttr& body = build.attrs().Get<FuncAttr>("body");
  Bodies bodies;
  bodies.num_vars = static_cast<int>(num_vars);
  bodies.shapes = InputShapesFrom(build, 0);
  std::vector<Shape> unknown = bodies.shapes;
  std::fill(unknown.begin(), unknown.begin() + num_vars, Shape::Unknown());
  bodies.any = CompileCallee(build, body, unknown, num_results);
  SM_RETURN_IF_ERROR(bodies.any.error);
  const bool known = std::all_of(bodies.shapes.begin(), bodies.shapes.begin() + num_vars,
                                 [](const Shape& s) { return s.fully_known(); });
  if (known) bodies.fixed = CompileCallee(build, body, bodies.shapes, num_results);
  return MakeKernel([bodies](OpContext& ctx) { return RunLoop(bodies, ctx); });
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
