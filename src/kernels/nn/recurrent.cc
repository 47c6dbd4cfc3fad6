// Cells of recurrent layers, and loops over them: what the optimizer puts in place of the small ops
// and the While that frameworks write such layers with.
#include <algorithm>
#include <memory>
#include <vector>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/isa/gemm.h"
#include "src/kernels/nn/nn_ops.h"

namespace savedmodel {
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

// x [turns, batch, blocks * units], weights [units, blocks * units], then biases of as many as the
// weights have columns or none, then states [batch, units]. Outputs [turns or 1, batch, units] and
// the states after the last turn.
Status LoopShape(ShapeContext& ctx, int states, int blocks) {
  const int first = ctx.num_inputs() - states;
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 3));
  for (int i = first; i < ctx.num_inputs(); ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 2));
  const Shape &x = ctx.input(0), &state = ctx.input(first);
  if (!x.fully_known() || !state.fully_known()) return Status();
  const int64_t gates = blocks * state[1];
  SM_CHECK_ARG(x[0] > 0 && x[1] == state[0] && x[2] == gates, "found rows of shape ", x,
               ", expected [turns, ", state[0], ", ", gates, "]");
  SM_CHECK_ARG(ctx.input(1) == Shape({state[1], gates}), "found weights of shape ", ctx.input(1),
               ", expected [", state[1], ", ", gates, "]");
  for (int i = 2; i < first; ++i) {
    SM_CHECK_ARG(ctx.input(i) == Shape({0}) || ctx.input(i) == Shape({gates}),
                 "found a bias of shape ", ctx.input(i), ", expected [", gates, "] or none");
  }
  for (int i = first; i < ctx.num_inputs(); ++i) {
    SM_CHECK_ARG(ctx.input(i) == state, "found states of shapes ", state, " and ", ctx.input(i));
  }
  const int64_t kept = ctx.attrs().Bool("last_only") ? 1 : x[0];
  ctx.set_output(0, Shape({kept, state[0], state[1]}));
  for (int i = 1; i < ctx.num_outputs(); ++i) ctx.set_output(i, state);
  return Status();
}
Status LstmLoopShape(ShapeContext& ctx) { return LoopShape(ctx, 2, 4); }
Status GruLoopShape(ShapeContext& ctx) { return LoopShape(ctx, 1, 3); }

// One run of a loop.
class Loop {
 public:
  Loop(OpContext& ctx, const PackedMatrix* weights, bool last_only, int states)
      : ctx_(ctx),
        weights_(weights),
        first_state_(ctx.num_inputs() - states),
        turns_(ctx.input(0).shape()[0]),
        batch_(ctx.input(0).shape()[1]),
        gates_(ctx.input(0).shape()[2]),
        units_(ctx.input(first_state_).shape()[1]),
        last_only_(last_only) {}

  // Divides the batch, the rows of which do not need each other, among threads; if there are too
  // few rows, each product. For a part of the batch, `make_turn(first row, rows)` gives a function
  // turn(x, products, hidden, next hidden) that computes the states of those rows in one turn: x
  // are the input's rows, the products those of the hidden state and the weights, with the bias, to
  // which `add_rows` adds x.
  template <class F>
  Status Run(bool add_rows, F&& make_turn) {
    SM_ASSIGN_OR_RETURN(products_, Temp(gates_));
    SM_ASSIGN_OR_RETURN(other_, Temp(units_));
    const int64_t threads = ctx_.run().pool == nullptr ? 1 : ctx_.run().pool->num_threads();
    if (threads == 1 || batch_ < threads) {
      RunRows(0, batch_, true, add_rows, make_turn(0, batch_));
      return Status();
    }
    const double cost = 0.04 * static_cast<double>(turns_ * batch_ / threads) *
                        static_cast<double>(units_ * gates_);
    ctx_.ParallelFor(threads, cost, [&](int64_t begin, int64_t end) {
      const int64_t first = batch_ * begin / threads, rows = batch_ * end / threads - first;
      RunRows(first, rows, false, add_rows, make_turn(first, rows));
    });
    return Status();
  }

  int64_t units() const { return units_; }
  int64_t gates() const { return gates_; }

 private:
  StatusOr<Tensor> Temp(int64_t columns) {
    return ctx_.AllocateTemp(DType::kFloat, Shape({batch_, columns}));
  }

  template <class F>
  void RunRows(int64_t first, int64_t rows, bool divide, bool add_rows, F&& turn) {
    const int64_t state = first * units_;
    float* const out = ctx_.out<float>(0) + state;
    float* const other = static_cast<float*>(other_.raw_mutable_data()) + state;
    float* const products = static_cast<float*>(products_.raw_mutable_data()) + first * gates_;
    const float* hidden = ctx_.in<float>(first_state_) + state;
    for (int64_t t = 0; t < turns_; ++t) {
      const float* x = ctx_.in<float>(0) + (t * batch_ + first) * gates_;
      // Where only the last is kept, turns alternate between two places and end in the output.
      float* next = last_only_ ? ((turns_ - t) % 2 == 1 ? out : other) : out + t * batch_ * units_;
      const double cost = 0.04 * static_cast<double>(rows * units_ * gates_);
      ctx_.ParallelFor(1, cost, [&](int64_t, int64_t) {  // sees whether the run is over
        Multiply(hidden, rows, divide, add_rows ? x : nullptr, products);
        turn(x, products, hidden, next);
      });
      hidden = next;
    }
    std::copy_n(hidden, rows * units_, ctx_.out<float>(1) + state);
  }

