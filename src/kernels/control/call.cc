// Function calls and conditionals.
#include <algorithm>
#include <cstring>
#include <utility>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/control/callee.h"
#include "src/kernels/control/control_ops.h"

namespace savedmodel {
namespace {

// Whether nobody else sees what output `i` holds.
bool IsOwnMemory(OpContext& ctx, int i) {
  return ctx.output(i).is_view() || ctx.output(i).exclusive();
}

// Makes `result`, which may be a View of an input, output `i`.
Status SetOutput(OpContext& ctx, int i, Tensor result) {
  Tensor& out = ctx.output(i);
  if (!result.is_view()) {
    out = std::move(result);
  } else if (IsOwnMemory(ctx, i) && out.dtype() == result.dtype() &&
             out.shape() == result.shape()) {
    std::memcpy(out.raw_mutable_data(), result.raw_data(), result.num_bytes());
  } else {
    SM_ASSIGN_OR_RETURN(out, result.Owned(ctx.run().budget));
  }
  return Status();
}

// Calls `callee` on the inputs from `first` on; its results are the node's outputs, in the memory
// that these have where they can be.
Status Call(const Callee& callee, OpContext& ctx, int first) {
  SM_RETURN_IF_ERROR(callee.error);
  Stay stay;
  SM_RETURN_IF_ERROR(stay.Enter(*callee.function, ctx.run()));
  for (int i = first; i < ctx.num_inputs(); ++i) stay.argument(i - first) = ctx.TakeInput(i);
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    if (IsOwnMemory(ctx, i)) stay.BindResult(i, ctx.output(i));
  }
  SM_RETURN_IF_ERROR(stay.Run());
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    const Tensor& result = stay.result(i);
    if (result.is_view() && result.raw_data() == ctx.output(i).raw_data()) continue;
    SM_RETURN_IF_ERROR(SetOutput(ctx, i, stay.TakeResult(i)));
  }
  return Status();
}

StatusOr<KernelPtr> BuildCall(BuildContext& build) {
  Callee callee = CompileCallee(build, build.attrs().Get<FuncAttr>("f"), InputShapesFrom(build, 0),
                                build.num_outputs());
  SM_RETURN_IF_ERROR(callee.error);
  return MakeKernel([callee](OpContext& ctx) { return Call(callee, ctx, 0); });
}

// Every branch may be taken: an output's shape is what all of them agree on.
Status BranchShapes(ShapeContext& ctx, const std::vector<FuncAttr>& branches) {
  const std::vector<Shape> inputs = InputShapesFrom(ctx, 1);
  std::vector<Shape> agreed;
  for (size_t b = 0; b < branches.size(); ++b) {
    const auto shapes = ctx.InferFunction(branches[b], inputs);
    // A branch that is wrong for these shapes may be one that is not taken.
    if (!shapes.ok() || static_cast<int>(shapes->size()) != ctx.num_outputs()) return Status();
    if (b == 0) {
      agreed = *shapes;
    } else {
      for (size_t i = 0; i < agreed.size(); ++i) agreed[i] = agreed[i].Generalize((*shapes)[i]);
    }
  }
  for (size_t i = 0; i < agreed.size(); ++i) ctx.set_output(static_cast<int>(i), agreed[i]);
  return Status();
}

std::vector<FuncAttr> IfBranches(const Attrs& attrs) {
  return {attrs.Get<FuncAttr>("else_branch"), attrs.Get<FuncAttr>("then_branch")};
}

std::vector<Callee> CompileBranches(BuildContext& build, const std::vector<FuncAttr>& branches) {
  std::vector<Callee> callees;
  for (const FuncAttr& branch : branches) {
    callees.push_back(CompileCallee(build, branch, InputShapesFrom(build, 1), build.num_outputs()));
  }
  return callees;
}

Status IfShape(ShapeContext& ctx) { return BranchShapes(ctx, IfBranches(ctx.attrs())); }

