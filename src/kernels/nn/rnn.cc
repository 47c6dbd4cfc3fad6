// LSTM and GRU cells, and the LSTM over a whole sequence.
#include <algorithm>
#include <cmath>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/products.h"
#include "src/kernels/nn/spatial.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

struct LstmAttrs {
  float forget_bias = 0;
  float cell_clip = 0;  // no clipping unless positive
  bool peephole = false;
  bool gates_are_ifco = false;  // BlockLSTMV2's order of gates; the others have i, c, f, o
};

LstmAttrs ReadLstmAttrs(const Attrs& attrs) {
  return {.forget_bias = attrs.Has("forget_bias") ? attrs.Float("forget_bias") : 0,
          .cell_clip = attrs.Float("cell_clip"),
          .peephole = attrs.Bool("use_peephole"),
          .gates_are_ifco = !attrs.Has("forget_bias")};
}

// What a step reads and writes: rows of `cell` floats, and x in rows of `input`.
struct LstmStep {
  int64_t batch = 0, input = 0, cell = 0;
  const float *x = nullptr, *cs_prev = nullptr, *h_prev = nullptr;
  const float *w = nullptr, *wci = nullptr, *wcf = nullptr, *wco = nullptr, *b = nullptr;
  float *i = nullptr, *cs = nullptr, *f = nullptr, *o = nullptr, *ci = nullptr, *co = nullptr,
        *h = nullptr;
};

// Scratch of a step: [x, h_prev] side by side, and the gates before their activations.
struct LstmScratch {
  Tensor joined, gates;
};

StatusOr<LstmScratch> AllocateScratch(OpContext& ctx, int64_t batch, int64_t depth,
                                      int64_t columns) {
  LstmScratch scratch;
  SM_ASSIGN_OR_RETURN(scratch.joined, ctx.AllocateTemp(DType::kFloat, Shape({batch, depth})));
  SM_ASSIGN_OR_RETURN(scratch.gates, ctx.AllocateTemp(DType::kFloat, Shape({batch, columns})));
  return scratch;
}

// joined[r] = a[r] followed by b[r]
void JoinRows(int64_t rows, const float* a, int64_t a_columns, const float* b, int64_t b_columns,
              float* joined) {
  for (int64_t r = 0; r < rows; ++r) {
    joined = std::copy_n(a + r * a_columns, a_columns, joined);
    joined = std::copy_n(b + r * b_columns, b_columns, joined);
  }
}

void Sigmoid(float* x, int64_t n) { Vectors().map(ScalarOp::kSigmoid, 0, x, x, n); }
void Tanh(const float* x, float* y, int64_t n) { Vectors().map(ScalarOp::kTanh, 0, x, y, n); }

// One row of a step, from its gates.
void LstmRow(const LstmAttrs& attrs, const LstmStep& s, int64_t row, const float* gates) {
  const int64_t n = s.cell, at = row * n;
  const float* in_gate = gates;
  const float* new_input = gates + (attrs.gates_are_ifco ? 2 : 1) * n;
  const float* forget = gates + (attrs.gates_are_ifco ? 1 : 2) * n;
  const float* out_gate = gates + 3 * n;
  const float* previous = s.cs_prev + at;
  float *i = s.i + at, *cs = s.cs + at, *f = s.f + at, *o = s.o + at, *ci = s.ci + at,
        *co = s.co + at, *h = s.h + at;
  for (int64_t j = 0; j < n; ++j) {
    i[j] = in_gate[j] + (attrs.peephole ? previous[j] * s.wci[j] : 0);
    f[j] = forget[j] + attrs.forget_bias + (attrs.peephole ? previous[j] * s.wcf[j] : 0);
  }
  Sigmoid(i, n);
  Sigmoid(f, n);
  Tanh(new_input, ci, n);
  for (int64_t j = 0; j < n; ++j) {
    cs[j] = ci[j] * i[j] + previous[j] * f[j];
    if (attrs.cell_clip > 0) {
      cs[j] = std::min(std::max(cs[j], -attrs.cell_clip), attrs.cell_clip);
    }
    o[j] = out_gate[j] + (attrs.peephole ? cs[j] * s.wco[j] : 0);
  }
  Sigmoid(o, n);
  Tanh(cs, co, n);
  for (int64_t j = 0; j < n; ++j) h[j] = o[j] * co[j];
}

