// Quantisation of floats to 8, 16 and 32 bit integers, back, and both at once.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// A tensor cut along an axis: `slices` parts, each `inner` elements long, `outer` times. Without an
// axis the whole is one slice.
struct Slices {
  int64_t outer = 1, slices = 1, inner = 1;
};

StatusOr<Slices> SliceAlong(const Shape& shape, int64_t axis) {
  if (axis == -1) return Slices{1, 1, shape.num_elements()};
  SM_CHECK_ARG(axis >= 0 && axis < shape.rank(), "axis ", axis, " is out of range for shape ",
               shape);
  const int a = static_cast<int>(axis);
  return Slices{shape.Product(0, a), shape[a], shape.Product(a + 1, shape.rank())};
}

// Calls fn(first element, count) for each run of slice `s`.
template <class F>
void ForEachRun(const Slices& l, int64_t s, F&& fn) {
  for (int64_t o = 0; o < l.outer; ++o) fn((o * l.slices + s) * l.inner, l.inner);
}

Status CheckRanges(const OpContext& ctx, const Slices& slices) {
  for (int i = 1; i <= 2; ++i) {
    SM_CHECK_ARG(ctx.input(i).num_elements() == slices.slices, "input ", i, " has shape ",
                 ctx.input(i).shape(), ", expected ", slices.slices, " values");
  }
  return Status();
}

// What hardware conversion does: out of range gives the smallest int32.
int32_t ToInt32(float x) {
  return x >= -2147483648.0f && x < 2147483648.0f ? static_cast<int32_t>(x)
                                                  : std::numeric_limits<int32_t>::min();
}

struct QuantizeAttrs {
  std::string mode;
  bool half_to_even = false, narrow = false;
  int64_t axis = -1;
  float least_range = 0.01f;
};

template <class T>
float Steps() {
  return static_cast<float>(static_cast<double>(std::numeric_limits<T>::max()) -
                            static_cast<double>(std::numeric_limits<T>::min()));
}

template <class T>
float HalfRange() {
  if (!std::is_signed_v<T>) return 0;
  return (static_cast<float>(std::numeric_limits<T>::max()) -
          static_cast<float>(std::numeric_limits<T>::min()) + 1) /
         2.0f;
}

// Quantises one slice, and adjusts its range to what the result stands for.
template <class T>
void QuantizeSlice(const QuantizeAttrs& attrs, const Slices& slices, int64_t s, const float* x,
                   float* min, float* max, T* y) {
  const auto each = [&](auto fn) {
    ForEachRun(slices, s, [&](int64_t at, int64_t n) {
      for (int64_t i = at; i < at + n; ++i) y[i] = static_cast<T>(ToInt32(fn(x[i])));
    });
  };
  const auto clamp = [&](float v) { return std::max(std::min(v, *max), *min); };
  if (attrs.mode == "MIN_COMBINED") {
    const float scale = Steps<T>() / (*max - *min);
    if (std::is_signed_v<T>) {
      each([&](float v) { return std::round((clamp(v) - *min) * scale - HalfRange<T>()); });
    } else {
      each([&](float v) { return (clamp(v) - *min) * scale + 0.5f; });
    }
  } else if (attrs.mode == "MIN_FIRST") {
    const float scale = *max == *min ? 0 : static_cast<float>(Steps<T>() / (*max - *min));
    const float least = std::round(*min * scale);
    const float low = static_cast<float>(std::numeric_limits<T>::lowest());
    const float high =
        std::min(static_cast<float>(std::numeric_limits<T>::max()), 2.147483520e+09f);
    each([&](float v) {
      return std::min(std::max(std::round(v * scale) - least + low, low), high);
    });
  } else {  // SCALED
    const int lowest = static_cast<int>(std::numeric_limits<T>::min()) + (attrs.narrow ? 1 : 0);
    const int highest = static_cast<int>(std::numeric_limits<T>::max());
    constexpr float kNone = std::numeric_limits<float>::max();
    const float scale = std::min(lowest * *min > 0 ? lowest / *min : kNone,
                                 highest * *max > 0 ? highest / *max : kNone);
    *min = lowest / scale;
    *max = highest / scale;
    if (attrs.half_to_even) {
      each([&](float v) { return std::nearbyint(clamp(v) * scale); });
    } else {
      each([&](float v) { return std::round(clamp(v) * scale); });
    }
  }
}

