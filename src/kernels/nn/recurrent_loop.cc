// Loops over cells of recurrent layers: what the optimizer puts in place of a While that runs one.
#include <algorithm>
#include <memory>

#include "src/base/status_macros.h"
#include "src/base/strcat.h"
#include "src/graph/op_signature.h"
#include "src/graph/run_interrupted.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/recurrent_weights.h"
#include "src/kernels/nn/shared_turns.h"
#include "src/kernels/nn/turn_inputs.h"

namespace savedmodel {
namespace {

// x [turns, batch, inputs], or [batch, turns, inputs] where it says so, or a constant table [rows,
// inputs]; input weights [inputs, blocks * units], or none where x is what gates get of the input;
// weights [outputs, blocks * units], then biases of as many as the weights have columns or none; of
// a long short-term memory then peepholes [3 * units] or none and a projection [units, outputs] or
// none, without which there are as many outputs as units; then the hidden state [batch, outputs]
// and that of a long short-term memory, [batch, units], then which rows of the table are the input,
// [turns * batch]; none where x is. At the end a mask [turns, batch], or none, and an output
// [batch, outputs], or none: where the mask is false a row keeps its states, and its output is that
// of the turn before, before the first one that is given; 0 where none is. Outputs [turns or 1,
// batch, outputs] and the states after the last turn.
Status LoopShape(ShapeContext& ctx, int states, int blocks) {
  const int indices = ctx.num_inputs() - 3, first = indices - states;
  for (int i = first; i < indices; ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(indices, 1));
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    if (!ctx.input(i).fully_known()) return Status();
  }
  const Shape &x = ctx.input(0), &hidden = ctx.input(first), &state = ctx.input(indices - 1),
              &picked = ctx.input(indices), &mask = ctx.input(indices + 1),
              &masked = ctx.input(indices + 2);
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
  SM_CHECK_ARG(ctx.input(2) == Shape({hidden[1], gates}), "found weights of shape ", ctx.input(2),
               ", expected [", hidden[1], ", ", gates, "]");
  const bool lstm = states == 2;
  for (int i = 3; i < (lstm ? LoopCell::kPeepholes : first); ++i) {
    SM_CHECK_ARG(ctx.input(i) == Shape({0}) || ctx.input(i) == Shape({gates}),
                 "found a bias of shape ", ctx.input(i), ", expected [", gates, "] or none");
  }
  bool projected = false;
  if (lstm) {
    const Shape &peepholes = ctx.input(LoopCell::kPeepholes),
                &projection = ctx.input(LoopCell::kProjection);
    SM_CHECK_ARG(peepholes == Shape({0}) || peepholes == Shape({3 * state[1]}),
                 "found peepholes of shape ", peepholes, ", expected [", 3 * state[1], "] or none");
    projected = projection != Shape({0});
    SM_CHECK_ARG(!projected || projection == Shape({state[1], hidden[1]}),
                 "found a projection of shape ", projection, ", expected [", state[1], ", ",
                 hidden[1], "] or none");
  }
  SM_CHECK_ARG(projected ? state[0] == hidden[0] : state == hidden, "found states of shapes ",
               hidden, " and ", state);
  SM_CHECK_ARG(mask == Shape({0}) || mask == Shape({turns, state[0]}), "found a mask of shape ",
               mask, ", expected [", turns, ", ", state[0], "] or none");
  SM_CHECK_ARG(masked == Shape({0}) || (masked == hidden && mask.rank() == 2),
               "found a masked output of shape ", masked, ", expected ", hidden, " or none");
  const int64_t kept = ctx.attrs().Bool("last_only") ? 1 : turns;
  ctx.set_output(0, Shape({kept, hidden[0], hidden[1]}));
  ctx.set_output(1, hidden);
  if (lstm) ctx.set_output(2, state);
  return Status();
}
Status LstmLoopShape(ShapeContext& ctx) { return LoopShape(ctx, 2, 4); }
Status GruLoopShape(ShapeContext& ctx) { return LoopShape(ctx, 1, 3); }
Status RnnLoopShape(ShapeContext& ctx) { return LoopShape(ctx, 1, 1); }

// One run of a loop.
class Loop {
 public:
  Loop(OpContext& ctx, const LoopCell& cell, const LoopWeights& weights)
      : ctx_(ctx),
        cell_(cell),
        reduced_(weights.reduced == nullptr ? nullptr : &weights.reduced->front()),
        turns_(Turns(ctx, cell)),
        batch_(ctx.input(cell.hidden).shape()[0]),
        outputs_(ctx.input(cell.hidden).shape()[1]),
        units_(ctx.input(cell.indices() - 1).shape()[1]),
        gates_(cell.gates * units_),
        inputs_(ctx,
                {turns_, batch_, ctx.input(0).shape()[ctx.input(0).shape().rank() - 1], gates_,
                 cell.batch_major, cell.indices()},
                weights.input == nullptr ? nullptr : &weights.input->front(), weights.picked.get(),
                Given(cell.has_input_bias() ? 4 : 3)),
        masked_(Given(cell.masked())) {
    for (const auto& blocks : weights.blocks) blocks_.push_back(*blocks);
    if (ctx.input(cell.mask()).num_elements() > 0) mask_ = ctx.in<bool>(cell.mask());
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
    std::copy_n(Hidden(turns_), batch_ * outputs_, ctx_.out<float>(1));
    return Status();
  }

