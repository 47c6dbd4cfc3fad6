// Products of 8 bit values that stand for floats: matrix product, convolution, elementwise.
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/broadcast.h"
#include "src/kernels/nn/layers.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/quantized.h"
#include "src/kernels/nn/spatial.h"

namespace savedmodel {
namespace {

// The integer that stands for zero. Products leave it out, in arithmetic that wraps.
uint32_t ZeroPoint(QuantizedRange range) {
  return static_cast<uint32_t>(FloatToQuantizedUnclamped<uint8_t>(0.0f, range));
}

// What the kernels below share: the ranges of two factors (inputs 2 to 5), and that of the
// product, which is set.
struct Factors {
  uint32_t zero_a = 0, zero_b = 0;
};
StatusOr<Factors> ReadFactors(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const QuantizedRange a, RangeInput(ctx, 2));
  SM_ASSIGN_OR_RETURN(const QuantizedRange b, RangeInput(ctx, 4));
  SetRangeOutput(ctx, ProductRange<uint8_t, uint8_t>(a, b));
  return Factors{ZeroPoint(a), ZeroPoint(b)};
}

Status CheckNotEmpty(const OpContext& ctx) {
  for (int i = 2; i <= 4; i += 2) {
    SM_ASSIGN_OR_RETURN(const QuantizedRange range, RangeInput(ctx, i));
    SM_CHECK_ARG(range.min < range.max, "found a range from ", range.min, " to ", range.max);
  }
  return Status();
}

// y[j] += x * (row[j] - zero)
void AddScaledRow(uint32_t x, const uint8_t* row, uint32_t zero, int64_t n, uint32_t* y) {
  for (int64_t j = 0; j < n; ++j) y[j] += x * (row[j] - zero);
}

Status MatMulQuantizedShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(MatMulShape(ctx));
  ctx.set_output(1, Shape());
  ctx.set_output(2, Shape());
  return Status();
}

Status RunMatMul(OpContext& ctx, bool transpose_a, bool transpose_b) {
  SM_RETURN_IF_ERROR(CheckNotEmpty(ctx));
  SM_ASSIGN_OR_RETURN(const Factors f, ReadFactors(ctx));
  const Shape &sa = ctx.input(0).shape(), &sb = ctx.input(1).shape();
  const int64_t depth = sa[transpose_a ? 0 : 1];
  const int64_t m = sa[transpose_a ? 1 : 0], n = sb[transpose_b ? 0 : 1];
  const uint8_t* a = ctx.in<uint8_t>(0);
  const uint8_t* b = ctx.in<uint8_t>(1);
  uint32_t* y = reinterpret_cast<uint32_t*>(ctx.out<int32_t>(0));
  ctx.ParallelFor(m, 0.3 * static_cast<double>(depth) * static_cast<double>(n),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t i = begin; i < end; ++i) {
                      uint32_t* row = y + i * n;
                      std::fill_n(row, n, 0u);
                      for (int64_t k = 0; k < depth; ++k) {
                        const uint32_t x = a[transpose_a ? k * m + i : i * depth + k] - f.zero_a;
                        if (!transpose_b) {
                          AddScaledRow(x, b + k * n, f.zero_b, n, row);
                        } else {
                          for (int64_t j = 0; j < n; ++j)
                            row[j] += x * (b[j * depth + k] - f.zero_b);
                        }
                      }
                    }
                  });
  return Status();
}

StatusOr<KernelPtr> BuildMatMul(BuildContext& build) {
  const bool a = build.attrs().Bool("transpose_a"), b = build.attrs().Bool("transpose_b");
  return MakeKernel([a, b](OpContext& ctx) { return RunMatMul(ctx, a, b); });
}

// ----------------------------------------------------------------------------------- convolution

StatusOr<WindowAttrs> ReadConvAttrs(const Attrs& list) {
  SM_ASSIGN_OR_RETURN(WindowAttrs attrs, ReadWindowAttrs(list, 2));
  SM_CHECK_ARG((attrs.dilation == std::array<int64_t, 3>{1, 1, 1}),
               "a quantised convolution cannot be dilated");
  return attrs;
}