Status RunQuantize(OpContext& ctx, const QuantizeAttrs& attrs) {
  const Tensor& x = ctx.input(0);
  SM_ASSIGN_OR_RETURN(const Slices slices, SliceAlong(x.shape(), attrs.axis));
  SM_RETURN_IF_ERROR(CheckRanges(ctx, slices));
  const Shape range = attrs.axis == -1 ? Shape() : Shape({slices.slices});
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, range));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(2, range));
  return VisitDType<kQuantized>(ctx.output_dtype(0), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    for (int64_t s = 0; s < slices.slices; ++s) {
      const float from = ctx.in<float>(1)[s], to = ctx.in<float>(2)[s];
      SM_CHECK_ARG(from <= to, "found a range from ", from, " to ", to);
      float* min = ctx.out<float>(1) + s;
      float* max = ctx.out<float>(2) + s;
      *min = std::min(0.0f, from);
      const float least =
          std::max(1.0f, std::max(std::fabs(from), std::fabs(to))) * attrs.least_range;
      *max = std::max(0.0f, std::max(to, *min + least));
      QuantizeSlice(attrs, slices, s, ctx.in<float>(0), min, max, ctx.out<T>(0));
    }
    return Status();
  });
}

StatusOr<KernelPtr> BuildQuantize(BuildContext& build) {
  const Attrs& list = build.attrs();
  const QuantizeAttrs attrs{.mode = list.String("mode"),
                            .half_to_even = list.String("round_mode") == "HALF_TO_EVEN",
                            .narrow = list.Bool("narrow_range"),
                            .axis = list.Int("axis"),
                            .least_range = list.Float("ensure_minimum_range")};
  SM_CHECK_ARG(!attrs.half_to_even || attrs.mode == "SCALED",
               "round_mode HALF_TO_EVEN goes with mode SCALED only, found ", attrs.mode);
  return MakeKernel([attrs](OpContext& ctx) { return RunQuantize(ctx, attrs); });
}

Status FirstLikeInput(ShapeContext& ctx) {
  ctx.set_output(0, ctx.input(0));
  return Status();
}

template <class T>
void DequantizeSlice(const QuantizeAttrs& attrs, const Slices& slices, int64_t s, const T* x,
                     float min, float max, float* y) {
  const auto each = [&](auto fn) {
    ForEachRun(slices, s, [&](int64_t at, int64_t n) {
      for (int64_t i = at; i < at + n; ++i) y[i] = fn(static_cast<float>(x[i]));
    });
  };
  const float scale = (max - min) / Steps<T>();
  if (attrs.mode == "MIN_COMBINED") {
    each([&](float v) { return (v + HalfRange<T>()) * scale + min; });
  } else if (attrs.mode == "MIN_FIRST") {
    const float least = max == min ? min : std::round(min / scale) * scale;
    const float low = static_cast<float>(std::numeric_limits<T>::lowest());
    const float zero = least - low * scale;
    each([&](float v) { return zero + v * scale; });
  } else {  // SCALED
    const float highest = static_cast<float>(std::numeric_limits<T>::max());
    const float lowest = static_cast<float>(std::numeric_limits<T>::min()) + (attrs.narrow ? 1 : 0);
    const float factor =
        std::is_signed_v<T> ? std::max(min / lowest, max / highest) : max / highest;
    each([&](float v) { return v * factor; });
  }
}

Status RunDequantize(OpContext& ctx, const QuantizeAttrs& attrs) {
  const Tensor& x = ctx.input(0);
  SM_ASSIGN_OR_RETURN(const Slices slices, SliceAlong(x.shape(), attrs.axis));
  SM_RETURN_IF_ERROR(CheckRanges(ctx, slices));
  Tensor wide = ctx.output(0);
  if (ctx.output_dtype(0) != DType::kFloat) {
    SM_ASSIGN_OR_RETURN(wide, ctx.AllocateTemp(DType::kFloat, x.shape()));
  }
  float* y = static_cast<float*>(wide.raw_mutable_data());
  SM_RETURN_IF_ERROR(VisitDType<kQuantized>(x.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    for (int64_t s = 0; s < slices.slices; ++s) {
      DequantizeSlice(attrs, slices, s, ctx.in<T>(0), ctx.in<float>(1)[s], ctx.in<float>(2)[s], y);
    }
    return Status();
  }));
  if (bfloat16* out = ctx.out<bfloat16>(0)) {
    for (int64_t i = 0; i < x.num_elements(); ++i) out[i] = bfloat16(y[i]);
  }
  return Status();
}

