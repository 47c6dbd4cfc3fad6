// Values that stand for others: placeholders of untaken branches, host constants, handles.
#include <utility>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/state/resource_input.h"
#include "src/kernels/state/state_ops.h"

namespace savedmodel {
namespace {

// Stands in for a result that nobody reads.
StatusOr<KernelPtr> BuildFakeParam(BuildContext& build) {
  return MakeKernel([dtype = build.attrs().Type("dtype"),
                     shape = build.attrs().Get<Shape>("shape")](OpContext& ctx) -> Status {
    std::vector<int64_t> dims = shape.ToVector();
    for (int64_t& dim : dims) dim = dim < 0 ? 0 : dim;
    SM_ASSIGN_OR_RETURN(Tensor zeros, Tensor::Zeros(dtype, Shape(dims), ctx.run().budget));
    ctx.set_output(0, std::move(zeros));
    return Status();
  });
}

Status FakeParamShape(ShapeContext& ctx) {
  const Shape& shape = ctx.attrs().Get<Shape>("shape");
  if (shape.fully_known()) ctx.set_output(0, shape);
  return Status();
}

Status RunNoSessionTensor(OpContext&) {
  return InvalidArgument("no tensor is kept under this handle; sessions keep none");
}

StatusOr<KernelPtr> BuildHostConst(BuildContext& build) {
  const Tensor& value = build.attrs().Get<Tensor>("value");
  SM_CHECK_ARG(value.dtype() == build.attrs().Type("dtype"), "the value is ", value.TypeString(),
               ", expected dtype ", build.attrs().Type("dtype"));
  return MakeKernel([value](OpContext& ctx) {
    ctx.set_output(0, value);
    return Status();
  });
}

Status HostConstShape(ShapeContext& ctx) {
  ctx.set_output(0, ctx.attrs().Get<Tensor>("value").shape());
  return Status();
}

// Regions of memory have names in TensorFlow's custom environments only.
StatusOr<KernelPtr> BuildImmutableConst(BuildContext& build) {
  return MakeKernel([region = build.attrs().String("memory_region_name")](OpContext&) {
    return NotFound("there is no memory region '", region, "'");
  });
}

Status RunMakeWeakHandle(OpContext& ctx) { return ctx.ForwardInput(0, 0, ctx.input(0).shape()); }

constexpr OpDef kOps[] = {
    {.signature = "FakeParam() -> (output: dtype); dtype: type; shape: shape",
     .shape = FakeParamShape,
     .build = BuildFakeParam},
    {.signature = "GetSessionTensor(handle: string) -> (value: dtype); dtype: type",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildPlain<RunNoSessionTensor>},
    {.signature = "HostConst() -> (output: dtype); value: tensor; dtype: type",
     .shape = HostConstShape,
     .build = BuildHostConst},
    {.signature = "ImmutableConst() -> (tensor: dtype); dtype: type; shape: shape; "
                  "memory_region_name: string",
     .shape = shape::Unknown,
     .build = BuildImmutableConst},
    {.signature = "MakeWeakResourceHandle(handle: resource) -> (dup: resource)",
     .effects = Effects::kReadsState,
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunMakeWeakHandle>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ConstantOps() { return kOps; }

}  // namespace savedmodel
