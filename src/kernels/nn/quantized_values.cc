// Ops that keep or change the range that quantised values stand for: sums, activations,
// normalisations, requantisation, and joins and resizings of values with ranges.
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/quantized.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

constexpr DTypeSet kBytes = Only(DType::kQInt8) | Only(DType::kQUInt8);
constexpr DTypeSet kUnsigned8Or32 = Only(DType::kQUInt8) | Only(DType::kQInt32);

// --------------------------------------------------------------------------------- bias addition

Status BiasAddShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  const Shape &in = ctx.input(0), &bias = ctx.input(1);
  if (in.fully_known() && bias.fully_known()) {
    SM_CHECK_ARG(in[in.rank() - 1] == bias[0], "bias has ", bias[0], " values, input ", in, " has ",
                 in[in.rank() - 1], " channels");
  }
  return LikeInputWithRange(ctx);
}

Status RunBiasAdd(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const QuantizedRange in, RangeInput(ctx, 2));
  SM_ASSIGN_OR_RETURN(const QuantizedRange bias, RangeInput(ctx, 4));
  const QuantizedRange sum = SumRange(in, bias, 17);
  SetRangeOutput(ctx, sum);
  const int32_t zero = FloatToQuantized<int32_t>(0.0f, sum);
  return VisitDType<kBytes>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const int64_t channels = ctx.input(1).num_elements();
    const T* x = ctx.in<T>(0);
    int32_t* y = ctx.out<int32_t>(0);
    const Requantizer<T, int32_t> from_in(in, sum), from_bias(bias, sum);
    std::vector<int32_t> added(channels);
    for (int64_t c = 0; c < channels; ++c) {
      added[c] = WrapAdd(from_bias(ctx.in<T>(1)[c]), zero);
    }
    for (int64_t i = 0; i < ctx.input(0).num_elements(); i += channels) {
      for (int64_t c = 0; c < channels; ++c) y[i + c] = WrapAdd(from_in(x[i + c]), added[c]);
    }
    return Status();
  });
}

StatusOr<KernelPtr> BuildBiasAdd(BuildContext& build) {
  SM_CHECK_ARG(build.input_dtype(0) == build.input_dtype(1), "input is ", build.input_dtype(0),
               ", bias ", build.input_dtype(1), ", expected one dtype");
  return MakeKernel(RunBiasAdd);
}

// ----------------------------------------------------------------------------------- activations

// max(x, 0), and min(x, 6) where the op says so, in the range of the input.
template <bool six>
StatusOr<KernelPtr> BuildRelu(BuildContext& build) {
  SM_CHECK_ARG(build.input_dtype(0) == build.output_dtype(0), "features are ", build.input_dtype(0),
               ", activations ", build.output_dtype(0), ", expected one dtype");
  return MakeKernel([](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const QuantizedRange range, RangeInput(ctx, 1));
    SetRangeOutput(ctx, range);
    return VisitDType<kUnsigned8Or32>(ctx.output_dtype(0), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T low = FloatToQuantized<T>(0.0f, range);
      const T high = six ? FloatToQuantized<T>(6.0f, range) : std::numeric_limits<T>::max();
      const T* x = ctx.in<T>(0);
      T* y = ctx.out<T>(0);
      const int64_t n = ctx.input(0).num_elements();
      for (int64_t i = 0; i < n; ++i) y[i] = std::min(std::max(x[i], low), high);
      return Status();
    });
  });
}

// --------------------------------------------------------------------------------- normalisation

Status BatchNormShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  for (int i = 3; i <= 12; i += 3) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 1));
  return LikeInputWithRange(ctx);
}

// In a range wide enough for what networks compute, with 10 bits behind the point.
Status RunBatchNorm(OpContext& ctx, float epsilon, bool scale_after) {
  constexpr QuantizedRange kOut = {-1048576.0f, 1048576.0f};
  QuantizedRange ranges[5];
  for (int i = 0; i < 5; ++i) {
    SM_ASSIGN_OR_RETURN(ranges[i], RangeInput(ctx, 3 * i + 1));
  }
  const Shape& shape = ctx.input(0).shape();
  const int64_t channels = shape[3];
  for (int i = 3; i <= 12; i += 3) {
    SM_CHECK_ARG(ctx.input(i).num_elements() == channels, "input ", i, " has ",
                 ctx.input(i).num_elements(), " values, input 0 ", shape, " has ", channels,
                 " channels");
  }
  SetRangeOutput(ctx, kOut);
  const auto value = [&](int i, int64_t c) {
    return QuantizedToFloat(ctx.in<uint8_t>(3 * i)[c], ranges[i]);
  };
  std::vector<int32_t> scale(channels), offset(channels);
  for (int64_t c = 0; c < channels; ++c) {
    float s = 1.0f / std::sqrt(value(2, c) + epsilon);
    if (scale_after) s *= value(4, c);
    scale[c] = FloatToQuantized<int32_t>(s, kOut);
    offset[c] = FloatToQuantized<int32_t>(-value(1, c) * s + value(3, c), kOut);
  }
  const int32_t one = FloatToQuantized<int32_t>(1.0f, kOut);
  const int64_t n = shape.num_elements();
  for (int64_t i = 0; i < n; i += channels) {
    for (int64_t c = 0; c < channels; ++c) {
      const int32_t x = RequantizeOne<uint8_t, int32_t>(ctx.in<uint8_t>(0)[i + c], ranges[0], kOut);
      ctx.out<int32_t>(0)[i + c] = WrapAdd(WrapMul(x, scale[c]) / one, offset[c]);
    }
  }
  return Status();
}

