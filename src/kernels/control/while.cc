// Loops over functions: While and For.
#include <utility>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/control/callee.h"
#include "src/kernels/control/control_ops.h"
#include "src/kernels/control/loop.h"
#include "src/kernels/state/keep_input.h"

namespace savedmodel {
namespace {

// Shapes of the loop variables that hold before and after any number of turns of `body`, which
// takes `leading` scalars in front of them; the node's inputs have them from `first` on.
Status LoopShapes(ShapeContext& ctx, int first, int leading) {
  constexpr int kMostRounds = 8;
  const FuncAttr& body = ctx.attrs().Get<FuncAttr>("body");
  std::vector<Shape> shapes = InputShapesFrom(ctx, first);
  for (int round = 0;; ++round) {
    std::vector<Shape> arguments(leading);
    arguments.insert(arguments.end(), shapes.begin(), shapes.end());
    const auto next = ctx.InferFunction(body, arguments);
    if (!next.ok() || next->size() != shapes.size()) return Status();  // the kernel reports it
    bool changed = false;
    for (size_t i = 0; i < shapes.size(); ++i) {
      Shape wider = shapes[i].Generalize((*next)[i]);
      if (wider == shapes[i]) continue;
      changed = true;
      shapes[i] = round < kMostRounds ? std::move(wider) : Shape::Unknown();
    }
    if (!changed) break;
  }
  for (size_t i = 0; i < shapes.size(); ++i) ctx.set_output(static_cast<int>(i), shapes[i]);
  return Status();
}

// The loop variables must keep the dtypes that the node declares.
Status CheckVariables(OpContext& ctx, const std::vector<Tensor>& variables) {
  for (size_t i = 0; i < variables.size(); ++i) {
    const DType expected = ctx.output_dtype(static_cast<int>(i));
    SM_CHECK_ARG(variables[i].dtype() == expected, "the loop body returned dtype ",
                 variables[i].dtype(), " for variable ", i, ", expected ", expected);
  }
  return Status();
}

StatusOr<std::vector<Tensor>> TakeVariables(OpContext& ctx, int first) {
  std::vector<Tensor> variables(ctx.num_outputs());
  for (size_t i = 0; i < variables.size(); ++i) {
    SM_ASSIGN_OR_RETURN(variables[i], KeepInput(ctx, first + static_cast<int>(i)));
  }
  return variables;
}

Status SetOutputs(OpContext& ctx, std::vector<Tensor> variables) {
  for (size_t i = 0; i < variables.size(); ++i) {
    ctx.set_output(static_cast<int>(i), std::move(variables[i]));
  }
  return Status();
}

Status RunWhile(const Callee& cond, const Callee& body, OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(std::vector<Tensor> variables, TakeVariables(ctx, 0));
  std::vector<Tensor> next(variables.size()), shared(variables.size());
  for (LoopGuard guard(ctx);;) {
    Tensor go_on;
    shared = variables;
    SM_RETURN_IF_ERROR(cond.Run(shared, {&go_on, 1}, ctx.run()));
    for (Tensor& t : shared) t = Tensor();  // the body may write in place
    SM_ASSIGN_OR_RETURN(const bool taken, IsTrue(go_on));
    if (!taken) break;
    SM_RETURN_IF_ERROR(guard.NextTurn());
    SM_RETURN_IF_ERROR(body.Run(variables, next, ctx.run()));
    variables.swap(next);
    SM_RETURN_IF_ERROR(CheckVariables(ctx, variables));
    for (Tensor& t : next) t = Tensor();
  }
  return SetOutputs(ctx, std::move(variables));
}

Status WhileShape(ShapeContext& ctx) { return LoopShapes(ctx, 0, 0); }

// The shapes that hold in every turn are those of the outputs.
std::vector<Shape> VariableShapes(const BuildContext& build, int leading) {
  std::vector<Shape> shapes(leading);
  for (int i = 0; i < build.num_outputs(); ++i) shapes.push_back(build.output_shape(i));
  return shapes;
}

StatusOr<KernelPtr> BuildWhile(BuildContext& build) {
  const std::vector<Shape> shapes = VariableShapes(build, 0);
  Callee cond = CompileCallee(build, build.attrs().Get<FuncAttr>("cond"), shapes, 1);
  SM_RETURN_IF_ERROR(cond.error);
  Callee body =
      CompileCallee(build, build.attrs().Get<FuncAttr>("body"), shapes, build.num_outputs());
  return MakeKernel([cond, body](OpContext& ctx) { return RunWhile(cond, body, ctx); });
}

Status ForShape(ShapeContext& ctx) {
  for (int i = 0; i < 3; ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 0));
  return LoopShapes(ctx, 3, 1);
}

Status RunFor(const Callee& body, OpContext& ctx) {
  const int64_t start = ctx.IntInput(0), limit = ctx.IntInput(1), delta = ctx.IntInput(2);
  SM_CHECK_ARG((delta > 0 && start <= limit) || (delta < 0 && start >= limit) || start == limit,
               "cannot go from ", start, " to ", limit, " in steps of ", delta);
  SM_ASSIGN_OR_RETURN(std::vector<Tensor> variables, TakeVariables(ctx, 3));
  std::vector<Tensor> next(variables.size());
  LoopGuard guard(ctx);
  for (int64_t i = start; delta > 0 ? i < limit : i > limit; i += delta) {
    SM_RETURN_IF_ERROR(guard.NextTurn());
    std::vector<Tensor> arguments;
    arguments.reserve(variables.size() + 1);
    arguments.push_back(Tensor::Scalar<int32_t>(static_cast<int32_t>(i)));
    for (Tensor& t : variables) arguments.push_back(std::move(t));
    SM_RETURN_IF_ERROR(body.Run(arguments, next, ctx.run()));
    variables = std::exchange(next, std::vector<Tensor>(variables.size()));
    SM_RETURN_IF_ERROR(CheckVariables(ctx, variables));
  }
  return SetOutputs(ctx, std::move(variables));
}

StatusOr<KernelPtr> BuildFor(BuildContext& build) {
  Callee body = CompileCallee(build, build.attrs().Get<FuncAttr>("body"), VariableShapes(build, 1),
                              build.num_outputs());
  return MakeKernel([body](OpContext& ctx) { return RunFor(body, ctx); });
}

constexpr OpDef kOps[] = {
    {.signature = "For(start: int32, limit: int32, delta: int32, input: T) -> (output: T); "
                  "T: list(type) >= 0; body: func",
     .effects = Effects::kWritesState,
     .shape = ForShape,
     .build = BuildFor},
    {.signature = "StatelessWhile(input: T) -> (output: T); T: list(type) >= 0; cond: func; "
                  "body: func; output_shapes: list(shape) = []; parallel_iterations: int = 10",
     .shape = WhileShape,
     .build = BuildWhile},
    {.signature = "While(input: T) -> (output: T); T: list(type) >= 0; cond: func; body: func; "
                  "output_shapes: list(shape) = []; parallel_iterations: int = 10",
     .effects = Effects::kWritesState,
     .shape = WhileShape,
     .build = BuildWhile},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> WhileOps() { return kOps; }

}  // namespace savedmodel
