// Convolutions and matrix products of 8 bit values with what follows them fused, as Intel's tools
// write them into graphs: bias, sum, Relu, requantisation. Ranges are taken as symmetric: zero
// stands for zero. The arithmetic behind the products is that of oneDNN: scale to floats, add, and
// divide by the scale of the output.
#include <algorithm>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/layers.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/quantized.h"
#include "src/kernels/nn/spatial.h"

namespace savedmodel {
namespace {

// What an op is made of, as flags.
enum Parts : unsigned {
  kPlain = 0,
  kDepthwise = 1,
  kMatMul = 2,
  kBias = 4,
  kSum = 8,
  kRelu = 16,
  kRequantize = 32,  // or to floats, where the output is of floats
};

// Positions of inputs.
struct Inputs {
  explicit Inputs(unsigned parts) : range((parts & kBias) != 0 ? 3 : 2) {
    summand = range + ((parts & kRequantize) != 0 ? 6 : 4);
  }
  int range;  // input's minimum and maximum, the filter's, then the output's where it is given
  int summand;
};

StatusOr<WindowAttrs> ReadWindow(const Attrs& list) {
  SM_ASSIGN_OR_RETURN(WindowAttrs attrs, ReadWindowAttrs(list, 2));
  const std::vector<int64_t>& paddings = list.Ints("padding_list");
  if (std::any_of(paddings.begin(), paddings.end(), [](int64_t p) { return p != 0; })) {
    attrs.padding = "EXPLICIT";
    SM_RETURN_IF_ERROR(SetExplicitPaddings(paddings, &attrs));
  }
  return attrs;
}

// The matrix product of `a` and `b` is a convolution of images of one pixel.
StatusOr<WindowGeometry> ProductGeometry(const Shape& a, const Shape& b) {
  SM_CHECK_ARG(a.rank() == 2 && b.rank() == 2 && a[1] == b[0], "a has shape ", a, ", b ", b,
               ", expected matrices that can be multiplied");
  WindowGeometry g;
  g.batch = a[0];
  g.channels = a[1];
  return g;
}

Status CheckFilter(const Shape& in, const Shape& filter) {
  SM_CHECK_ARG(in[3] < 0 || in[3] == filter[2], "input ", in, " has ", in[3], " channels, filter ",
               filter, " takes ", filter[2]);
  SM_CHECK_ARG(filter.num_elements() > 0, "the filter must not be empty, found ", filter);
  return Status();
}

int64_t OutChannels(unsigned parts, const Shape& filter) {
  return (parts & kDepthwise) != 0 ? filter[2] * filter[3] : filter[filter.rank() - 1];
}

Status ShapeOf(ShapeContext& ctx, unsigned parts) {
  const Shape &in = ctx.input(0), &filter = ctx.input(1);
  if (ctx.num_outputs() > 1) {
    const bool each = (parts & kRequantize) == 0;
    const Shape range = each ? ctx.input(Inputs(parts).range + 2) : Shape();
    ctx.set_output(1, range);
    ctx.set_output(2, range);
  }
  if ((parts & kMatMul) != 0) return MatMulShape(ctx);
  SM_ASSIGN_OR_RETURN(WindowAttrs attrs, ReadWindow(ctx.attrs()));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 4));
  if (!filter.fully_known() || !in.known_rank()) {
    ctx.set_output(0, Shape::UnknownOfRank(4));
    return Status();
  }
  SM_RETURN_IF_ERROR(CheckFilter(in, filter));
  attrs.window = {1, filter[0], filter[1]};
  SM_ASSIGN_OR_RETURN(Shape out, WindowOutputShape(attrs, in, OutChannels(parts, filter)));
  ctx.set_output(0, std::move(out));
  return Status();
}

// ------------------------------------------------------------------------------------ computation

// sums[j] += x * row[j]; products of 8 bits fit 16.
void AddScaledRow(int16_t x, const int8_t* row, int64_t n, uint32_t* sums) {
  for (int64_t j = 0; j < n; ++j)
    sums[j] += static_cast<uint32_t>(static_cast<int16_t>(x * row[j]));
}

