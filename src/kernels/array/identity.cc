// Ops whose output is their input, constants and placeholders.
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/array/strided_copy.h"

namespace savedmodel {
namespace {

Status Forward(OpContext& ctx) {
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    SM_RETURN_IF_ERROR(ctx.ForwardInput(i, i, ctx.input(i).shape()));
  }
  return Status();
}

Status DeepCopy(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(Tensor copy, ctx.input(0).Clone(ctx.run().budget));
  ctx.set_output(0, std::move(copy));
  return Status();
}

Status ConstShape(ShapeContext& ctx) {
  ctx.set_output(0, ctx.attrs().Get<Tensor>("value").shape());
  return Status();
}

StatusOr<KernelPtr> BuildConst(BuildContext& build) {
  const Tensor value = build.attrs().Get<Tensor>("value");
  const DType dtype = build.attrs().Type("dtype");
  SM_CHECK_ARG(value.dtype() == dtype, "attribute value has dtype ", value.dtype(), ", expected ",
               dtype, " as attribute dtype says");
  return MakeKernel([value](OpContext& ctx) {
    ctx.set_output(0, value);
    return Status();
  });
}

Status MustBeFed(OpContext&) {
  return InvalidArgument("this placeholder has no value; it must be fed");
}

Status EnsureShapeFn(ShapeContext& ctx) {
  const Shape& want = ctx.attrs().Get<Shape>("shape");
  SM_CHECK_ARG(ctx.input(0).CompatibleWith(want), "found a tensor of shape ", ctx.input(0),
               ", expected one compatible with ", want);
  SM_ASSIGN_OR_RETURN(Shape merged, ctx.input(0).Merge(want));
  ctx.set_output(0, std::move(merged));
  return Status();
}

StatusOr<KernelPtr> BuildEnsureShape(BuildContext& build) {
  const Shape want = build.attrs().Get<Shape>("shape");
  return MakeKernel([want](OpContext& ctx) -> Status {
    const Shape& found = ctx.input(0).shape();
    SM_CHECK_ARG(found.CompatibleWith(want), "found a tensor of shape ", found,
                 ", expected one compatible with ", want);
    return ctx.ForwardInput(0, 0, found);
  });
}

#define SM_FORWARD(text)                                                           \
  {                                                                                \
    .signature = text, .shape = shape::SameAsInput0, .build = BuildPlain<Forward>, \
    .in_place = InPlace::kAliasesInput0                                            \
  }

constexpr OpDef kOps[] = {
    {.signature = "Const() -> (output: dtype); value: tensor; dtype: type",
     .shape = ConstShape,
     .build = BuildConst},
    SM_FORWARD("Copy(input: T) -> (output: T); T: type; tensor_name: string = ''; "
               "debug_ops_spec: list(string) = []"),
    SM_FORWARD("CopyHost(input: T) -> (output: T); T: type; tensor_name: string = ''; "
               "debug_ops_spec: list(string) = []"),
    SM_FORWARD("DebugGradientIdentity(input: T) -> (output: T); T: type"),
    {.signature = "DeepCopy(x: T) -> (y: T); T: type",
     .effects = Effects::kReadsState,
     .shape = shape::SameAsInput0,
     .build = BuildPlain<DeepCopy>},
    {.signature = "EnsureShape(input: T) -> (output: T); shape: shape; T: type",
     .shape = EnsureShapeFn,
     .build = BuildEnsureShape,
     .in_place = InPlace::kAliasesInput0},
    SM_FORWARD("GuaranteeConst(input: T) -> (output: T); T: type"),
    SM_FORWARD("Identity(input: T) -> (output: T); T: type"),
    {.signature = "IdentityN(input: T) -> (output: T); T: list(type) >= 1",
     .shape = shape::Each,
     .build = BuildPlain<Forward>},
    {.signature = "Placeholder() -> (output: dtype); dtype: type; shape: shape = ?",
     .shape = shape::FromShapeAttr,
     .build = BuildPlain<MustBeFed>},
    {.signature = "PlaceholderV2() -> (output: dtype); dtype: type; shape: shape",
     .shape = shape::FromShapeAttr,
     .build = BuildPlain<MustBeFed>},
    SM_FORWARD("PlaceholderWithDefault(input: dtype) -> (output: dtype); dtype: type; "
               "shape: shape"),
    SM_FORWARD("PreventGradient(input: T) -> (output: T); T: type; message: string = ''"),
    SM_FORWARD("RefIdentity(input: Ref(T)) -> (output: Ref(T)); T: type"),
    SM_FORWARD("Snapshot(input: T) -> (output: T); T: type"),
    SM_FORWARD("StopGradient(input: T) -> (output: T); T: type"),
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> IdentityOps() { return kOps; }

}  // namespace savedmodel