StatusOr<KernelPtr> BuildBatchNorm(BuildContext& build) {
  const float epsilon = build.attrs().Float("variance_epsilon");
  const bool scale_after = build.attrs().Bool("scale_after_normalization");
  return MakeKernel(
      [epsilon, scale_after](OpContext& ctx) { return RunBatchNorm(ctx, epsilon, scale_after); });
}

struct InstanceNormAttrs {
  bool range_given = false;
  QuantizedRange given;
  float epsilon = 0, least_range = 0;
};

// Normalises each channel of one image; `y` gets floats.
void NormalizeImage(const uint8_t* x, int64_t pixels, int64_t channels, float epsilon, float* y) {
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0, squares = 0;
    for (int64_t p = 0; p < pixels; ++p) sum += x[p * channels + c];
    const double mean = sum / static_cast<double>(pixels);
    for (int64_t p = 0; p < pixels; ++p) {
      const double d = x[p * channels + c] - mean;
      squares += d * d;
    }
    const float scale =
        1.0f / std::sqrt(static_cast<float>(squares / static_cast<double>(pixels)) + epsilon);
    for (int64_t p = 0; p < pixels; ++p) {
      y[p * channels + c] = (x[p * channels + c] - static_cast<float>(mean)) * scale;
    }
  }
}

Status RunInstanceNorm(OpContext& ctx, const InstanceNormAttrs& attrs) {
  SM_ASSIGN_OR_RETURN(const QuantizedRange in, RangeInput(ctx, 1));
  SM_CHECK_ARG(in.min < in.max, "found a range from ", in.min, " to ", in.max);
  const Shape& shape = ctx.input(0).shape();
  const int64_t n = shape.num_elements(), image = shape.Product(1, 4);
  SM_ASSIGN_OR_RETURN(Tensor normed, ctx.AllocateTemp(DType::kFloat, shape));
  float* y = normed.mutable_data<float>();
  // The values are normalised as the integers that they are.
  const float step = (in.max - in.min) / 255.0f;
  for (int64_t i = 0; i < n; i += image) {
    NormalizeImage(ctx.in<uint8_t>(0) + i, shape[1] * shape[2], shape[3],
                   attrs.epsilon / (step * step), y + i);
  }
  QuantizedRange out = attrs.given;
  if (!attrs.range_given) {
    out = {std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest()};
    for (int64_t i = 0; i < n; ++i) out = {std::min(out.min, y[i]), std::max(out.max, y[i])};
    out.max = std::max(out.max, out.min + attrs.least_range);
  }
  SetRangeOutput(ctx, out);
  const float scale = out.max == out.min ? 0.0f : 255.0f / (out.max - out.min);
  const float least = std::round(out.min * scale);
  for (int64_t i = 0; i < n; ++i) {
    const float steps = std::round(y[i] * scale) - least;
    ctx.out<uint8_t>(0)[i] = static_cast<uint8_t>(steps >= 0 ? std::min(steps, 255.0f) : 0.0f);
  }
  return Status();
}

Status InstanceNormShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  return LikeInputWithRange(ctx);
}

StatusOr<KernelPtr> BuildInstanceNorm(BuildContext& build) {
  const Attrs& list = build.attrs();
  const InstanceNormAttrs attrs{.range_given = list.Bool("output_range_given"),
                                .given = {list.Float("given_y_min"), list.Float("given_y_max")},
                                .epsilon = list.Float("variance_epsilon"),
                                .least_range = list.Float("min_separation")};
  SM_CHECK_ARG(!attrs.range_given || attrs.given.min < attrs.given.max, "found a given range from ",
               attrs.given.min, " to ", attrs.given.max);
  return MakeKernel([attrs](OpContext& ctx) { return RunInstanceNorm(ctx, attrs); });
}

// -------------------------------------------------------------------------------- requantisation