Status RunLstmStep(OpContext& ctx, const LstmAttrs& attrs, const LstmStep& s,
                   LstmScratch* scratch) {
  float* joined = static_cast<float*>(scratch->joined.raw_mutable_data());
  float* gates = static_cast<float*>(scratch->gates.raw_mutable_data());
  JoinRows(s.batch, s.x, s.input, s.h_prev, s.cell, joined);
  Epilogue bias;
  bias.bias = s.b;
  SM_RETURN_IF_ERROR(MultiplyMatrices(ctx, ProductOf<float>{.m = s.batch,
                                                            .n = 4 * s.cell,
                                                            .k = s.input + s.cell,
                                                            .a = joined,
                                                            .b = s.w,
                                                            .c = gates,
                                                            .epilogue = &bias,
                                                            .pairs = {{0, 0}}}));
  for (int64_t row = 0; row < s.batch; ++row) LstmRow(attrs, s, row, gates + row * 4 * s.cell);
  return Status();
}

// Checks shapes of cs_prev and the inputs after it, from input `first` on.
Status CheckLstm(const ShapeContext& ctx, int first, int64_t batch, int64_t input, int64_t cell) {
  const Shape state({batch, cell});
  const struct {
    const char* name;
    Shape shape;
  } kExpected[] = {
      {"cs_prev", state},
      {"h_prev", state},
      {"w", Shape({input == -1 || cell == -1 ? -1 : input + cell, cell == -1 ? -1 : 4 * cell})},
      {"wci", Shape({cell})},
      {"wcf", Shape({cell})},
      {"wco", Shape({cell})},
      {"b", Shape({cell == -1 ? -1 : 4 * cell})}};
  for (int i = 0; i < 7; ++i) {
    const Shape& found = ctx.input(first + i);
    // Peephole weights are not looked at unless they are used.
    if (i >= 3 && i <= 5 && !ctx.attrs().Bool("use_peephole")) continue;
    SM_CHECK_ARG(found.CompatibleWith(kExpected[i].shape), kExpected[i].name, " has shape ", found,
                 ", expected ", kExpected[i].shape);
  }
  return Status();
}

// Sizes for an LSTM whose x has rank `rank` and is input `x`.
Status LstmShape(ShapeContext& ctx, int x, int rank) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(x, rank));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(x + 1, 2));
  const Shape &in = ctx.input(x), &state = ctx.input(x + 1);
  if (!in.known_rank() || !state.known_rank()) return Status();
  const int64_t batch = in[rank - 2], cell = state[1];
  SM_CHECK_ARG(cell < (int64_t{1} << 40) && in[rank - 1] < (int64_t{1} << 40),
               "the cell is too large");
  SM_RETURN_IF_ERROR(CheckLstm(ctx, x + 1, batch, in[rank - 1], cell));
  const Shape out = rank == 2 ? Shape({batch, cell}) : Shape({in[0], batch, cell});
  for (int i = 0; i < 7; ++i) ctx.set_output(i, out);
  return Status();
}

Status CellShape(ShapeContext& ctx) { return LstmShape(ctx, 0, 2); }

Status BlockShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 0));
  return LstmShape(ctx, 1, 3);
}

// The node's tensors as floats: half ones are widened, and outputs narrowed again by `Finish`.
class FloatTensors {
 public:
  static StatusOr<FloatTensors> Make(OpContext& ctx, int first_input) {
    FloatTensors t;
    const bool narrow = ctx.output_dtype(0) == DType::kHalf;
    for (int i = first_input; i < ctx.num_inputs(); ++i) {
      t.inputs_.push_back(ctx.input(i));
      if (narrow) {
        SM_ASSIGN_OR_RETURN(t.inputs_.back(), WidenToFloat(ctx, ctx.input(i)));
      }
    }
    for (int i = 0; i < ctx.num_outputs(); ++i) {
      t.outputs_.push_back(ctx.output(i));
      if (narrow) {
        SM_ASSIGN_OR_RETURN(t.outputs_.back(),
                            ctx.AllocateTemp(DType::kFloat, ctx.output(i).shape()));
      }
    }
    t.narrow_ = narrow;
    return t;
  }
  const float* in(int i) const { return inputs_[i].data<float>(); }
  float* out(int i) { return static_cast<float*>(outputs_[i].raw_mutable_data()); }
  void Finish(OpContext& ctx) const {
    if (!narrow_) return;
    for (int i = 0; i < ctx.num_outputs(); ++i) {
      NarrowFromFloat(ctx, outputs_[i].data<float>(), &ctx.output(i));
    }
  }

