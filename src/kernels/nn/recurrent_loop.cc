// Loops over cells of recurrent layers: what the optimizer puts in place of a While that runs one.
#include <algorithm>
#include <memory>

#include "src/base/status_macros.h"
#include "src/base/strcat.h"
#include "src/graph/op_signature.h"
#include "src/graph/run_interrupted.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/isa/gemm.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/recurrent.h"
#include "src/kernels/nn/shared_turns.h"
#include "src/kernels/nn/turn_inputs.h"

namespace savedmodel {
namespace {

// x [turns, batch, inputs], or [batch, turns, inputs] where it says so, or a constant table [rows,
// inputs]; input weights [inputs, blocks * units], or none where x is what gates get of the input;
// weights [units, blocks * units], then biases of as many as the weights have columns or none, then
// states [batch, units], then which rows of the table are the input, [turns * batch]; none where x
// is. At the end a mask [turns, batch], or none, and an output [batch, units], or none: where the
// mask is false a row keeps its states, and its output is that of the turn before, before the first
// one that is given; 0 where none is. Outputs [turns or 1, batch, units] and the states after the
// last turn.
Status LoopShape(ShapeContext& ctx, int states, int blocks) {
  const int indices = ctx.num_inputs() - 3, first = indices - states;
  for (int i = first; i < indices; ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(indices, 1));
  const Shape &x = ctx.input(0), &state = ctx.input(first), &picked = ctx.input(indices),
              &mask = ctx.input(indices + 1), &masked = ctx.input(indices + 2);
  if (!x.fully_known() || !state.fully_known() || !picked.fully_known() || !mask.fully_known() ||
      !masked.fully_known()) {
    return Status();
  }
  const bool picks = x.rank() == 2;
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, picks ? 2 : 3));
  const bool projects = ctx.input(1) != Shape({0}), batch_major = ctx.attrs().Bool("batch_major");
  SM_CHECK_ARG(projects || (!batch_major && !picks),
               "found rows by batch or of a table without input weights");
  SM_CHECK_ARG(!picks || (!batch_major && state[0] > 0 && picked[0] % state[0] == 0),
               "found rows picked by ", picked[0], " indices, expected ", state[0], " a turn");
  const int64_t gates = blocks * state[1], inputs = projects ? x[x.rank() - 1] : gates;
  const int64_t turns = picks ? picked[0] / state[0] : x[batch_major ? 1 : 0];
  SM_CHECK_ARG(
      turns > 0 && (picks || x[batch_major ? 0 : 1] == state[0]) && x[x.rank() - 1] == inputs,
      "found rows of shape ", x, ", expected ", batch_major ? "[batch, turns, " : "[turns, batch, ",
      inputs, "] and ", state[0], " in a batch");
  SM_CHECK_ARG(!projects || (inputs > 0 && ctx.input(1) == Shape({inputs, gates})),
               "found input weights of shape ", ctx.input(1), ", expected [", inputs, ", ", gates,
               "] or none");
  SM_CHECK_ARG(ctx.input(2) == Shape({state[1], gates}), "found weights of shape ", ctx.input(2),
               ", expected [", state[1], ", ", gates, "]");
  for (int i = 3; i < first; ++i) {
    SM_CHECK_ARG(ctx.input(i) == Shape({0}) || ctx.input(i) == Shape({gates}),
                 "found a bias of shape ", ctx.input(i), ", expected [", gates, "] or none");
  }
  for (int i = first; i < indices; ++i) {
    SM_CHECK_ARG(ctx.input(i) == state, "found states of shapes ", state, " and ", ctx.input(i));
  }
  SM_CHECK_ARG(mask == Shape({0}) || mask == Shape({turns, state[0]}), "found a mask of shape ",
               mask, ", expected [", turns, ", ", state[0], "] or none");
  SM_CHECK_ARG(masked == Shape({0}) || (masked == state && mask.rank() == 2),
               "found a masked output of shape ", masked, ", expected ", state, " or none");
  const int64_t kept = ctx.attrs().Bool("last_only") ? 1 : turns;
  ctx.set_output(0, Shape({kept, state[0], state[1]}));
  for (int i = 1; i < ctx.num_outputs(); ++i) ctx.set_output(i, state);
  return Status();
}
Status LstmLoopShape(ShapeContext& ctx) { return LoopShape(ctx, 2, 4); }
Status GruLoopShape(ShapeContext& ctx) { return LoopShape(ctx, 1, 3); }