StatusOr<KernelPtr> BuildDequantize(BuildContext& build) {
  const Attrs& list = build.attrs();
  const QuantizeAttrs attrs{
      .mode = list.String("mode"), .narrow = list.Bool("narrow_range"), .axis = list.Int("axis")};
  return MakeKernel([attrs](OpContext& ctx) { return RunDequantize(ctx, attrs); });
}

// ---------------------------------------------------------------------------- there and back

struct RoundTripAttrs {
  bool is_signed = true, range_given = false, narrow = false, half_up = false;
  int64_t bits = 8, axis = -1;
};

// Rounds one slice to what integers of `bits` could hold of its range.
template <class W, class T>
void RoundTripSlice(const RoundTripAttrs& attrs, const Slices& slices, int64_t s, W min, W max,
                    const T* x, T* y) {
  const int64_t most = int64_t{1} << (attrs.bits - (attrs.is_signed ? 1 : 0));
  const W lowest = static_cast<W>(attrs.is_signed ? -most + (attrs.narrow ? 1 : 0) : 0);
  const W highest = static_cast<W>(most - 1);
  constexpr W kNone = std::numeric_limits<W>::max();
  const W from_min = lowest * min > 0 ? lowest / min : kNone;
  const W from_max = highest * max > 0 ? highest / max : kNone;
  W scale, inverse;
  if (from_min < from_max) {
    scale = from_min;
    inverse = min / lowest;
    max = highest * inverse;
  } else {
    scale = from_max;
    inverse = max / highest;
    min = lowest * inverse;
  }
  ForEachRun(slices, s, [&](int64_t at, int64_t n) {
    for (int64_t i = at; i < at + n; ++i) {
      W v = static_cast<W>(x[i]);
      if (attrs.range_given) v = std::max(std::min(v, max), min);
      v *= scale;
      y[i] = T((attrs.half_up ? std::floor(v + W(0.5)) : std::nearbyint(v)) * inverse);
    }
  });
}

// `given(s, min, max)` sets the range of slice s where the op has been given ranges.
template <class F>
Status RoundTrip(OpContext& ctx, const RoundTripAttrs& attrs, F&& given) {
  const int64_t limit = attrs.is_signed ? 62 : 63;
  SM_CHECK_ARG(attrs.bits > 0 && attrs.bits < limit, "found num_bits ", attrs.bits,
               ", expected 1 to ", limit - 1);
  SM_ASSIGN_OR_RETURN(const Slices slices, SliceAlong(ctx.input(0).shape(), attrs.axis));
  return VisitDType<kFloats>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    using W = std::conditional_t<std::is_same_v<T, double>, double, float>;
    const T* x = ctx.in<T>(0);
    if (ctx.input(0).num_elements() == 0) return Status();
    for (int64_t s = 0; s < slices.slices; ++s) {
      W min = 0, max = 0;
      if (attrs.range_given) {
        SM_RETURN_IF_ERROR(given(tag, slices, s, &min, &max));
        SM_CHECK_ARG(min <= max, "found a range from ", min, " to ", max);
      } else {
        min = std::numeric_limits<W>::infinity();
        max = -min;
        ForEachRun(slices, s, [&](int64_t at, int64_t n) {
          for (int64_t i = at; i < at + n; ++i) {
            min = std::min(min, static_cast<W>(x[i]));
            max = std::max(max, static_cast<W>(x[i]));
          }
        });
      }
      RoundTripSlice(attrs, slices, s, min, max, x, ctx.out<T>(0));
    }
    return Status();
  });
}

StatusOr<KernelPtr> BuildRoundTripV1(BuildContext& build) {
  const Attrs& list = build.attrs();
  const RoundTripAttrs attrs{.is_signed = list.Bool("signed_input"),
                             .range_given = list.Bool("range_given"),
                             .bits = list.Int("num_bits")};
  const float low = list.Float("input_min"), high = list.Float("input_max");
  return MakeKernel([attrs, low, high](OpContext& ctx) {
    return RoundTrip(ctx, attrs, [&](auto, const Slices&, int64_t, auto* min, auto* max) {
      *min = low;
      *max = high;
      return Status();
    });
  });
}