// One output pixel of a filter [height, width, in, out] or [height, width, channels, multiplier].
void ConvPixel(const WindowGeometry& g, bool depthwise, bool is_signed, const uint8_t* image,
               const int8_t* filter, int64_t top, int64_t left, int64_t channels, uint32_t* sums) {
  std::fill_n(sums, channels, 0u);
  const TapRange rows = TapsInside(top, g.window[1], g.dilation[1], g.in[1]);
  const TapRange columns = TapsInside(left, g.window[2], g.dilation[2], g.in[2]);
  const int64_t row = depthwise ? channels / g.channels : channels;
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    for (int64_t c = columns.begin; c < columns.end; ++c) {
      const int64_t y = top + r * g.dilation[1], x = left + c * g.dilation[2];
      const uint8_t* pixel = image + (y * g.in[2] + x) * g.channels;
      const int8_t* taps = filter + (r * g.window[2] + c) * g.channels * row;
      for (int64_t k = 0; k < g.channels; ++k) {
        const int16_t value = is_signed ? static_cast<int8_t>(pixel[k]) : pixel[k];
        AddScaledRow(value, taps + k * row, row, sums + (depthwise ? k * row : 0));
      }
    }
  }
}

// How sums become outputs.
struct Output {
  std::vector<float> factor, bias;  // of each channel; `bias` may be empty
  const void* summand = nullptr;
  DType summand_type = DType::kInvalid;
  float summand_scale = 1.0f;
  bool relu = false;
  float inverse = 1.0f;  // of the output's scale
  float low = 0, high = 0;

  float Summand(int64_t i) const {
    if (summand_type == DType::kFloat) return static_cast<const float*>(summand)[i];
    const float steps = summand_type == DType::kQUInt8 ? static_cast<const uint8_t*>(summand)[i]
                                                       : static_cast<const int8_t*>(summand)[i];
    return summand_scale * steps;
  }
  float Float(int64_t i, int64_t channel, uint32_t sum) const {
    float value = static_cast<float>(static_cast<int32_t>(sum)) * factor[channel];
    if (!bias.empty()) value += bias[channel];
    if (summand != nullptr) value += Summand(i);
    return relu ? std::max(value, 0.0f) : value;
  }
  int32_t Integer(int64_t i, int64_t channel, uint32_t sum) const {
    const float steps = std::nearbyint(Float(i, channel, sum) * inverse);
    return static_cast<int32_t>(steps >= low ? std::min(steps, high) : low);
  }
};

float Larger(float a, float b) { return std::max(std::fabs(a), std::fabs(b)); }

StatusOr<float> SymmetricRange(const OpContext& ctx, int i) {
  SM_ASSIGN_OR_RETURN(const QuantizedRange range, RangeInput(ctx, i));
  return Larger(range.min, range.max);
}

// Scales of input and filter, and ranges of an output of 32 bits.
Status SetScales(OpContext& ctx, unsigned parts, bool min_first, int64_t channels, Output* out) {
  const int range = Inputs(parts).range;
  SM_ASSIGN_OR_RETURN(const QuantizedRange in, RangeInput(ctx, range));
  const Tensor &lows = ctx.input(range + 2), &highs = ctx.input(range + 3);
  const int64_t n = lows.num_elements();
  SM_CHECK_ARG(lows.shape() == highs.shape() && (n == 1 || n == channels),
               "ranges of the filter have shapes ", lows.shape(), " and ", highs.shape(),
               ", expected one range for all or each of the ", channels, " channels");
  const float *low = lows.data<float>(), *high = highs.data<float>();
  const bool is_unsigned = ctx.input(0).dtype() == DType::kQUInt8;
  const float levels = is_unsigned ? 255.0f : 127.0f;
  const float in_range = min_first ? in.max - in.min : Larger(in.min, in.max);
  const float in_scale = in_range / levels;
  const DType bias_type = (parts & kBias) != 0 ? ctx.input(2).dtype() : DType::kInvalid;
  out->factor.resize(channels);
  if ((parts & kBias) != 0) {
    SM_CHECK_ARG(ctx.input(2).num_elements() == channels, "bias has shape ", ctx.input(2).shape(),
                 ", expected ", channels, " values");
    out->bias.resize(channels);
  }
  for (int64_t c = 0; c < channels; ++c) {
    const int64_t k = n == 1 ? 0 : c;
    const float filter_range = Larger(low[k], high[k]);
    out->factor[c] = in_scale * static_cast<float>(filter_range / 127.0);
    if (bias_type == DType::kFloat) out->bias[c] = ctx.in<float>(2)[c];
    if (bias_type == DType::kQInt32) {
      out->bias[c] =
          static_cast<float>(ctx.in<int32_t>(2)[c]) / (levels * 127.0f / (in_range * filter_range));
    }
  }
  if ((parts & kRequantize) != 0) return Status();
  const float widest = Larger(*std::min_element(low, low + n), *std::max_element(high, high + n));
  out->inverse = 1.0f / (static_cast<float>(widest / 127.0) * in_scale);
  out->low = -2147483648.0f;
  out->high = 2147483520.0f;  // the highest float that is an int32
  for (int64_t k = 0; k < n; ++k) {
    const float step =
        (in.max - in.min) / (is_unsigned ? 255.0f : 254.0f) * ((high[k] - low[k]) / 254.0f);
    ctx.out<float>(1)[k] = step * -2147483648.0f;
    ctx.out<float>(2)[k] = step * 2147483648.0f;
  }
  return Status();
}