// A kind of cell, and the loop over it: where its inputs are, and its attributes.
struct Cell {
  bool is_lstm = false;
  int gates = 3, hidden = 5;
  int indices() const { return hidden + (is_lstm ? 2 : 1); }
  LstmArgs lstm;  // its attributes; the order of a gated recurrent unit's gates is as it comes
  bool last_only = false, batch_major = false;
};

// Recurrent weights of float32 in blocks for TurnArgs.
StatusOr<Tensor> PackBlocks(const Cell& cell, const Tensor& weights) {
  const int64_t lanes = Vectors().lanes, units = weights.shape()[0];
  const int64_t blocks = (units + lanes - 1) / lanes;
  SM_ASSIGN_OR_RETURN(Tensor packed,
                      Tensor::Allocate(DType::kFloat, Shape({blocks, units, cell.gates, lanes})));
  float* to = static_cast<float*>(packed.raw_mutable_data());
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t valid = std::min(lanes, units - block * lanes);
    for (int64_t k = 0; k < units; ++k) {
      const float* row = weights.data<float>() + k * cell.gates * units + block * lanes;
      for (int g = 0; g < cell.gates; ++g, to += lanes) {
        std::copy_n(row + cell.lstm.order[g] * units, valid, to);
        std::fill(to + valid, to + lanes, 0.0f);
      }
    }
  }
  return packed;
}

// Constant weights; none otherwise.
struct Weights {
  PackedMatrices input;
  std::shared_ptr<RowProducts> picked;  // what the input weights make of rows of a table
  std::shared_ptr<const Tensor> blocks;
  PackedMatrices reduced;  // of a precision other than float32
};

bool IsMatrix(const Tensor* weights) {
  return weights != nullptr && weights->shape().rank() == 2 && weights->num_elements() > 0;
}

StatusOr<PackedMatrices> PackMatrix(BuildContext& build, int input) {
  const Tensor& weights = *build.constant_input(input);
  const Shape& shape = weights.shape();
  return PackConstant(build, input, "recurrent", 1, shape[0], shape[1], build.precision(),
                      [&](int64_t) {
                        return MatrixView{weights.data<float>(), shape[1], 1};
                      });
}

StatusOr<Weights> PackWeights(BuildContext& build, const Cell& cell) {
  Weights packed;
  if (build.input_shape(0).rank() == 2) {
    SM_ASSIGN_OR_RETURN(packed.picked, RowProducts::Share(build, 0, 1));
  } else if (IsMatrix(build.constant_input(1))) {
    SM_ASSIGN_OR_RETURN(packed.input, PackMatrix(build, 1));
  }
  const Tensor* weights = build.constant_input(2);
  if (!IsMatrix(weights)) return packed;
  if (Reduced(build.precision()) != nullptr) {
    SM_ASSIGN_OR_RETURN(packed.reduced, PackMatrix(build, 2));
    if (packed.reduced->front().precision() != Precision::kFloat32) return packed;
    packed.reduced = nullptr;
  }
  std::string key = "recurrent blocks";
  for (int g = 0; g < cell.gates; ++g) key += StrCat(" ", cell.lstm.order[g]);
  SM_ASSIGN_OR_RETURN(
      std::shared_ptr<const void> blocks,
      build.Packed(*weights, key, [&]() -> StatusOr<std::shared_ptr<const void>> {
        SM_ASSIGN_OR_RETURN(Tensor made, PackBlocks(cell, *weights));
        return std::shared_ptr<const void>(std::make_shared<const Tensor>(std::move(made)));
      }));
  packed.blocks = std::static_pointer_cast<const Tensor>(std::move(blocks));
  return packed;
}

// One run of a loop.
class Loop {
 public:
  Loop(OpContext& ctx, const Cell& cell, const Weights& weights)
      : ctx_(ctx),
        cell_(cell),
        reduced_(weights.reduced == nullptr ? nullptr : &weights.reduced->front()),
        turns_(Turns(ctx, cell)),
        batch_(ctx.input(cell.hidden).shape()[0]),
        units_(ctx.input(cell.hidden).shape()[1]),
        gates_(cell.gates * units_),
        inputs_(ctx,
                {turns_, batch_, ctx.input(0).shape()[ctx.input(0).shape().rank() - 1], gates_,
                 cell.batch_major, cell.indices()},
                weights.input == nullptr ? nullptr : &weights.input->front(), weights.picked.get(),
                Bias(InputBias())) {
    if (weights.blocks != nullptr) blocks_ = *weights.blocks;
    if (ctx.input(cell.indices() + 1).num_elements() > 0) {
      mask_ = ctx.in<bool>(cell.indices() + 1);
      masked_ = Bias(cell.indices() + 2);
    }
  }