// V2 to V4; V3 has its number of bits as input 3.
StatusOr<KernelPtr> BuildRoundTrip(BuildContext& build) {
  const Attrs& list = build.attrs();
  const RoundTripAttrs parsed{.is_signed = list.Bool("signed_input"),
                              .range_given = list.Bool("range_given"),
                              .narrow = list.Bool("narrow_range"),
                              .half_up = list.String("round_mode") == "HALF_UP",
                              .bits = list.Has("num_bits") ? list.Int("num_bits") : 8,
                              .axis = list.Int("axis")};
  SM_CHECK_ARG(parsed.axis >= -1, "found axis ", parsed.axis, ", expected -1 or more");
  return MakeKernel([parsed](OpContext& ctx) -> Status {
    RoundTripAttrs attrs = parsed;
    if (ctx.num_inputs() > 3) {
      SM_CHECK_ARG(ctx.input(3).num_elements() == 1, "num_bits has shape ", ctx.input(3).shape(),
                   ", expected a scalar");
      attrs.bits = ctx.IntInput(3);
    }
    return RoundTrip(ctx, attrs,
                     [&](auto tag, const Slices& slices, int64_t s, auto* min, auto* max) {
                       using T = typename decltype(tag)::type;
                       SM_RETURN_IF_ERROR(CheckRanges(ctx, slices));
                       *min = ctx.in<T>(1)[s];
                       *max = ctx.in<T>(2)[s];
                       return Status();
                     });
  });
}

#define SM_ROUND_TRIP_TYPES "T: {bfloat16,half,float,double}"

constexpr OpDef kOps[] = {
    {.signature = "Dequantize(input: T, min_range: float, max_range: float) -> (output: dtype); "
                  "T: {qint8,quint8,qint32,qint16,quint16}; "
                  "mode: {'MIN_COMBINED','MIN_FIRST','SCALED'} = 'MIN_COMBINED'; "
                  "narrow_range: bool = false; axis: int = -1; dtype: {bfloat16,float} = float",
     .shape = shape::SameAsInput0,
     .build = BuildDequantize},
    {.signature = "QuantizeAndDequantize(input: T) -> (output: T); signed_input: bool = true; "
                  "num_bits: int = 8; range_given: bool = false; input_min: float = 0.0; "
                  "input_max: float = 0.0; " SM_ROUND_TRIP_TYPES,
     .shape = shape::SameAsInput0,
     .build = BuildRoundTripV1},
    {.signature = "QuantizeAndDequantizeV2(input: T, input_min: T, input_max: T) -> (output: T); "
                  "signed_input: bool = true; num_bits: int = 8; range_given: bool = "
                  "false; " SM_ROUND_TRIP_TYPES "; round_mode: {'HALF_TO_EVEN','HALF_UP'} = "
                  "'HALF_TO_EVEN'; narrow_range: bool = false; axis: int = -1",
     .shape = shape::SameAsInput0,
     .build = BuildRoundTrip},
    {.signature = "QuantizeAndDequantizeV3(input: T, input_min: T, input_max: T, "
                  "num_bits: int32) -> (output: T); signed_input: bool = true; "
                  "range_given: bool = true; " SM_ROUND_TRIP_TYPES
                  "; narrow_range: bool = false; axis: int = -1",
     .shape = shape::SameAsInput0,
     .build = BuildRoundTrip},
    {.signature = "QuantizeAndDequantizeV4(input: T, input_min: T, input_max: T) -> (output: T); "
                  "signed_input: bool = true; num_bits: int = 8; range_given: bool = "
                  "false; " SM_ROUND_TRIP_TYPES "; round_mode: {'HALF_TO_EVEN','HALF_UP'} = "
                  "'HALF_TO_EVEN'; narrow_range: bool = false; axis: int = -1",
     .shape = shape::SameAsInput0,
     .build = BuildRoundTrip},
    {.signature = "QuantizeV2(input: float, min_range: float, max_range: float) -> (output: T, "
                  "output_min: float, output_max: float); T: {qint8,quint8,qint32,qint16,quint16}; "
                  "mode: {'MIN_COMBINED','MIN_FIRST','SCALED'} = 'MIN_COMBINED'; "
                  "round_mode: {'HALF_AWAY_FROM_ZERO','HALF_TO_EVEN'} = 'HALF_AWAY_FROM_ZERO'; "
                  "narrow_range: bool = false; axis: int = -1; ensure_minimum_range: float = 0.01",
     .shape = FirstLikeInput,
     .build = BuildQuantize},
};
#undef SM_ROUND_TRIP_TYPES
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> QuantizeOps() { return kOps; }

}  // namespace savedmodel