StatusOr<KernelPtr> BuildIf(BuildContext& build) {
  return MakeKernel(
      [branches = CompileBranches(build, IfBranches(build.attrs()))](OpContext& ctx) -> Status {
        SM_ASSIGN_OR_RETURN(const bool taken, IsTrue(ctx.input(0)));
        return Call(branches[taken], ctx, 1);
      });
}

Status CaseShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 0));
  return BranchShapes(ctx, ctx.attrs().Get<std::vector<FuncAttr>>("branches"));
}

// A branch index out of range means the last branch.
StatusOr<KernelPtr> BuildCase(BuildContext& build) {
  const auto& functions = build.attrs().Get<std::vector<FuncAttr>>("branches");
  if (functions.empty()) return InvalidArgument("found no branches, expected at least one");
  return MakeKernel([branches = CompileBranches(build, functions)](OpContext& ctx) {
    const int64_t last = static_cast<int64_t>(branches.size()) - 1;
    const int64_t index = ctx.IntInput(0);
    return Call(branches[index < 0 || index > last ? last : index], ctx, 1);
  });
}

Status RunToBool(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(*ctx.out<bool>(0), IsTrue(ctx.input(0)));
  return Status();
}

// The place of the CPU among the devices that a Case chooses between, or one past them.
StatusOr<KernelPtr> BuildDeviceIndex(BuildContext& build) {
  const auto& names = build.attrs().Get<std::vector<std::string>>("device_names");
  const auto at = std::find(names.begin(), names.end(), "CPU");
  return MakeKernel([index = static_cast<int32_t>(at - names.begin())](OpContext& ctx) {
    *ctx.out<int32_t>(0) = index;
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "Case(branch_index: int32, input: Tin) -> (output: Tout); Tin: list(type) >= 0; "
                  "Tout: list(type) >= 0; branches: list(func) >= 1; "
                  "output_shapes: list(shape) = []",
     .effects = Effects::kWritesState,
     .shape = CaseShape,
     .build = BuildCase},
    {.signature = "DeviceIndex() -> (index: int32); device_names: list(string)",
     .shape = shape::Scalar,
     .build = BuildDeviceIndex},
    {.signature = "If(cond: Tcond, input: Tin) -> (output: Tout); Tcond: type; "
                  "Tin: list(type) >= 0; Tout: list(type) >= 0; then_branch: func; "
                  "else_branch: func; output_shapes: list(shape) = []",
     .effects = Effects::kWritesState,
     .shape = IfShape,
     .build = BuildIf},
    {.signature = "PartitionedCall(args: Tin) -> (output: Tout); Tin: list(type) >= 0; "
                  "Tout: list(type) >= 0; f: func; config: string = ''; "
                  "config_proto: string = ''; executor_type: string = ''",
     .shape = CallShape,
     .build = BuildCall},
    {.signature = "StatefulPartitionedCall(args: Tin) -> (output: Tout); Tin: list(type) >= 0; "
                  "Tout: list(type) >= 0; f: func; config: string = ''; "
                  "config_proto: string = ''; executor_type: string = ''",
     .effects = Effects::kWritesState,
     .shape = CallShape,
     .build = BuildCall},
    {.signature = "StatelessCase(branch_index: int32, input: Tin) -> (output: Tout); "
                  "Tin: list(type) >= 0; Tout: list(type) >= 0; branches: list(func) >= 1; "
                  "output_shapes: list(shape) = []",
     .shape = CaseShape,
     .build = BuildCase},
    {.signature = "StatelessIf(cond: Tcond, input: Tin) -> (output: Tout); Tcond: type; "
                  "Tin: list(type) >= 0; Tout: list(type) >= 0; then_branch: func; "
                  "else_branch: func; output_shapes: list(shape) = []",
     .shape = IfShape,
     .build = BuildIf},
    {.signature = "ToBool(input: T) -> (output: bool); T: type",
     .shape = shape::Scalar,
     .build = BuildPlain<RunToBool>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> CallOps() { return kOps; }

}  // namespace savedmodel