  // Divides the batch, the rows of which do not need each other, among threads; if there are too
  // few rows, each turn.
  Status Run() {
    const int64_t threads = ctx_.run().pool == nullptr ? 1 : ctx_.run().pool->num_threads();
    SM_RETURN_IF_ERROR(inputs_.Prepare(threads));
    SM_RETURN_IF_ERROR(Allocate());
    if (threads == 1) {
      RunRows(0, batch_, false);
    } else if (batch_ < threads) {
      DivideTurns(threads);
    } else {
      const double cost = static_cast<double>(turns_) * CostOfTurn(batch_ / threads);
      ctx_.ParallelFor(threads, cost, [&](int64_t begin, int64_t end) {
        const int64_t first = batch_ * begin / threads;
        RunRows(first, batch_ * end / threads - first, false);
      });
    }
    std::copy_n(Hidden(turns_), batch_ * units_, ctx_.out<float>(1));
    return Status();
  }

 private:
  Status Allocate() {
    const auto temp = [&](int64_t columns) {
      return ctx_.AllocateTemp(DType::kFloat, Shape({batch_, columns}));
    };
    SM_ASSIGN_OR_RETURN(hidden_[0], temp(units_));
    if (mask_ != nullptr) {
      SM_ASSIGN_OR_RETURN(hidden_[1], temp(units_));
      if (cell_.is_lstm) {
        SM_ASSIGN_OR_RETURN(state_, temp(units_));
      }
    }
    if (reduced_ != nullptr) {
      SM_ASSIGN_OR_RETURN(products_, temp(gates_));
      SM_ASSIGN_OR_RETURN(sums_, temp(gates_));
    } else if (!blocks_.has_value()) {
      SM_ASSIGN_OR_RETURN(blocks_, PackBlocks(cell_, ctx_.input(2)));
    }
    return Status();
  }

  double CostOfTurn(int64_t rows) const {
    return 0.04 * static_cast<double>(rows * units_ * gates_);
  }

  static int64_t Turns(OpContext& ctx, const Cell& cell) {
    const Shape& x = ctx.input(0).shape();
    if (x.rank() == 3) return x[cell.batch_major ? 1 : 0];
    return ctx.input(cell.indices()).num_elements() / ctx.input(cell.hidden).shape()[0];
  }
  int InputBias() const { return cell_.is_lstm ? 3 : 4; }

  // The hidden state that turn t finds. It is the turn's output, where there is no mask and not
  // only the last output is kept; else turns alternate between two places.
  const float* Hidden(int64_t t) {
    return t == 0 ? ctx_.in<float>(cell_.hidden) : NextHidden(t - 1);
  }
  float* NextHidden(int64_t t) {
    const bool to_end = (turns_ - t) % 2 == 1;
    if (mask_ != nullptr) return Data(hidden_[to_end ? 1 : 0]);
    float* const out = ctx_.out<float>(0);
    if (!cell_.last_only) return out + t * batch_ * units_;
    return to_end ? out : Data(hidden_[0]);
  }
  // The state of a long short-term memory is kept in one place, or, with a mask, in two.
  const float* State(int64_t t) {
    return t == 0 ? ctx_.in<float>(cell_.hidden + 1) : NextState(t - 1);
  }
  float* NextState(int64_t t) {
    const bool to_end = mask_ == nullptr || (turns_ - t) % 2 == 1;
    return to_end ? ctx_.out<float>(2) : Data(state_);
  }
  static float* Data(Tensor& t) { return static_cast<float*>(t.raw_mutable_data()); }

  const float* Bias(int input) const {
    return ctx_.input(input).num_elements() == 0 ? nullptr : ctx_.in<float>(input);
  }