// The scale of an output of 8 bits, and its range.
Status SetRequantization(OpContext& ctx, unsigned parts, Output* out) {
  const DType dtype = ctx.output_dtype(0);
  const int range = Inputs(parts).range + 4;
  SM_ASSIGN_OR_RETURN(const QuantizedRange given, RangeInput(ctx, range));
  if (dtype == DType::kFloat) return Status();
  const bool is_unsigned = dtype == DType::kQUInt8;
  out->inverse = 1.0f / (Larger(given.min, given.max) / (is_unsigned ? 255.0f : 127.0f));
  // With a signed summand, an unsigned output is made as a signed one.
  const bool is_signed = !is_unsigned || out->summand_type == DType::kQInt8;
  out->low = is_signed ? -128.0f : 0.0f;
  out->high = is_signed ? 127.0f : 255.0f;
  SetRangeOutput(ctx, given);
  return Status();
}

Status SetSummand(OpContext& ctx, unsigned parts, Output* out) {
  const int i = Inputs(parts).summand;
  const Tensor& summand = ctx.input(i);
  SM_CHECK_ARG(summand.shape() == ctx.output(0).shape(), "summand has shape ", summand.shape(),
               ", the result ", ctx.output(0).shape());
  out->summand = summand.raw_data();
  out->summand_type = summand.dtype();
  if (summand.dtype() == DType::kFloat) return Status();
  SM_ASSIGN_OR_RETURN(const float range, SymmetricRange(ctx, i + 1));
  out->summand_scale = range / (summand.dtype() == DType::kQUInt8 ? 255.0f : 127.0f);
  return Status();
}

void Compute(OpContext& ctx, unsigned parts, const WindowGeometry& g, int64_t channels,
             const Output& out) {
  const uint8_t* x = static_cast<const uint8_t*>(ctx.input(0).raw_data());
  const bool is_signed = ctx.input(0).dtype() == DType::kQInt8;
  const int8_t* filter = ctx.in<int8_t>(1);
  const DType dtype = ctx.output_dtype(0);
  void* y = ctx.output(0).raw_mutable_data();
  const double cost = 0.3 * static_cast<double>(ctx.input(1).num_elements());
  ctx.ParallelFor(g.batch * g.out_pixels(), cost, [&](int64_t begin, int64_t end) {
    std::vector<uint32_t> sums(channels);
    for (int64_t pixel = begin; pixel < end; ++pixel) {
      const int64_t row = pixel / g.out[2], column = pixel % g.out[2];
      ConvPixel(g, (parts & kDepthwise) != 0, is_signed,
                x + row / g.out[1] * g.in_pixels() * g.channels, filter,
                row % g.out[1] * g.stride[1] - g.before[1], column * g.stride[2] - g.before[2],
                channels, sums.data());
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t i = pixel * channels + c;
        if (dtype == DType::kFloat) {
          static_cast<float*>(y)[i] = out.Float(i, c, sums[c]);
        } else if (dtype == DType::kQInt32) {
          static_cast<int32_t*>(y)[i] = out.Integer(i, c, sums[c]);
        } else {
          static_cast<uint8_t*>(y)[i] = static_cast<uint8_t>(out.Integer(i, c, sums[c]));
        }
      }
    }
  });
}