  void Multiply(const float* hidden, int64_t rows, bool divide, const float* x, float* y) {
    const EvenRuns runs{hidden, units_};
    Epilogue epilogue;
    epilogue.bias = ctx_.input(2).num_elements() == 0 ? nullptr : ctx_.in<float>(2);
    if (x != nullptr) {
      epilogue.steps.push_back(
          {.op = ScalarOp::kAdd, .operand = x, .row_stride = gates_, .column_stride = 1});
    }
    const Product product{.rows = rows,
                          .columns = gates_,
                          .depth = units_,
                          .runs = runs,
                          .packed = weights_,
                          .b = {ctx_.in<float>(1), gates_, 1},
                          .c = y,
                          .c_stride = gates_,
                          .epilogue = &epilogue,
                          .is_part = batch_ > 1};
    if (divide) {
      RunProduct(ctx_, product);
    } else {
      RunProductSerially(product);
    }
  }

  OpContext& ctx_;
  const PackedMatrix* weights_;  // null where they are not constant
  const int first_state_;
  const int64_t turns_, batch_, gates_, units_;
  const bool last_only_;
  Tensor products_, other_;
};

StatusOr<PackedMatrices> PackWeights(BuildContext& build) {
  const Tensor* weights = build.constant_input(1);
  if (weights == nullptr || weights->shape().rank() != 2) return PackedMatrices();
  const Shape& shape = weights->shape();
  return PackConstant(build, 1, "recurrent", 1, shape[0], shape[1], build.precision(),
                      [&](int64_t) {
                        return MatrixView{weights->data<float>(), shape[1], 1};
                      });
}
const PackedMatrix* First(const PackedMatrices& packed) {
  return packed ? packed->data() : nullptr;
}

StatusOr<KernelPtr> BuildLstmLoop(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const LstmArgs args, ReadLstmAttrs(build.attrs()));
  SM_ASSIGN_OR_RETURN(PackedMatrices packed, PackWeights(build));
  const bool last_only = build.attrs().Bool("last_only");
  return MakeKernel([args, packed, last_only](OpContext& ctx) {
    Loop loop(ctx, First(packed), last_only, 2);
    return loop.Run(true, [&](int64_t first, int64_t rows) {
      LstmArgs cell = args;
      cell.units = loop.units();
      cell.state = ctx.in<float>(4) + first * cell.units;
      cell.next_state = ctx.out<float>(2) + first * cell.units;
      return [cell, rows](const float*, const float* gates, const float*, float* next) mutable {
        cell.gates = gates;
        cell.result = next;
        Vectors().lstm(cell, 0, rows);
        cell.state = cell.next_state;  // from the second turn on in place
      };
    });
  });
}

StatusOr<KernelPtr> BuildGruLoop(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(PackedMatrices packed, PackWeights(build));
  const bool last_only = build.attrs().Bool("last_only");
  return MakeKernel([packed, last_only](OpContext& ctx) -> Status {
    Loop loop(ctx, First(packed), last_only, 1);
    SM_ASSIGN_OR_RETURN(
        Tensor sums,
        ctx.AllocateTemp(DType::kFloat, Shape({ctx.input(0).shape()[1], loop.gates()})));
    return loop.Run(false, [&](int64_t first, int64_t rows) {
      const bool has_bias = ctx.input(3).num_elements() > 0;
      const VectorStep bias{.op = ScalarOp::kAdd, .operand = ctx.in<float>(3), .column_stride = 1};
      float* sum = static_cast<float*>(sums.raw_mutable_data()) + first * loop.gates();
      GruArgs cell;
      cell.units = loop.units();
      return [=, gates = loop.gates()](const float* x, const float* recurrent, const float* hidden,
                                       float* next) mutable {
        if (has_bias) {
          std::copy_n(x, rows * gates, sum);
          Vectors().apply(&bias, 1, sum, gates, 0, rows, gates);
        }
        cell.x = has_bias ? sum : x;
        cell.recurrent = recurrent;
        cell.state = hidden;
        cell.result = next;
        Vectors().gru(cell, 0, rows);
      };
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature = "_GruCell(x: float, recurrent: float, state: float) -> (next_state: float)",
     .shape = GruShape,
     .build = BuildPlain<RunGru>},
    {.signature = "_GruLoop(x: float, weights: float, bias: float, input_bias: float, "
                  "hidden: float) -> (output: float, last_hidden: float); last_only: bool",
     .shape = GruLoopShape,
     .build = BuildGruLoop,
     .is_long = true},
    {.signature = "_LstmCell(gates: float, state: float) -> (output: float, next_state: float); "
                  "order: list(int); forget_bias: float = 0.0",
     .shape = LstmShape,
     .build = BuildLstm},
    {.signature = "_LstmLoop(x: float, weights: float, bias: float, hidden: float, state: float) "
                  "-> (output: float, last_hidden: float, last_state: float); order: list(int); "
                  "forget_bias: float = 0.0; last_only: bool",
     .shape = LstmLoopShape,
     .build = BuildLstmLoop,
     .is_long = true},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> RecurrentOps() { return kOps; }

}  // namespace savedmodel