 private:
  std::vector<Tensor> inputs_, outputs_;
  bool narrow_ = false;
};

LstmStep FirstStep(FloatTensors& t, int64_t batch, int64_t input, int64_t cell) {
  return {.batch = batch,
          .input = input,
          .cell = cell,
          .x = t.in(0),
          .cs_prev = t.in(1),
          .h_prev = t.in(2),
          .w = t.in(3),
          .wci = t.in(4),
          .wcf = t.in(5),
          .wco = t.in(6),
          .b = t.in(7),
          .i = t.out(0),
          .cs = t.out(1),
          .f = t.out(2),
          .o = t.out(3),
          .ci = t.out(4),
          .co = t.out(5),
          .h = t.out(6)};
}

StatusOr<KernelPtr> BuildCell(BuildContext& build) {
  const LstmAttrs attrs = ReadLstmAttrs(build.attrs());
  return MakeKernel([attrs](OpContext& ctx) -> Status {
    const Shape& x = ctx.input(0).shape();
    const int64_t cell = ctx.input(1).shape()[1];
    if (ctx.output(0).num_elements() == 0) return Status();
    SM_ASSIGN_OR_RETURN(FloatTensors t, FloatTensors::Make(ctx, 0));
    SM_ASSIGN_OR_RETURN(LstmScratch scratch, AllocateScratch(ctx, x[0], x[1] + cell, 4 * cell));
    SM_RETURN_IF_ERROR(RunLstmStep(ctx, attrs, FirstStep(t, x[0], x[1], cell), &scratch));
    t.Finish(ctx);
    return Status();
  });
}

Status RunBlock(OpContext& ctx, const LstmAttrs& attrs) {
  const Shape& x = ctx.input(1).shape();
  const int64_t steps = x[0], batch = x[1], cell = ctx.input(2).shape()[1];
  const int64_t length = ctx.IntInput(0);
  SM_CHECK_ARG(length >= 0 && length <= steps, "seq_len_max is ", length, ", expected 0 to ",
               steps);
  if (ctx.output(0).num_elements() == 0) return Status();
  SM_ASSIGN_OR_RETURN(FloatTensors t, FloatTensors::Make(ctx, 1));
  SM_ASSIGN_OR_RETURN(LstmScratch scratch, AllocateScratch(ctx, batch, x[2] + cell, 4 * cell));
  LstmStep s = FirstStep(t, batch, x[2], cell);
  const int64_t state = batch * cell;
  for (int64_t step = 0; step < length; ++step) {
    SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
    SM_RETURN_IF_ERROR(RunLstmStep(ctx, attrs, s, &scratch));
    s.x += batch * x[2];
    s.cs_prev = s.cs;
    s.h_prev = s.h;
    for (float** p : {&s.i, &s.cs, &s.f, &s.o, &s.ci, &s.co, &s.h}) *p += state;
  }
  for (float* p : {s.i, s.cs, s.f, s.o, s.ci, s.co, s.h}) {
    std::fill_n(p, (steps - length) * state, 0.0f);
  }
  t.Finish(ctx);
  return Status();
}

StatusOr<KernelPtr> BuildBlock(BuildContext& build) {
  const LstmAttrs attrs = ReadLstmAttrs(build.attrs());
  return MakeKernel([attrs](OpContext& ctx) { return RunBlock(ctx, attrs); });
}

Status GruShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 2));
  const Shape &x = ctx.input(0), &h = ctx.input(1);
  if (!x.fully_known() || !h.fully_known()) return Status();
  const int64_t batch = x[0], input = x[1], cell = h[1];
  SM_CHECK_ARG(cell < (int64_t{1} << 40), "the cell is too large");
  const Shape expected[] = {Shape({batch, cell}), Shape({input + cell, 2 * cell}),
                            Shape({input + cell, cell}), Shape({2 * cell}), Shape({cell})};
  for (int i = 0; i < 5; ++i) {
    SM_CHECK_ARG(ctx.input(i + 1).CompatibleWith(expected[i]), "input ", i + 1, " has shape ",
                 ctx.input(i + 1), ", expected ", expected[i]);
  }
  for (int i = 0; i < 4; ++i) ctx.set_output(i, expected[0]);
  return Status();
}