Status RunFused(OpContext& ctx, unsigned parts, WindowAttrs attrs, bool min_first) {
  const Shape &in = ctx.input(0).shape(), &filter = ctx.input(1).shape();
  WindowGeometry g;
  if ((parts & kMatMul) != 0) {
    SM_ASSIGN_OR_RETURN(g, ProductGeometry(in, filter));
  } else {
    SM_RETURN_IF_ERROR(CheckFilter(in, filter));
    attrs.window = {1, filter[0], filter[1]};
    SM_ASSIGN_OR_RETURN(g, ResolveWindow(attrs, in));
  }
  const int64_t channels = OutChannels(parts, filter);
  Output out;
  out.relu = (parts & kRelu) != 0;
  SM_RETURN_IF_ERROR(SetScales(ctx, parts, min_first, channels, &out));
  if ((parts & kSum) != 0) SM_RETURN_IF_ERROR(SetSummand(ctx, parts, &out));
  if ((parts & kRequantize) != 0) SM_RETURN_IF_ERROR(SetRequantization(ctx, parts, &out));
  if (ctx.output(0).num_elements() == 0) return Status();
  if (min_first && ctx.input(2).dtype() == DType::kFloat) {
    // The input's lowest integer stands for its minimum, which the bias makes up for.
    const float minimum =
        ctx.in<float>(Inputs(parts).range)[0] * 255.0f /
        (ctx.in<float>(Inputs(parts).range + 1)[0] - ctx.in<float>(Inputs(parts).range)[0]);
    for (int64_t k = 0; k < filter[0]; ++k) {
      for (int64_t c = 0; c < channels; ++c) {
        out.bias[c] += minimum * out.factor[c] * ctx.in<int8_t>(1)[k * channels + c];
      }
    }
  }
  Compute(ctx, parts, g, channels, out);
  return Status();
}

StatusOr<KernelPtr> Build(BuildContext& build, unsigned parts) {
  WindowAttrs attrs;
  if ((parts & kMatMul) == 0) {
    SM_ASSIGN_OR_RETURN(attrs, ReadWindow(build.attrs()));
  } else if (build.attrs().Bool("transpose_a") || build.attrs().Bool("transpose_b")) {
    return Unimplemented(build.op_name(), " of transposed matrices");
  }
  const bool min_first =
      (parts & kMatMul) != 0 && build.attrs().String("input_quant_mode") == "MIN_FIRST";
  return MakeKernel(
      [parts, attrs, min_first](OpContext& ctx) { return RunFused(ctx, parts, attrs, min_first); });
}

template <unsigned parts>
Status FusedShape(ShapeContext& ctx) {
  return ShapeOf(ctx, parts);
}
template <unsigned parts>
StatusOr<KernelPtr> BuildFused(BuildContext& build) {
  return Build(build, parts);
}

}  // namespace

Status QuantizedConv2DShape(ShapeContext& ctx) { return ShapeOf(ctx, kPlain); }
StatusOr<KernelPtr> BuildQuantizedConv2D(BuildContext& build) { return Build(build, kPlain); }