Status Conv2DShape(ShapeContext& ctx) {
  if (ctx.input_dtype(1) == DType::kQInt8) return QuantizedConv2DShape(ctx);
  SM_ASSIGN_OR_RETURN(WindowAttrs attrs, ReadConvAttrs(ctx.attrs()));
  ctx.set_output(1, Shape());
  ctx.set_output(2, Shape());
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 4));
  const Shape &in = ctx.input(0), &filter = ctx.input(1);
  if (!filter.fully_known()) {
    ctx.set_output(0, Shape::UnknownOfRank(4));
    return Status();
  }
  SM_CHECK_ARG(!in.known_rank() || in[3] < 0 || in[3] == filter[2], "input ", in, " has ", in[3],
               " channels, filter ", filter, " takes ", filter[2]);
  attrs.window = {1, filter[0], filter[1]};
  SM_ASSIGN_OR_RETURN(Shape out, WindowOutputShape(attrs, in, filter[3]));
  ctx.set_output(0, std::move(out));
  return Status();
}

// One output pixel: `y` gets the sums over the window whose first tap is at (top, left).
void ConvPixel(const WindowGeometry& g, const Factors& f, const uint8_t* image,
               const uint8_t* filter, int64_t top, int64_t left, int64_t channels, uint32_t* y) {
  std::fill_n(y, channels, 0u);
  const TapRange rows = TapsInside(top, g.window[1], 1, g.in[1]);
  const TapRange columns = TapsInside(left, g.window[2], 1, g.in[2]);
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    for (int64_t c = columns.begin; c < columns.end; ++c) {
      const uint8_t* x = image + ((top + r) * g.in[2] + left + c) * g.channels;
      const uint8_t* taps = filter + (r * g.window[2] + c) * g.channels * channels;
      for (int64_t k = 0; k < g.channels; ++k) {
        AddScaledRow(x[k] - f.zero_a, taps + k * channels, f.zero_b, channels, y);
      }
    }
  }
}

Status RunConv2D(OpContext& ctx, WindowAttrs attrs) {
  SM_ASSIGN_OR_RETURN(const Factors f, ReadFactors(ctx));
  if (ctx.output(0).num_elements() == 0) return Status();
  const Shape& filter = ctx.input(1).shape();
  attrs.window = {1, filter[0], filter[1]};
  SM_ASSIGN_OR_RETURN(const WindowGeometry g, ResolveWindow(attrs, ctx.input(0).shape()));
  const int64_t channels = filter[3];
  const uint8_t* x = ctx.in<uint8_t>(0);
  uint32_t* y = reinterpret_cast<uint32_t*>(ctx.out<int32_t>(0));
  const double cost = 0.3 * static_cast<double>(filter.num_elements()) * g.out[2];
  ctx.ParallelFor(g.batch * g.out[1], cost, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const uint8_t* image = x + row / g.out[1] * g.in_pixels() * g.channels;
      const int64_t top = row % g.out[1] * g.stride[1] - g.before[1];
      for (int64_t column = 0; column < g.out[2]; ++column) {
        ConvPixel(g, f, image, ctx.in<uint8_t>(1), top, column * g.stride[2] - g.before[2],
                  channels, y + (row * g.out[2] + column) * channels);
      }
    }
  });
  return Status();
}

StatusOr<KernelPtr> BuildConv2D(BuildContext& build) {
  if (build.input_dtype(1) == DType::kQInt8) return BuildQuantizedConv2D(build);
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadConvAttrs(build.attrs()));
  return MakeKernel([attrs](OpContext& ctx) { return RunConv2D(ctx, attrs); });
}

// ----------------------------------------------------------------------------------- elementwise

Status BroadcastWithRange(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(shape::Broadcast(ctx));
  ctx.set_output(1, Shape());
  ctx.set_output(2, Shape());
  return Status();
}

// Calls fn(x, y), from 8 bit to 32 bit integers, for all elements.
template <class F>
void ForEachPair(OpContext& ctx, F&& fn) {
  const Shape* shapes[] = {&ctx.input(0).shape(), &ctx.input(1).shape()};
  const BroadcastPlan plan = PlanBroadcast(shapes, ctx.output(0).shape());
  const uint8_t* x = ctx.in<uint8_t>(0);
  const uint8_t* y = ctx.in<uint8_t>(1);
  int32_t* z = ctx.out<int32_t>(0);
  ctx.ParallelFor(ctx.output(0).num_elements(), 3, [&](int64_t begin, int64_t end) {
    ForEachRun(plan, begin, end, [&](int64_t to, const auto& from, int64_t n) {
      for (int64_t i = 0; i < n; ++i) {
        z[to + i] = fn(x[from[0] + i * plan.inner.step[0]], y[from[1] + i * plan.inner.step[1]]);
      }
    });
  });
}