// What the 32 bit integers of input 0 really use of their range; always includes zero.
QuantizedRange UsedRange(const OpContext& ctx, QuantizedRange range) {
  const int32_t* x = ctx.in<int32_t>(0);
  const int64_t n = ctx.input(0).num_elements();
  int32_t low = std::numeric_limits<int32_t>::max(), high = std::numeric_limits<int32_t>::lowest();
  for (int64_t i = 0; i < n; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  return {std::min(0.0f, QuantizedToFloat(low, range)), QuantizedToFloat(high, range)};
}

Status RequantizeInto(OpContext& ctx, QuantizedRange from, QuantizedRange to) {
  SetRangeOutput(ctx, to);
  return VisitDType<kBytes>(ctx.output_dtype(0), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const Requantizer<int32_t, T> requantize(from, to);
    const int32_t* x = ctx.in<int32_t>(0);
    T* y = ctx.out<T>(0);
    ctx.ParallelFor(ctx.input(0).num_elements(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) y[i] = requantize(x[i]);
    });
    return Status();
  });
}

Status RunRequantize(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const QuantizedRange from, RangeInput(ctx, 1));
  SM_ASSIGN_OR_RETURN(const QuantizedRange to, RangeInput(ctx, 3));
  SM_CHECK_ARG(to.min <= 0, "requested_output_min is ", to.min, ", expected 0 or less");
  SM_CHECK_ARG(to.max >= to.min, "found a requested range from ", to.min, " to ", to.max);
  return RequantizeInto(ctx, from, to);
}

Status RunShrinkRange(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const QuantizedRange from, RangeInput(ctx, 1));
  return RequantizeInto(ctx, from, UsedRange(ctx, from));
}

Status RunUsedRange(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const QuantizedRange range, RangeInput(ctx, 1));
  SM_CHECK_ARG(ctx.input(0).num_elements() > 0, "found no values");
  const QuantizedRange used = UsedRange(ctx, range);
  ctx.out<float>(0)[0] = used.min;
  ctx.out<float>(1)[0] = used.max;
  return Status();
}

// ---------------------------------------------------------------------------------- concatenation

// Inputs: the axis and N values, in either order, then N minima and N maxima. The result's range
// covers those of all values and zero; for signed integers it is symmetric. With the axis behind
// the values, TensorFlow's oneDNN takes ranges that are one as they are, and others of bytes from
// zero.
Status RunConcat(OpContext& ctx, bool axis_first) {
  const int n = ctx.num_inputs() / 3;
  const int axis_input = axis_first ? 0 : n, values = axis_first ? 1 : 0;
  SM_CHECK_ARG(ctx.input(axis_input).num_elements() == 1, "the axis has shape ",
               ctx.input(axis_input).shape(), ", expected a scalar");
  const Shape& first = ctx.input(values).shape();
  SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(ctx.IntInput(axis_input), first.rank()));
  std::vector<QuantizedRange> ranges(n);
  QuantizedRange all = {0, std::numeric_limits<float>::lowest()};
  int64_t size = 0;
  for (int i = 0; i < n; ++i) {
    const Shape& s = ctx.input(values + i).shape();
    SM_CHECK_ARG(s.rank() == first.rank() && s.WithDim(axis, first[axis]) == first, "value ", i,
                 " has shape ", s, ", expected one that agrees with ", first, " but for dimension ",
                 axis);
    for (int k : {1 + n + i, 1 + 2 * n + i}) {
      SM_CHECK_ARG(ctx.input(k).num_elements() == 1, "input ", k, " has shape ",
                   ctx.input(k).shape(), ", expected a scalar");
    }
    ranges[i] = {ctx.in<float>(1 + n + i)[0], ctx.in<float>(1 + 2 * n + i)[0]};
    all = {std::min(all.min, ranges[i].min), std::max(all.max, ranges[i].max)};
    SM_CHECK_ARG(!__builtin_add_overflow(size, s[axis], &size), "the result is too large");
  }
  const bool is_one = !axis_first && std::all_of(ranges.begin(), ranges.end(), [&](auto r) {
    return std::fabs(r.min - ranges[0].min) <= 1e-6f && std::fabs(r.max - ranges[0].max) <= 1e-6f;
  });
  if (is_one) {
    all = ranges[0];
  } else if (ctx.output_dtype(0) == DType::kQUInt8) {
    if (!axis_first) all.min = 0;
  } else {
    const float most = std::max(std::fabs(all.min), std::fabs(all.max));
    all = {-most, most};
  }
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, first.WithDim(axis, size)));
  SetRangeOutput(ctx, all);
  const int64_t outer = first.Product(0, axis), inner = first.Product(axis + 1, first.rank());
  return VisitDType<kBytes | kUnsigned8Or32>(ctx.output_dtype(0), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    int64_t at = 0;
    for (int i = 0; i < n; ++i) {
      const bool same = is_one || (ranges[i].min == all.min && ranges[i].max == all.max);
      const Requantizer<T, T> requantize(ranges[i], all);
      const T* x = ctx.in<T>(values + i);
      const int64_t row = ctx.input(values + i).shape()[axis] * inner;
      for (int64_t o = 0; o < outer; ++o) {
        T* y = ctx.out<T>(0) + o * size * inner + at;
        for (int64_t k = 0; k < row; ++k, ++x) y[k] = same ? *x : requantize(*x);
      }
      at += row;
    }
    return Status();
  });
}

