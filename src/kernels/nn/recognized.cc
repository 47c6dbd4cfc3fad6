// Ops that the optimizer puts in place of the many small ones that frameworks write layers with.
#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/nn/nn_ops.h"

namespace savedmodel {
namespace {

template <ScalarOp op>
Status RunMap(OpContext& ctx) {
  const float* x = ctx.in<float>(0);
  float* y = ctx.out<float>(0);
  ctx.ParallelFor(ctx.input(0).num_elements(), 1, [&](int64_t begin, int64_t end) {
    Vectors().map(op, 0, x + begin, y + begin, end - begin);
  });
  return Status();
}

Status LayerNormShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 1));
  ctx.set_output(0, ctx.input(0));
  return Status();
}

StatusOr<KernelPtr> BuildLayerNorm(BuildContext& build) {
  const float epsilon = build.attrs().Float("epsilon");
  return MakeKernel([epsilon](OpContext& ctx) -> Status {
    const Shape& shape = ctx.input(0).shape();
    const int64_t columns = shape[shape.rank() - 1];
    SM_CHECK_ARG(ctx.input(1).num_elements() == columns && ctx.input(2).num_elements() == columns,
                 "found gamma and beta of shapes ", ctx.input(1).shape(), " and ",
                 ctx.input(2).shape(), ", expected ", columns, " elements in each");
    if (shape.num_elements() == 0) return Status();
    const NormalizeArgs args{.x = ctx.in<float>(0),
                             .gamma = ctx.in<float>(1),
                             .beta = ctx.in<float>(2),
                             .y = ctx.out<float>(0),
                             .columns = columns,
                             .epsilon = epsilon};
    ctx.ParallelFor(shape.num_elements() / columns, 0.5 * static_cast<double>(columns),
                    [&](int64_t begin, int64_t end) { Vectors().normalize(args, begin, end); });
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "_Gelu(x: float) -> (y: float)",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunMap<ScalarOp::kGelu>>,
     .fusion = {.scalar = ScalarOp::kGelu},
     .in_place = InPlace::kInput0},
    {.signature = "_GeluTanh(x: float) -> (y: float)",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunMap<ScalarOp::kGeluTanh>>,
     .fusion = {.scalar = ScalarOp::kGeluTanh},
     .in_place = InPlace::kInput0},
    {.signature = "_HardSigmoid(x: float) -> (y: float)",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunMap<ScalarOp::kHardSigmoid>>,
     .fusion = {.scalar = ScalarOp::kHardSigmoid},
     .in_place = InPlace::kInput0},
    {.signature = "_HardSwish(x: float) -> (y: float)",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunMap<ScalarOp::kHardSwish>>,
     .fusion = {.scalar = ScalarOp::kHardSwish},
     .in_place = InPlace::kInput0},
    {.signature = "_LayerNorm(x: float, gamma: float, beta: float) -> (y: float); epsilon: float",
     .shape = LayerNormShape,
     .build = BuildLayerNorm,
     .in_place = InPlace::kInput0,
     .per_example = true},
    {.signature = "_Mish(x: float) -> (y: float)",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunMap<ScalarOp::kMish>>,
     .fusion = {.scalar = ScalarOp::kMish},
     .in_place = InPlace::kInput0},
    {.signature = "_Swish(x: float) -> (y: float)",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunMap<ScalarOp::kSwish>>,
     .fusion = {.scalar = ScalarOp::kSwish},
     .in_place = InPlace::kInput0},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> RecognizedOps() { return kOps; }

}  // namespace savedmodel