namespace {

#define SM_Q "{qint8,quint8}"
#define SM_RANGES "min_input: float, max_input: float, min_filter: float, max_filter: float"
#define SM_GIVEN ", min_freezed_output: float, max_freezed_output: float"
#define SM_OUT                                                                   \
  ") -> (output: out_type, min_output: float, max_output: float); Tinput: " SM_Q \
  "; "                                                                           \
  "Tfilter: {qint8}; strides: list(int); padding: {'SAME','VALID'}; "            \
  "dilations: list(int) = [1, 1, 1, 1]; "
#define SM_PADS "padding_list: list(int) = []; "
#define SM_CONV "(input: Tinput, filter: Tfilter, "
#define SM_TBIAS "Tbias: {float,qint32}; "
#define SM_INT32 "out_type: {qint32} = qint32"
#define SM_MATMUL_OUT                                                                 \
  "T1: {quint8}; T2: {qint8}; transpose_a: bool = false; transpose_b: bool = false; " \
  "input_quant_mode: {'MIN_FIRST','SCALED'} = 'MIN_FIRST'; "
#define SM_MATMUL "(a: T1, b: T2, bias: "
#define SM_MATMUL_RANGES "min_a: float, max_a: float, min_b: float, max_b: float"
#define SM_MATMUL_INT ") -> (out: Toutput, min_out: float, max_out: float); "
#define SM_ROW(name, parts, ...) \
  { .signature = name __VA_ARGS__, .shape = FusedShape<parts>, .build = BuildFused<parts> }

constexpr OpDef kOps[] = {
    SM_ROW("QuantizedConv2DAndRelu", kRelu, SM_CONV SM_RANGES SM_OUT SM_PADS SM_INT32),
    SM_ROW("QuantizedConv2DAndReluAndRequantize", kRelu | kRequantize,
           SM_CONV SM_RANGES SM_GIVEN SM_OUT SM_PADS "out_type: {quint8} = quint8"),
    SM_ROW("QuantizedConv2DAndRequantize", kRequantize,
           SM_CONV SM_RANGES SM_GIVEN SM_OUT SM_PADS "out_type: {qint8} = qint8"),
    SM_ROW("QuantizedConv2DPerChannel", kPlain, SM_CONV SM_RANGES SM_OUT SM_INT32),
    SM_ROW("QuantizedConv2DWithBias", kBias,
           SM_CONV "bias: float, " SM_RANGES SM_OUT SM_PADS SM_INT32),
    SM_ROW("QuantizedConv2DWithBiasAndRelu", kBias | kRelu,
           SM_CONV "bias: float, " SM_RANGES SM_OUT SM_PADS SM_INT32),
    SM_ROW("QuantizedConv2DWithBiasAndReluAndRequantize", kBias | kRelu | kRequantize,
           SM_CONV "bias: Tbias, " SM_RANGES SM_GIVEN SM_OUT SM_PADS SM_TBIAS
                   "out_type: {quint8} = quint8"),
    SM_ROW("QuantizedConv2DWithBiasAndRequantize", kBias | kRequantize,
           SM_CONV "bias: Tbias, " SM_RANGES SM_GIVEN SM_OUT SM_PADS SM_TBIAS
                   "out_type: {qint8} = qint8"),
    SM_ROW("QuantizedConv2DWithBiasSignedSumAndReluAndRequantize",
           kBias | kSum | kRelu | kRequantize,
           SM_CONV
           "bias: Tbias, " SM_RANGES SM_GIVEN
           ", summand: Tsummand, min_summand: float, max_summand: float" SM_OUT SM_PADS SM_TBIAS
           "Tsummand: {qint8}; out_type: {quint8} = quint8"),
    SM_ROW("QuantizedConv2DWithBiasSumAndRelu", kBias | kSum | kRelu,
           SM_CONV "bias: float, " SM_RANGES ", summand: float" SM_OUT SM_PADS SM_INT32),
    SM_ROW("QuantizedConv2DWithBiasSumAndReluAndRequantize", kBias | kSum | kRelu | kRequantize,
           SM_CONV
           "bias: Tbias, " SM_RANGES SM_GIVEN
           ", summand: Tsummand, min_summand: float, max_summand: float" SM_OUT SM_PADS SM_TBIAS
           "Tsummand: {quint8}; out_type: {quint8} = quint8"),
    SM_ROW("QuantizedDepthwiseConv2D", kDepthwise, SM_CONV SM_RANGES SM_OUT SM_INT32),
    SM_ROW("QuantizedDepthwiseConv2DWithBias", kDepthwise | kBias,
           SM_CONV "bias: float, " SM_RANGES SM_OUT SM_INT32),
    SM_ROW("QuantizedDepthwiseConv2DWithBiasAndRelu", kDepthwise | kBias | kRelu,
           SM_CONV "bias: float, " SM_RANGES SM_OUT SM_PADS SM_INT32),
    SM_ROW("QuantizedDepthwiseConv2DWithBiasAndReluAndRequantize",
           kDepthwise | kBias | kRelu | kRequantize,
           SM_CONV "bias: Tbias, " SM_RANGES SM_GIVEN SM_OUT SM_PADS SM_TBIAS
                   "out_type: {quint8} = quint8"),
    SM_ROW("QuantizedMatMulWithBias", kMatMul | kBias,
           SM_MATMUL "Tbias, " SM_MATMUL_RANGES SM_MATMUL_INT SM_MATMUL_OUT SM_TBIAS
                     "Toutput: {qint32} = qint32"),
    SM_ROW("QuantizedMatMulWithBiasAndDequantize", kMatMul | kBias | kRequantize,
           SM_MATMUL "Tbias, " SM_MATMUL_RANGES SM_GIVEN
                     ") -> (out: Toutput); " SM_MATMUL_OUT SM_TBIAS "Toutput: {float}"),
    SM_ROW("QuantizedMatMulWithBiasAndRelu", kMatMul | kBias | kRelu,
           SM_MATMUL "float, " SM_MATMUL_RANGES SM_MATMUL_INT SM_MATMUL_OUT
                     "Toutput: {qint32} = qint32"),
    SM_ROW("QuantizedMatMulWithBiasAndReluAndRequantize", kMatMul | kBias | kRelu | kRequantize,
           SM_MATMUL "Tbias, " SM_MATMUL_RANGES SM_GIVEN SM_MATMUL_INT SM_MATMUL_OUT SM_TBIAS
                     "Toutput: {quint8} = quint8"),
    SM_ROW("QuantizedMatMulWithBiasAndRequantize", kMatMul | kBias | kRequantize,
           SM_MATMUL "Tbias, " SM_MATMUL_RANGES SM_GIVEN SM_MATMUL_INT SM_MATMUL_OUT SM_TBIAS
                     "Toutput: {quint8} = quint8"),
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> QuantizedFusedOps() { return kOps; }

}  // namespace savedmodel
