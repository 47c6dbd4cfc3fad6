// Requantisation of 32 bit values with a range for each channel, and resizing of quantised images.
#include <algorithm>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/image/resize.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/quantized.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// The larger end of the range of each channel, from inputs 1 (minima) and 2 (maxima); or of all.
StatusOr<std::vector<float>> ChannelRanges(const OpContext& ctx, bool or_one) {
  const Shape& in = ctx.input(0).shape();
  SM_CHECK_ARG(in.rank() == 4, "input has shape ", in, ", expected images");
  const int64_t n = ctx.input(1).num_elements();
  SM_CHECK_ARG((n == in[3] || (or_one && n == 1)) && ctx.input(2).num_elements() == n,
               "input_min has shape ", ctx.input(1).shape(), ", input_max ", ctx.input(2).shape(),
               ", input ", in, " has ", in[3], " channels");
  std::vector<float> ranges(n);
  for (int64_t c = 0; c < n; ++c) {
    ranges[c] = std::max(std::fabs(ctx.in<float>(1)[c]), std::fabs(ctx.in<float>(2)[c]));
  }
  return ranges;
}

Status RunRequantize(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(std::vector<float> scale, ChannelRanges(ctx, true));
  SM_ASSIGN_OR_RETURN(const QuantizedRange to, RangeInput(ctx, 3));
  const bool is_signed = ctx.output_dtype(0) == DType::kQInt8;
  SM_CHECK_ARG(!is_signed || to.min < 0, "requested_output_min is ", to.min,
               ", expected less than 0 for qint8");
  const float range = std::max(std::fabs(to.min), std::fabs(to.max));
  for (float& s : scale) s = (is_signed ? 127.0f : 255.0f) * (s / range / 2147483648.0f);
  const float low = is_signed ? -128.0f : 0.0f, high = is_signed ? 127.0f : 255.0f;
  const int32_t* x = ctx.in<int32_t>(0);
  uint8_t* y = static_cast<uint8_t*>(ctx.output(0).raw_mutable_data());
  const int64_t channels = static_cast<int64_t>(scale.size());
  ctx.ParallelFor(ctx.input(0).num_elements(), 3, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float steps = std::nearbyint(static_cast<float>(x[i]) * scale[i % channels]);
      y[i] = static_cast<uint8_t>(static_cast<int32_t>(steps >= low ? std::min(steps, high) : low));
    }
  });
  SetRangeOutput(ctx, to);
  return Status();
}

// What the values use of their ranges, at most `clip`.
StatusOr<KernelPtr> BuildRange(BuildContext& build) {
  const float clip = build.attrs().Float("clip_value_max");
  return MakeKernel([clip](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const std::vector<float> ranges, ChannelRanges(ctx, false));
    const int64_t n = ctx.input(0).num_elements();
    SM_CHECK_ARG(n > 0, "found no values");
    const int32_t* x = ctx.in<int32_t>(0);
    const int64_t channels = static_cast<int64_t>(ranges.size());
    std::vector<float> most(channels);
    bool has_negative = false;
    for (int64_t i = 0; i < n; ++i) {
      has_negative |= x[i] < 0;
      most[i % channels] = std::max(most[i % channels], std::fabs(static_cast<float>(x[i])));
    }
    float high = std::numeric_limits<float>::min();
    for (int64_t c = 0; c < channels; ++c) {
      high = std::max(high, ranges[c] * most[c] / 2147483648.0f);
    }
    high = std::min(high, clip);
    ctx.out<float>(0)[0] = has_negative ? -high : 0.0f;
    ctx.out<float>(1)[0] = high;
    return Status();
  });
}

// --------------------------------------------------------------------------------------- resizing

// A value between four: integers use weights of a few bits.
template <class T>
struct Blend {
  static constexpr int kBits = sizeof(T) == 1 ? 7 : 30;
  static constexpr int64_t kOne = int64_t{1} << kBits;

