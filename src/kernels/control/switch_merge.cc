// TensorFlow 1 control flow without frames. A value that is not there (the side of a Switch that
// was not taken) is a Tensor without value; the executor runs a node only when all its inputs are
// there, or any of a Merge's.
#include <utility>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/control/control_ops.h"

namespace savedmodel {
namespace {

Status RunForward(OpContext& ctx) { return ctx.ForwardInput(0, 0, ctx.input(0).shape()); }

// Output `taken` is the data, the others are dead.
Status ForwardTo(OpContext& ctx, int taken) {
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    if (i != taken) ctx.set_output(i, Tensor());
  }
  return ctx.ForwardInput(0, taken, ctx.input(0).shape());
}

Status RunSwitch(OpContext& ctx) {
  const bool* pred = ctx.in<bool>(1);
  SM_CHECK_ARG(pred != nullptr && ctx.input(1).shape().rank() == 0, "the predicate has shape ",
               ctx.input(1).shape(), ", expected a scalar");
  return ForwardTo(ctx, *pred ? 1 : 0);
}

// An index out of range means the last output.
Status RunSwitchN(OpContext& ctx) {
  SM_CHECK_ARG(ctx.input(1).shape().rank() == 0, "the output index has shape ",
               ctx.input(1).shape(), ", expected a scalar");
  const int64_t last = ctx.num_outputs() - 1, index = ctx.IntInput(1);
  return ForwardTo(ctx, static_cast<int>(index < 0 || index > last ? last : index));
}

Status RunMerge(OpContext& ctx) {
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    if (!ctx.input(i).has_value()) continue;
    SM_RETURN_IF_ERROR(ctx.ForwardInput(i, 0, ctx.input(i).shape()));
    ctx.set_output(1, Tensor::Scalar<int32_t>(i));
    return Status();
  }
  return Internal("no input of the Merge is alive");
}

// The outputs of a Switch may be dead: the shape is known, memory comes with the value.
Status MergeShape(ShapeContext& ctx) {
  Shape merged = ctx.input(0);
  for (int i = 1; i < ctx.num_inputs(); ++i) merged = merged.Generalize(ctx.input(i));
  ctx.set_output(0, std::move(merged));
  ctx.set_output(1, Shape());
  return Status();
}

Status RefMergeShape(ShapeContext& ctx) {
  ctx.set_output(1, Shape());
  return Status();
}

Status RunRefSelect(OpContext& ctx) {
  const int64_t index = ctx.IntInput(0), count = ctx.num_inputs() - 1;
  SM_CHECK_ARG(ctx.input(0).shape().rank() == 0, "the index has shape ", ctx.input(0).shape(),
               ", expected a scalar");
  SM_CHECK_ARG(index >= 0 && index < count, "found index ", index, ", expected one in [0, ", count,
               ")");
  const int chosen = static_cast<int>(index) + 1;
  return ctx.ForwardInput(chosen, 0, ctx.input(chosen).shape());
}

constexpr OpDef kOps[] = {
    {.signature = "Enter(data: T) -> (output: T); T: type; frame_name: string; "
                  "is_constant: bool = false; parallel_iterations: int = 10",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunForward>,
     .in_place = InPlace::kAliasesInput0},
    {.signature = "Exit(data: T) -> (output: T); T: type",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunForward>,
     .in_place = InPlace::kAliasesInput0},
    {.signature = "LoopCond(input: bool) -> (output: bool)",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunForward>,
     .in_place = InPlace::kAliasesInput0},
    {.signature = "Merge(inputs: N * T) -> (output: T, value_index: int32); T: type; N: int >= 1",
     .shape = MergeShape,
     .build = BuildPlain<RunMerge>},
    {.signature = "NextIteration(data: T) -> (output: T); T: type",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunForward>,
     .in_place = InPlace::kAliasesInput0},
    {.signature = "RefEnter(data: Ref(T)) -> (output: Ref(T)); T: type; frame_name: string; "
                  "is_constant: bool = false; parallel_iterations: int = 10",
     .shape = shape::Unknown,
     .build = BuildPlain<RunForward>},
    {.signature = "RefExit(data: Ref(T)) -> (output: Ref(T)); T: type",
     .shape = shape::Unknown,
     .build = BuildPlain<RunForward>},
    {.signature = "RefIdentity(input: Ref(T)) -> (output: Ref(T)); T: type",
     .shape = shape::Unknown,
     .build = BuildPlain<RunForward>},
    {.signature = "RefMerge(inputs: N * Ref(T)) -> (output: Ref(T), value_index: int32); T: type; "
                  "N: int >= 1",
     .shape = RefMergeShape,
     .build = BuildPlain<RunMerge>},
    {.signature = "RefNextIteration(data: Ref(T)) -> (output: Ref(T)); T: type",
     .shape = shape::Unknown,
     .build = BuildPlain<RunForward>},
    {.signature = "RefSelect(index: int32, inputs: N * Ref(T)) -> (output: Ref(T)); T: type; "
                  "N: int >= 1",
     .shape = shape::Unknown,
     .build = BuildPlain<RunRefSelect>},
    {.signature = "RefSwitch(data: Ref(T), pred: bool) -> "
                  "(output_false: Ref(T), output_true: Ref(T)); T: type",
     .shape = shape::Unknown,
     .build = BuildPlain<RunSwitch>},
    {.signature = "Switch(data: T, pred: bool) -> (output_false: T, output_true: T); T: type",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunSwitch>},
    {.signature = "_SwitchN(data: T, output_index: int32) -> (outputs: num_outs * T); "
                  "num_outs: int >= 1; T: type",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunSwitchN>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SwitchMergeOps() { return kOps; }

}  // namespace savedmodel