 private:
  Status Allocate() {
    const auto temp = [&](int64_t columns) {
      return ctx_.AllocateTemp(DType::kFloat, Shape({batch_, columns}));
    };
    SM_ASSIGN_OR_RETURN(hidden_[0], temp(outputs_));
    if (mask_ != nullptr) {
      SM_ASSIGN_OR_RETURN(hidden_[1], temp(outputs_));
    }
    if (mask_ != nullptr && cell_.is_lstm()) {
      SM_ASSIGN_OR_RETURN(state_, temp(units_));
    }
    if (cell_.projects()) {
      SM_ASSIGN_OR_RETURN(unprojected_, temp(units_));
    } else if (cell_.parts.size() > 1) {
      SM_ASSIGN_OR_RETURN(update_, temp(units_));
      SM_ASSIGN_OR_RETURN(reset_, temp(units_));
    }
    if (reduced_ != nullptr) {
      SM_ASSIGN_OR_RETURN(products_, temp(gates_));
      SM_ASSIGN_OR_RETURN(sums_, temp(gates_));
    } else if (blocks_.empty()) {
      for (const TurnPart& part : cell_.parts) {
        SM_ASSIGN_OR_RETURN(Tensor blocks, PackBlocks(cell_, part, ctx_.input(WeightsOf(part))));
        blocks_.push_back(std::move(blocks));
      }
    }
    return Status();
  }

  double CostOfTurn(int64_t rows) const {
    const int64_t projection = cell_.projects() ? units_ * outputs_ : 0;
    return 0.04 * static_cast<double>(rows * (outputs_ * gates_ + projection));
  }

  static int64_t Turns(OpContext& ctx, const LoopCell& cell) {
    const Shape& x = ctx.input(0).shape();
    if (x.rank() == 3) return x[cell.batch_major ? 1 : 0];
    return ctx.input(cell.indices()).num_elements() / ctx.input(cell.hidden).shape()[0];
  }

  // The hidden state that turn t finds. It is the turn's output, where there is no mask and not
  // only the last output is kept; else turns alternate between two places.
  const float* Hidden(int64_t t) {
    return t == 0 ? ctx_.in<float>(cell_.hidden) : NextHidden(t - 1);
  }
  float* NextHidden(int64_t t) {
    const bool to_end = (turns_ - t) % 2 == 1;
    if (mask_ != nullptr) return Data(hidden_[to_end ? 1 : 0]);
    float* const out = ctx_.out<float>(0);
    if (!cell_.last_only) return out + t * batch_ * outputs_;
    return to_end ? out : Data(hidden_[0]);
  }
  // The state of a long short-term memory is kept in one place, or, with a mask, in two.
  const float* State(int64_t t) {
    return t == 0 ? ctx_.in<float>(cell_.state()) : NextState(t - 1);
  }
  float* NextState(int64_t t) {
    const bool to_end = mask_ == nullptr || (turns_ - t) % 2 == 1;
    return to_end ? ctx_.out<float>(2) : Data(state_);
  }
  static float* Data(Tensor& t) { return static_cast<float*>(t.raw_mutable_data()); }

