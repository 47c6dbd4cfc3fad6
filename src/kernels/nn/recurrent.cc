// Cells of recurrent layers: what the optimizer puts in place of the small ops that frameworks
// write them with.
#include "src/kernels/nn/recurrent.h"

#include <vector>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/nn/nn_ops.h"

namespace savedmodel {

StatusOr<LstmArgs> ReadLstmAttrs(const Attrs& attrs) {
  LstmArgs args;
  args.forget_bias = attrs.Float("forget_bias");
  const std::vector<int64_t>& order = attrs.Ints("order");
  SM_CHECK_ARG(order.size() == 4, "found an order of ", order.size(), " gates, expected 4");
  for (int i = 0; i < 4; ++i) {
    SM_CHECK_ARG(order[i] >= 0 && order[i] < 4, "found gate ", order[i],
                 ", expected one in [0, 4)");
    args.order[i] = static_cast<int>(order[i]);
  }
  return args;
}

namespace {

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
  SM_ASSIGN_OR_RETURN(const LstmArgs args, ReadLstmAttrs(build.attrs()));
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
    {.signature = "_GruCell(x: float, recurrent: float, state: float) -> (next_state: float)",
     .shape = GruShape,
     .build = BuildPlain<RunGru>},
    {.signature = "_LstmCell(gates: float, state: float) -> (output: float, next_state: float); "
                  "order: list(int); forget_bias: float = 0.0",
     .shape = LstmShape,
     .build = BuildLstm},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> RecurrentOps() { return kOps; }

}  // namespace savedmodel