Status RunMul(OpContext& ctx) {
  SM_RETURN_IF_ERROR(CheckNotEmpty(ctx));
  SM_ASSIGN_OR_RETURN(const Factors f, ReadFactors(ctx));
  ForEachPair(ctx, [&](uint8_t x, uint8_t y) {
    return static_cast<int32_t>((x - f.zero_a) * (y - f.zero_b));
  });
  return Status();
}

// Bytes in one range as integers in another, in which the steps from each to the next are equal. A
// single value is placed exactly.
class Summand {
 public:
  Summand(const Tensor& values, QuantizedRange from, QuantizedRange to)
      : zero_(Place(0, from, to)), step_(static_cast<int32_t>(Place(1, from, to) - zero_)) {
    if (values.num_elements() != 1) return;
    zero_ = RequantizeOne<uint8_t, int32_t>(values.data<uint8_t>()[0], from, to);
    step_ = 0;
  }
  int32_t operator()(uint8_t x) const {
    return static_cast<int32_t>(std::clamp<int64_t>(zero_ + int64_t{x} * step_,
                                                    std::numeric_limits<int32_t>::lowest(),
                                                    std::numeric_limits<int32_t>::max()));
  }

 private:
  static int64_t Place(uint8_t x, QuantizedRange from, QuantizedRange to) {
    constexpr int64_t kFar = int64_t{1} << 60;
    return std::clamp(FloatToQuantizedUnclamped<int32_t>(QuantizedToFloat(x, from), to), -kFar,
                      kFar);
  }
  int64_t zero_;
  int32_t step_;
};

Status RunAdd(OpContext& ctx) {
  SM_RETURN_IF_ERROR(CheckNotEmpty(ctx));
  SM_ASSIGN_OR_RETURN(const QuantizedRange a, RangeInput(ctx, 2));
  SM_ASSIGN_OR_RETURN(const QuantizedRange b, RangeInput(ctx, 4));
  const QuantizedRange sum = SumRange(a, b, 14);
  SetRangeOutput(ctx, sum);
  const Summand x_in_sum(ctx.input(0), a, sum), y_in_sum(ctx.input(1), b, sum);
  ForEachPair(ctx, [&](uint8_t x, uint8_t y) { return WrapAdd(x_in_sum(x), y_in_sum(y)); });
  return Status();
}

#define SM_QUANTIZED "{qint8,quint8,qint32,qint16,quint16}"

constexpr OpDef kOps[] = {
    {.signature = "QuantizedAdd(x: T1, y: T2, min_x: float, max_x: float, min_y: float, "
                  "max_y: float) -> (z: Toutput, min_z: float, max_z: float); T1: {quint8}; "
                  "T2: {quint8}; Toutput: {qint32} = qint32",
     .shape = BroadcastWithRange,
     .build = BuildPlain<RunAdd>},
    {.signature =
         "QuantizedConv2D(input: Tinput, filter: Tfilter, min_input: float, "
         "max_input: float, min_filter: float, max_filter: float) -> (output: out_type, "
         "min_output: float, max_output: float); Tinput: {quint8}; Tfilter: {quint8,qint8}; "
         "out_type: {qint32} = qint32; strides: list(int); padding: {'SAME','VALID'}; "
         "dilations: list(int) = [1, 1, 1, 1]",
     .shape = Conv2DShape,
     .build = BuildConv2D},
    {.signature = "QuantizedMatMul(a: T1, b: T2, min_a: float, max_a: float, min_b: float, "
                  "max_b: float) -> (out: Toutput, min_out: float, max_out: float); "
                  "T1: {quint8}; T2: {quint8}; Toutput: {qint32} = qint32; "
                  "transpose_a: bool = false; transpose_b: bool = false; "
                  "Tactivation: " SM_QUANTIZED " = quint8",
     .shape = MatMulQuantizedShape,
     .build = BuildMatMul},
    {.signature = "QuantizedMul(x: T1, y: T2, min_x: float, max_x: float, min_y: float, "
                  "max_y: float) -> (z: Toutput, min_z: float, max_z: float); T1: {quint8}; "
                  "T2: {quint8}; Toutput: {qint32} = qint32",
     .shape = BroadcastWithRange,
     .build = BuildPlain<RunMul>},
};
#undef SM_QUANTIZED
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> QuantizedProductOps() { return kOps; }

}  // namespace savedmodel