  static int64_t Weight(float w) { return static_cast<int64_t>(w * static_cast<float>(kOne)); }
  // TensorFlow's 32 bit integers lose what a float cannot hold.
  static int64_t Value(T x) { return static_cast<int64_t>(static_cast<float>(x)); }
  static T Of(T tl, T tr, T bl, T br, int64_t right, int64_t down) {
    const int64_t top = Value(tl) * kOne + (Value(tr) - Value(tl)) * right;
    const int64_t bottom = Value(bl) * kOne + (Value(br) - Value(bl)) * right;
    const int64_t value = top + (bottom - top) / kOne * down;
    return static_cast<T>((value + kOne / 2) / kOne);
  }
};
template <>
struct Blend<float> {
  static float Weight(float w) { return w; }
  static float Of(float tl, float tr, float bl, float br, float right, float down) {
    const float top = tl + (tr - tl) * right, bottom = bl + (br - bl) * right;
    return top + (bottom - top) * down;
  }
};

template <class T>
void Resize(const OpContext& ctx, const ResizeDims& d, const ResizeMapping& mapping, const T* in,
            T* out) {
  const float down = mapping.Scale(d.in_height, d.out_height);
  const float right = mapping.Scale(d.in_width, d.out_width);
  const int64_t c = d.channels;
  ctx.ParallelFor(d.batch * d.out_height, 4.0 * static_cast<double>(d.out_width * c),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t r = begin; r < end; ++r) {
                      const ResizePair y = PairAt(mapping, down, d.in_height, r % d.out_height);
                      const T* image = in + r / d.out_height * d.in_height * d.in_width * c;
                      const T *top = image + y.lower * d.in_width * c,
                              *bottom = image + y.upper * d.in_width * c;
                      T* o = out + r * d.out_width * c;
                      for (int64_t column = 0; column < d.out_width; ++column) {
                        const ResizePair x = PairAt(mapping, right, d.in_width, column);
                        const int64_t lower = x.lower * c, upper = x.upper * c;
                        for (int64_t k = 0; k < c; ++k) {
                          *o++ = Blend<T>::Of(top[lower + k], top[upper + k], bottom[lower + k],
                                              bottom[upper + k], Blend<T>::Weight(x.weight),
                                              Blend<T>::Weight(y.weight));
                        }
                      }
                    }
                  });
}

StatusOr<KernelPtr> BuildResize(BuildContext& build) {
  const ResizeMapping mapping = {build.attrs().Bool("align_corners"),
                                 build.attrs().Bool("half_pixel_centers")};
  return MakeKernel([mapping](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const QuantizedRange range, RangeInput(ctx, 2));
    SM_ASSIGN_OR_RETURN(const ResizeDims d, ReadResizeDims(ctx));
    SetRangeOutput(ctx, range);
    if (ctx.output(0).num_elements() == 0) return Status();
    if (d.in_height == d.out_height && d.in_width == d.out_width) {
      return ctx.ForwardInput(0, 0, ctx.input(0).shape());
    }
    constexpr DTypeSet kTypes = Only(DType::kQUInt8) | Only(DType::kQInt32) | Only(DType::kFloat);
    return VisitDType<kTypes>(ctx.output_dtype(0), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      Resize(ctx, d, mapping, ctx.in<T>(0), ctx.out<T>(0));
      return Status();
    });
  });
}

Status ResizeWithRange(ShapeContext& ctx) {
  ctx.set_output(1, Shape());
  ctx.set_output(2, Shape());
  return ResizeShape(ctx);
}

constexpr OpDef kOps[] = {
    {.signature = "QuantizedResizeBilinear(images: T, size: int32, min: float, max: float) -> "
                  "(resized_images: T, out_min: float, out_max: float); T: {quint8,qint32,float}; "
                  "align_corners: bool = false; half_pixel_centers: bool = false",
     .shape = ResizeWithRange,
     .build = BuildResize},
    {.signature = "RequantizationRangePerChannel(input: T, input_min: float, input_max: float) -> "
                  "(output_min: float, output_max: float); T: {qint32} = qint32; "
                  "clip_value_max: float",
     .shape = shape::Scalar,
     .build = BuildRange},
    {.signature = "RequantizePerChannel(input: T, input_min: float, input_max: float, "
                  "requested_output_min: float, requested_output_max: float) -> "
                  "(output: out_type, output_min: float, output_max: float); "
                  "T: {qint32} = qint32; out_type: {qint8,quint8} = quint8",
     .shape = LikeInputWithRange,
     .build = BuildPlain<RunRequantize>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> QuantizedChannelOps() { return kOps; }

}  // namespace savedmodel