Status RunGru(OpContext& ctx) {
  const int64_t batch = ctx.input(0).shape()[0], input = ctx.input(0).shape()[1],
                cell = ctx.input(1).shape()[1], n = batch * cell;
  if (n == 0) return Status();
  const float *x = ctx.in<float>(0), *previous = ctx.in<float>(1);
  float *r = ctx.out<float>(0), *u = ctx.out<float>(1), *c = ctx.out<float>(2),
        *h = ctx.out<float>(3);
  SM_ASSIGN_OR_RETURN(LstmScratch scratch, AllocateScratch(ctx, batch, input + cell, 2 * cell));
  float* joined = static_cast<float*>(scratch.joined.raw_mutable_data());
  float* gates = static_cast<float*>(scratch.gates.raw_mutable_data());
  const auto multiply = [&](int w, int b, int64_t columns, float* to) {
    Epilogue bias;
    bias.bias = ctx.in<float>(b);
    return MultiplyMatrices(ctx, ProductOf<float>{.m = batch,
                                                  .n = columns,
                                                  .k = input + cell,
                                                  .a = joined,
                                                  .b = ctx.in<float>(w),
                                                  .c = to,
                                                  .epilogue = &bias,
                                                  .pairs = {{0, 0}}});
  };
  JoinRows(batch, x, input, previous, cell, joined);
  SM_RETURN_IF_ERROR(multiply(2, 4, 2 * cell, gates));
  Sigmoid(gates, 2 * n);
  for (int64_t row = 0; row < batch; ++row) {
    std::copy_n(gates + row * 2 * cell, cell, r + row * cell);
    std::copy_n(gates + row * 2 * cell + cell, cell, u + row * cell);
  }
  for (int64_t j = 0; j < n; ++j) h[j] = previous[j] * r[j];
  JoinRows(batch, x, input, h, cell, joined);
  SM_RETURN_IF_ERROR(multiply(3, 5, cell, c));
  Tanh(c, c, n);
  for (int64_t j = 0; j < n; ++j) h[j] = u[j] * (previous[j] - c[j]) + c[j];
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "BlockLSTM(seq_len_max: int64, x: T, cs_prev: T, h_prev: T, w: T, wci: T, "
                  "wcf: T, wco: T, b: T) -> (i: T, cs: T, f: T, o: T, ci: T, co: T, h: T); "
                  "forget_bias: float = 1.0; cell_clip: float = 3.0; use_peephole: bool = false; "
                  "T: {half,float}",
     .shape = BlockShape,
     .build = BuildBlock,
     .is_long = true},
    {.signature = "BlockLSTMV2(seq_len_max: int64, x: T, cs_prev: T, h_prev: T, w: T, wci: T, "
                  "wcf: T, wco: T, b: T) -> (i: T, cs: T, f: T, o: T, ci: T, co: T, h: T); "
                  "cell_clip: float = 0.0; use_peephole: bool = false; T: {half,float}",
     .shape = BlockShape,
     .build = BuildBlock,
     .is_long = true},
    {.signature = "GRUBlockCell(x: T, h_prev: T, w_ru: T, w_c: T, b_ru: T, b_c: T) -> (r: T, "
                  "u: T, c: T, h: T); T: {float}",
     .shape = GruShape,
     .build = BuildPlain<RunGru>},
    {.signature = "LSTMBlockCell(x: T, cs_prev: T, h_prev: T, w: T, wci: T, wcf: T, wco: T, "
                  "b: T) -> (i: T, cs: T, f: T, o: T, ci: T, co: T, h: T); "
                  "forget_bias: float = 1.0; cell_clip: float = 3.0; use_peephole: bool = false; "
                  "T: {half,float}",
     .shape = CellShape,
     .build = BuildCell},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> RnnOps() { return kOps; }

}  // namespace savedmodel