  // An input that may be empty: null where it is.
  const float* Given(int input) const {
    return ctx_.input(input).num_elements() == 0 ? nullptr : ctx_.in<float>(input);
  }

  // Part `part` of turn t of rows [first, first + rows).
  TurnArgs ArgsOf(int64_t t, size_t part, int64_t first, int64_t rows) {
    const int64_t at = first * outputs_, of_state = first * units_;
    TurnArgs args;
    args.kind = cell_.parts[part].kind;
    if (!blocks_.empty()) args.weights = blocks_[part].data<float>();
    args.x = inputs_.Of(t, first, rows);
    args.x_stride = gates_;
    if (!inputs_.has_bias() || cell_.has_input_bias()) args.bias = Given(3);
    if (!inputs_.has_bias() && cell_.has_input_bias()) args.input_bias = Given(4);
    args.hidden = Hidden(t) + at;
    args.next_hidden = NextHidden(t) + at;
    if (cell_.is_lstm()) {
      args.next_state = NextState(t) + of_state;
      args.state = State(t) + of_state;
      args.peepholes = Given(LoopCell::kPeepholes);
      args.clip = cell_.state_clip;
    }
    if (args.kind == TurnKind::kGruGates) {
      args.next_state = Data(update_) + at;
      args.next_hidden = Data(reset_) + at;
    } else if (args.kind == TurnKind::kGruCandidate) {
      args.kept = args.hidden;
      args.state = Data(update_) + at;
      args.hidden = Data(reset_) + at;
    }
    args.rows = rows;
    args.units = units_;
    args.depth = outputs_;
    if (cell_.parts[part].projects()) {
      args.hidden = Data(unprojected_) + of_state;
      args.clip = cell_.projection_clip;
      std::swap(args.units, args.depth);
    } else if (cell_.projects()) {
      args.next_hidden = Data(unprojected_) + of_state;
    }
    args.is_alone = batch_ == 1;
    args.backward =
        (t * static_cast<int64_t>(cell_.parts.size()) + static_cast<int>(part)) % 2 == 1;
    std::copy_n(cell_.order + cell_.parts[part].first, cell_.parts[part].gates, args.order);
    args.activation = cell_.activation;
    args.gate_activation = cell_.gate_activation;
    args.gate_scale = cell_.gate_scale;
    return args;
  }

  // All turns of some rows.
  void RunRows(int64_t first, int64_t rows, bool divide_products) {
    for (int64_t t = 0; t < turns_; ++t) {
      inputs_.Make(t, first, rows, rows == batch_);
      ctx_.ParallelFor(1, CostOfTurn(rows), [&](int64_t, int64_t) {  // sees whether the run is over
        if (reduced_ != nullptr) {
          if (!IsMasked(t, first, rows)) {
            ReducedTurn(ArgsOf(t, 0, first, rows), first, divide_products);
          }
          Keep(t, 0, first, rows, 0, units_);
          return;
        }
        for (size_t part = 0; part < cell_.parts.size(); ++part) {
          RunBlocks(t, part, first, rows, 0, Blocks(part));
        }
      });
    }
  }

  // Blocks [begin, end) of units of a part of a turn. Where all rows are masked, they keep what
  // they have.
  void RunBlocks(int64_t t, size_t part, int64_t first, int64_t rows, int64_t begin, int64_t end) {
    if (!IsMasked(t, first, rows)) Vectors().turn(ArgsOf(t, part, first, rows), begin, end);
    const int64_t lanes = Vectors().lanes;
    Keep(t, part, first, rows, begin * lanes, std::min(end * lanes, Units(part)));
  }
  int64_t Units(size_t part) const { return cell_.parts[part].projects() ? outputs_ : units_; }
  int64_t Blocks(size_t part) const {
    return (Units(part) + Vectors().lanes - 1) / Vectors().lanes;
  }