  // Turn t of rows [first, first + rows).
  TurnArgs ArgsOf(int64_t t, int64_t first, int64_t rows) {
    TurnArgs args;
    args.weights = blocks_.data<float>();
    args.x = inputs_.Of(t, first, rows);
    if (!inputs_.has_bias() || !cell_.is_lstm) args.bias = Bias(3);
    args.hidden = Hidden(t) + first * units_;
    args.next_hidden = NextHidden(t) + first * units_;
    if (cell_.is_lstm) {
      args.next_state = NextState(t) + first * units_;
      args.state = State(t) + first * units_;
    } else if (!inputs_.has_bias()) {
      args.input_bias = Bias(InputBias());
    }
    args.rows = rows;
    args.units = units_;
    args.is_alone = batch_ == 1;
    args.backward = t % 2 == 1;
    std::copy_n(cell_.lstm.order, 4, args.order);
    args.forget_bias = cell_.lstm.forget_bias;
    return args;
  }

  // All turns of some rows.
  void RunRows(int64_t first, int64_t rows, bool divide_products) {
    for (int64_t t = 0; t < turns_; ++t) {
      inputs_.Make(t, first, rows, rows == batch_);
      const TurnArgs args = ArgsOf(t, first, rows);
      ctx_.ParallelFor(1, CostOfTurn(rows), [&](int64_t, int64_t) {  // sees whether the run is over
        if (IsMasked(t, first, rows)) {
          // Nothing but what is kept.
        } else if (reduced_ != nullptr) {
          ReducedTurn(args, first, divide_products);
        } else {
          RunBlocks(args, 0, Blocks());
        }
        Keep(t, args, first, 0, units_);
      });
    }
  }

  int64_t Blocks() const { return (units_ + Vectors().lanes - 1) / Vectors().lanes; }
  void RunBlocks(const TurnArgs& args, int64_t begin, int64_t end) const {
    (cell_.is_lstm ? Vectors().lstm_turn : Vectors().gru_turn)(args, begin, end);
  }

  bool IsMasked(int64_t t, int64_t first, int64_t rows) const {
    const bool* const mask = mask_ == nullptr ? nullptr : mask_ + t * batch_ + first;
    return mask != nullptr && std::find(mask, mask + rows, true) == mask + rows;
  }

  // After turn t has given the rows from `first` on units [begin, end): rows that are masked keep
  // what they had, and the turn gets its output.
  void Keep(int64_t t, const TurnArgs& args, int64_t first, int64_t begin, int64_t end) {
    if (mask_ == nullptr) return;
    const int64_t n = end - begin;
    for (int64_t r = 0; r < args.rows; ++r) {
      const int64_t at = r * units_ + begin, row = (first + r) * units_ + begin;
      float* const out = ctx_.out<float>(0) + row + (cell_.last_only ? 0 : t * batch_ * units_);
      if (mask_[t * batch_ + first + r]) {
        std::copy_n(args.next_hidden + at, n, out);
        continue;
      }
      std::copy_n(args.hidden + at, n, args.next_hidden + at);
      if (cell_.is_lstm) std::copy_n(args.state + at, n, args.next_state + at);
      if (masked_ == nullptr) {
        std::fill_n(out, n, 0.0f);
      } else if (t == 0) {
        std::copy_n(masked_ + row, n, out);
      } else if (!cell_.last_only) {
        std::copy_n(out - batch_ * units_, n, out);
      }
    }
  }

  // Each turn with several threads.
  void DivideTurns(int64_t threads) {
    constexpr double kLeastPart = 1000;  // what waiting for each other is worth
    const double cost = CostOfTurn(batch_);
    const int64_t parts =
        std::min({threads, Blocks(), static_cast<int64_t>(std::min(cost / kLeastPart, 1e3))});
    if (reduced_ != nullptr || parts < 2) return RunRows(0, batch_, true);
    const auto turn = [&](int64_t t, int64_t part) {
      if (!ctx_.run().CheckInterrupt().ok()) return false;
      const TurnArgs args = ArgsOf(t, 0, batch_);
      const int64_t begin = Blocks() * part / parts, end = Blocks() * (part + 1) / parts;
      if (!IsMasked(t, 0, batch_)) RunBlocks(args, begin, end);
      Keep(t, args, 0, begin * Vectors().lanes, std::min(end * Vectors().lanes, units_));
      return true;
    };
    inputs_.Make(0, 0, batch_, true);
    SharedTurns turns(turns_, parts);
    const double share = static_cast<double>(turns_) * cost / static_cast<double>(parts);
    ctx_.ParallelFor(parts, share, [&](int64_t begin, int64_t) { turns.Work(begin, turn); });
    if (!ctx_.run().CheckInterrupt().ok()) throw RunInterrupted();
  }