template <bool axis_first>
StatusOr<KernelPtr> BuildConcat(BuildContext&) {
  return MakeKernel([](OpContext& ctx) { return RunConcat(ctx, axis_first); });
}

Status ConcatShape(ShapeContext& ctx) {
  ctx.set_output(1, Shape());
  ctx.set_output(2, Shape());
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "QuantizeDownAndShrinkRange(input: Tinput, input_min: float, "
                  "input_max: float) -> (output: out_type, output_min: float, "
                  "output_max: float); Tinput: {qint32}; out_type: {quint8}",
     .shape = LikeInputWithRange,
     .build = BuildPlain<RunShrinkRange>},
    {.signature =
         "QuantizedBatchNormWithGlobalNormalization(t: Tinput, t_min: float, t_max: float, "
         "m: Tinput, m_min: float, m_max: float, v: Tinput, v_min: float, v_max: float, "
         "beta: Tinput, beta_min: float, beta_max: float, gamma: Tinput, gamma_min: float, "
         "gamma_max: float) -> (result: out_type, result_min: float, result_max: float); "
         "Tinput: {quint8}; out_type: {qint32}; variance_epsilon: float; "
         "scale_after_normalization: bool",
     .shape = BatchNormShape,
     .build = BuildBatchNorm},
    {.signature = "QuantizedBiasAdd(input: T1, bias: T2, min_input: float, max_input: float, "
                  "min_bias: float, max_bias: float) -> (output: out_type, min_out: float, "
                  "max_out: float); T1: {qint8,quint8}; T2: {qint8,quint8}; out_type: {qint32}",
     .shape = BiasAddShape,
     .build = BuildBiasAdd},
    {.signature = "QuantizedConcat(concat_dim: int32, values: N * T, input_mins: N * float, "
                  "input_maxes: N * float) -> (output: T, output_min: float, "
                  "output_max: float); N: int >= 2; T: {quint8,qint32}",
     .shape = ConcatShape,
     .build = BuildConcat<true>},
    {.signature = "QuantizedConcatV2(values: N * T, axis: Tidx, input_mins: N * float, "
                  "input_maxes: N * float) -> (output: T, output_min: float, "
                  "output_max: float); N: int >= 2; T: {quint8,qint8}; Tidx: {int32,int64} = int32",
     .shape = ConcatShape,
     .build = BuildConcat<false>},
    {.signature = "QuantizedInstanceNorm(x: T, x_min: float, x_max: float) -> (y: T, "
                  "y_min: float, y_max: float); T: {quint8}; output_range_given: bool = false; "
                  "given_y_min: float = 0.0; given_y_max: float = 0.0; "
                  "variance_epsilon: float = 1e-05; min_separation: float = 0.001",
     .shape = InstanceNormShape,
     .build = BuildInstanceNorm},
    {.signature = "QuantizedRelu(features: Tinput, min_features: float, max_features: float) -> "
                  "(activations: out_type, min_activations: float, max_activations: float); "
                  "Tinput: {quint8,qint32}; out_type: {quint8,qint32} = quint8",
     .shape = LikeInputWithRange,
     .build = BuildRelu<false>},
    {.signature = "QuantizedRelu6(features: Tinput, min_features: float, max_features: float) -> "
                  "(activations: out_type, min_activations: float, max_activations: float); "
                  "Tinput: {quint8,qint32}; out_type: {quint8,qint32} = quint8",
     .shape = LikeInputWithRange,
     .build = BuildRelu<true>},
    {.signature = "RequantizationRange(input: Tinput, input_min: float, input_max: float) -> "
                  "(output_min: float, output_max: float); Tinput: {qint32}",
     .shape = shape::Scalar,
     .build = BuildPlain<RunUsedRange>},
    {.signature = "Requantize(input: Tinput, input_min: float, input_max: float, "
                  "requested_output_min: float, requested_output_max: float) -> "
                  "(output: out_type, output_min: float, output_max: float); Tinput: {qint32}; "
                  "out_type: {qint8,quint8}",
     .shape = LikeInputWithRange,
     .build = BuildPlain<RunRequantize>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> QuantizedValueOps() { return kOps; }

}  // namespace savedmodel