  bool IsMasked(int64_t t, int64_t first, int64_t rows) const {
    const bool* const mask = mask_ == nullptr ? nullptr : mask_ + t * batch_ + first;
    return mask != nullptr && std::find(mask, mask + rows, true) == mask + rows;
  }

  // After a part of turn t has given the rows from `first` on units [begin, end): rows that are
  // masked keep what they had, and the turn gets its output.
  void Keep(int64_t t, size_t part, int64_t first, int64_t rows, int64_t begin, int64_t end) {
    if (mask_ == nullptr) return;
    const int64_t n = end - begin;
    for (int64_t r = first; part == 0 && cell_.is_lstm() && r < first + rows; ++r) {
      const int64_t at = r * units_ + begin;
      if (!mask_[t * batch_ + r]) std::copy_n(State(t) + at, n, NextState(t) + at);
    }
    if (part + 1 < cell_.parts.size()) return;
    for (int64_t r = first; r < first + rows; ++r) {
      const int64_t at = r * outputs_ + begin;
      float* const out = ctx_.out<float>(0) + at + (cell_.last_only ? 0 : t * batch_ * outputs_);
      if (mask_[t * batch_ + r]) {
        std::copy_n(NextHidden(t) + at, n, out);
        continue;
      }
      std::copy_n(Hidden(t) + at, n, NextHidden(t) + at);
      if (masked_ == nullptr) {
        std::fill_n(out, n, 0.0f);
      } else if (t == 0) {
        std::copy_n(masked_ + at, n, out);
      } else if (!cell_.last_only) {
        std::copy_n(out - batch_ * outputs_, n, out);
      }
    }
  }

  // Each turn with several threads.
  void DivideTurns(int64_t threads) {
    constexpr double kLeastPart = 1000;  // what waiting for each other is worth
    const int64_t parts = static_cast<int64_t>(cell_.parts.size());
    const double cost = CostOfTurn(batch_);
    const int64_t shares = std::min(
        {threads, Blocks(0),
         static_cast<int64_t>(std::min(cost / static_cast<double>(parts) / kLeastPart, 1e3))});
    if (reduced_ != nullptr || shares < 2) return RunRows(0, batch_, true);
    const auto turn = [&](int64_t i, int64_t share) {
      if (!ctx_.run().CheckInterrupt().ok()) return false;
      const size_t part = static_cast<size_t>(i % parts);
      const int64_t blocks = Blocks(part);
      RunBlocks(i / parts, part, 0, batch_, blocks * share / shares, blocks * (share + 1) / shares);
      return true;
    };
    inputs_.Make(0, 0, batch_, true);
    SharedTurns turns(turns_ * parts, shares);
    const double share = static_cast<double>(turns_) * cost / static_cast<double>(shares);
    ctx_.ParallelFor(shares, share, [&](int64_t begin, int64_t) { turns.Work(begin, turn); });
    if (!ctx_.run().CheckInterrupt().ok()) throw RunInterrupted();
  }

  // The same with weights of fewer bits: products first, then cells.
  void ReducedTurn(const TurnArgs& args, int64_t first, bool divide) {
    float* const products = Data(products_) + first * gates_;
    Epilogue epilogue;
    epilogue.bias = args.bias;
    if (cell_.is_lstm()) epilogue.steps.push_back(Add(args.x, gates_));
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
    cell_.is_lstm() ? ApplyLstm(args, products) : ApplyGru(args, products, first);
  }

  static VectorStep Add(const float* operand, int64_t row_stride) {
    return {.op = ScalarOp::kAdd, .operand = operand, .row_stride = row_stride, .column_stride = 1};
  }

  void ApplyLstm(const TurnArgs& args, const float* gates) const {
    LstmArgs cell{.gates = gates,
                  .state = args.state,
                  .result = args.next_hidden,
                  .next_state = args.next_state,
                  .units = units_};
    std::copy_n(cell_.order, 4, cell.order);
    Vectors().lstm(cell, 0, args.rows);
  }