  // The same with weights of fewer bits: products first, then cells.
  void ReducedTurn(const TurnArgs& args, int64_t first, bool divide) {
    float* const products = static_cast<float*>(products_.raw_mutable_data()) + first * gates_;
    Epilogue epilogue;
    epilogue.bias = args.bias;
    if (cell_.is_lstm) epilogue.steps.push_back(Add(args.x, gates_));
    const EvenRuns runs{args.hidden, units_};
    const Product product{.rows = args.rows,
                          .columns = gates_,
                          .depth = units_,
                          .runs = runs,
                          .packed = reduced_,
                          .c = products,
                          .c_stride = gates_,
                          .epilogue = &epilogue,
                          .is_part = batch_ > 1};
    divide ? RunProduct(ctx_, product) : RunProductSerially(product);
    cell_.is_lstm ? ApplyLstm(args, products) : ApplyGru(args, products, first);
  }

  static VectorStep Add(const float* operand, int64_t row_stride) {
    return {.op = ScalarOp::kAdd, .operand = operand, .row_stride = row_stride, .column_stride = 1};
  }

  void ApplyLstm(const TurnArgs& args, const float* gates) const {
    LstmArgs cell = cell_.lstm;
    cell.gates = gates;
    cell.state = args.state;
    cell.result = args.next_hidden;
    cell.next_state = args.next_state;
    cell.units = units_;
    Vectors().lstm(cell, 0, args.rows);
  }

  void ApplyGru(const TurnArgs& args, const float* products, int64_t first) {
    const float* x = args.x;
    if (args.input_bias != nullptr) {
      float* const sums = static_cast<float*>(sums_.raw_mutable_data()) + first * gates_;
      std::copy_n(x, args.rows * gates_, sums);
      const VectorStep bias = Add(args.input_bias, 0);
      Vectors().apply(&bias, 1, sums, gates_, 0, args.rows, gates_);
      x = sums;
    }
    const GruArgs cell{.x = x,
                       .recurrent = products,
                       .state = args.hidden,
                       .result = args.next_hidden,
                       .units = units_};
    Vectors().gru(cell, 0, args.rows);
  }

  OpContext& ctx_;
  const Cell& cell_;
  const PackedMatrix* const reduced_;  // null where weights are in blocks
  const int64_t turns_, batch_, units_, gates_;
  TurnInputs inputs_;
  Tensor blocks_;
  const bool* mask_ = nullptr;     // [turns, batch], or null
  const float* masked_ = nullptr;  // the first turn's masked output; null: masked outputs are 0
  Tensor hidden_[2], state_;       // of turns, where these are not results
  Tensor products_, sums_;         // of weights of fewer bits
};

StatusOr<KernelPtr> BuildLoop(BuildContext& build, Cell cell) {
  cell.last_only = build.attrs().Bool("last_only");
  cell.batch_major = build.attrs().Bool("batch_major");
  SM_ASSIGN_OR_RETURN(Weights weights, PackWeights(build, cell));
  return MakeKernel([cell, weights](OpContext& ctx) { return Loop(ctx, cell, weights).Run(); });
}

StatusOr<KernelPtr> BuildLstmLoop(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const LstmArgs attributes, ReadLstmAttrs(build.attrs()));
  return BuildLoop(build, {.is_lstm = true, .gates = 4, .hidden = 4, .lstm = attributes});
}
StatusOr<KernelPtr> BuildGruLoop(BuildContext& build) { return BuildLoop(build, Cell()); }

constexpr OpDef kOps[] = {
    {.signature =
         "_GruLoop(x: float, input_weights: float, weights: float, bias: float, "
         "input_bias: float, hidden: float, indices: Tindices, mask: bool, masked: float) -> "
         "(output: float, last_hidden: float); last_only: bool; batch_major: bool = false; "
         "Tindices: {int32,int64} = "
         "int32",
     .shape = GruLoopShape,
     .build = BuildGruLoop,
     .is_long = true},
    {.signature = "_LstmLoop(x: float, input_weights: float, weights: float, bias: float, "
                  "hidden: float, state: float, indices: Tindices, mask: bool, masked: float) -> "
                  "(output: float, last_hidden: float, last_state: float); order: list(int); "
                  "forget_bias: float = 0.0; "
                  "last_only: bool; batch_major: bool = false; Tindices: {int32,int64} = int32",
     .shape = LstmLoopShape,
     .build = BuildLstmLoop,
     .is_long = true},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> RecurrentLoopOps() { return kOps; }

}  // namespace savedmodel
