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

// Input `state` is [batch, units], the inputs before it [batch, blocks * units]; the outputs have
// the state's shape.
Status CellShape(ShapeContext& ctx, int state, int blocks) {
  for (int i = 0; i <= state; ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 2));
  const Shape& shape = ctx.input(state);
  if (!shape.fully_known()) return Status();
  const Shape expected({shape[0], blocks * shape[1]});
  for (int i = 0; i < state; ++i) {
    if (!ctx.input(i).fully_known()) return Status();
    SM_CHECK_ARG(ctx.input(i) == expected, "found gates of shape ", ctx.input(i), ", expected ",
                 expected, " for a state of shape ", shape);
  }
  for (int i = 0; i < ctx.num_outputs(); ++i) ctx.set_output(i, shape);
  return Status();
}
Status LstmShape(ShapeContext& ctx) { return CellShape(ctx, 1, 4); }
Status GruShape(ShapeContext& ctx) { return CellShape(ctx, 2, 3); }

StatusOr<KernelPtr> BuildLstm(BuildContext& build) {
  LstmArgs args;
  args.forget_bias = build.attrs().Float("forget_bias");
  const std::vector<int64_t>& order = build.attrs().Ints("order");
  SM_CHECK_ARG(order.size() == 4, "found an order of ", order.size(), " gates, expected 4");
  for (int i = 0; i < 4; ++i) {
    SM_CHECK_ARG(order[i] >= 0 && order[i] < 4, "found gate ", order[i],
                 ", expected one in [0, 4)");
    args.order[i] = static_cast<int>(order[i]);
  }
  return MakeKernel([args](OpContext& ctx) {
    LstmArgs run = args;
    run.gates = ctx.in<float>(0);
    run.state = ctx.in<float>(1);
    run.result = ctx.out<float>(0);
    run.next_state = ctx.out<float>(1);
    run.units = ctx.input(1).shape()[1];
    ctx.ParallelFor(ctx.input(1).shape()[0], 4 * static_cast<double>(run.units),
                    [&](int64_t begin, int64_t end) { Vectors().lstm(run, begin, end); });
    return Status();
  });
}

Status RunGru(OpContext& ctx) {
  const GruArgs args{.x = ctx.in<float>(0),
                     .recurrent = ctx.in<float>(1),
                     .state = ctx.in<float>(2),
                     .result = ctx.out<float>(0),
                     .units = ctx.input(2).shape()[1]};
  ctx.ParallelFor(ctx.input(2).shape()[0], 3 * static_cast<double>(args.units),
                  [&](int64_t begin, int64_t end) { Vectors().gru(args, begin, end); });
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "_Gelu(x: float) -> (y: float)",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunMap<kGelu>>,
     .fusion = {.scalar = kGelu},
     .in_place = InPlace::kInput0},
    {.signature = "_GeluTanh(x: float) -> (y: float)",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunMap<kGeluTanh>>,
     .fusion = {.scalar = kGeluTanh},
     .in_place = InPlace::kInput0},
    {.signature = "_GruCell(x: float, recurrent: float, state: float) -> (next_state: float)",
     .shape = GruShape,
     .build = BuildPlain<RunGru>},
    {.signature = "_LayerNorm(x: float, gamma: float, beta: float) -> (y: float); epsilon: float",
     .shape = LayerNormShape,
     .build = BuildLayerNorm,
     .in_place = InPlace::kInput0},
    {.signature = "_LstmCell(gates: float, state: float) -> (output: float, next_state: float); "
                  "order: list(int); forget_bias: float = 0.0",
     .shape = LstmShape,
     .build = BuildLstm},
    {.signature = "_Swish(x: float) -> (y: float)",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunMap<kSwish>>,
     .fusion = {.scalar = kSwish},
     .in_place = InPlace::kInput0},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> RecognizedOps() { return kOps; }

}  // namespace savedmodel