  void ApplyGru(const TurnArgs& args, const float* products, int64_t first) {
    const float* x = args.x;
    if (args.input_bias != nullptr) {
      float* const sums = Data(sums_) + first * gates_;
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
  const LoopCell& cell_;
  const PackedMatrix* const reduced_;  // null where weights are in blocks
  const int64_t turns_, batch_;
  const int64_t outputs_, units_;  // in a row of the hidden state, and of what the gates make
  const int64_t gates_;
  TurnInputs inputs_;
  std::vector<Tensor> blocks_;  // for each part
  const bool* mask_ = nullptr;  // [turns, batch], or null
  const float* const masked_;   // the first turn's masked output; null: masked outputs are 0
  Tensor hidden_[2], state_;    // of turns, where these are not results
  Tensor unprojected_;          // what the gates of a turn make, where that is projected
  Tensor update_, reset_;       // of a gated recurrent unit in two parts
  Tensor products_, sums_;      // of weights of fewer bits
};

StatusOr<KernelPtr> BuildLoop(BuildContext& build, LoopCell cell) {
  SM_RETURN_IF_ERROR(cell.ReadAttrs(build.attrs()));
  SM_ASSIGN_OR_RETURN(LoopWeights weights, PackWeights(build, cell));
  return MakeKernel([cell, weights](OpContext& ctx) { return Loop(ctx, cell, weights).Run(); });
}

StatusOr<KernelPtr> BuildLstmLoop(BuildContext& build) {
  LoopCell cell{.parts = {{TurnKind::kLstm, 0, 4}}, .states = 2, .hidden = 6};
  const Shape& projection = build.input_shape(LoopCell::kProjection);
  SM_CHECK_ARG(projection.known_rank(), "found a projection of any shape, expected one or none");
  if (projection.rank() == 2) cell.parts.push_back({TurnKind::kProjection, 0, 1});
  cell.has_peepholes = build.input_shape(LoopCell::kPeepholes) != Shape({0});
  return BuildLoop(build, std::move(cell));
}
StatusOr<KernelPtr> BuildGruLoop(BuildContext& build) {
  std::vector<TurnPart> parts = {{TurnKind::kGru, 0, 3}};
  if (!build.attrs().Bool("reset_after")) {
    parts = {{TurnKind::kGruGates, 0, 2}, {TurnKind::kGruCandidate, 2, 1}};
  }
  return BuildLoop(build, {.parts = std::move(parts), .hidden = 5});
}
StatusOr<KernelPtr> BuildRnnLoop(BuildContext& build) {
  return BuildLoop(build, {.parts = {{TurnKind::kRnn, 0, 1}}});
}

#define SM_LOOP_ATTRS                                                                    \
  "order: list(int); activation: string = 'Tanh'; gate_activation: string = 'Sigmoid'; " \
  "gate_scale: float = 1.0; last_only: bool; batch_major: bool = false; Tindices: "      \
  "{int32,int64} = int32"

constexpr OpDef kOps[] = {
    {.signature =
         "_GruLoop(x: float, input_weights: float, weights: float, bias: float, "
         "input_bias: float, hidden: float, indices: Tindices, mask: bool, masked: float) "
         "-> (output: float, last_hidden: float); reset_after: bool = true; " SM_LOOP_ATTRS,
     .shape = GruLoopShape,
     .build = BuildGruLoop,
     .is_long = true},
    {.signature = "_LstmLoop(x: float, input_weights: float, weights: float, bias: float, "
                  "peepholes: float, projection: float, hidden: float, state: float, indices: "
                  "Tindices, mask: bool, masked: float) -> (output: float, last_hidden: float, "
                  "last_state: float); state_clip: float = 0.0; projection_clip: float = "
                  "0.0; " SM_LOOP_ATTRS,
     .shape = LstmLoopShape,
     .build = BuildLstmLoop,
     .is_long = true},
    {.signature = "_RnnLoop(x: float, input_weights: float, weights: float, bias: float, hidden: "
                  "float, indices: Tindices, mask: bool, masked: float) -> (output: float, "
                  "last_hidden: float); " SM_LOOP_ATTRS,
     .shape = RnnLoopShape,
     .build = BuildRnnLoop,
     .is_long = true},
};
#undef SM_LOOP_ATTRS
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> RecurrentLoopOps() { return kOps; }

}  // namespace savedmodel
