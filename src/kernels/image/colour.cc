// Colour: hue, saturation and value, contrast.
#include <algorithm>
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/image/image_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// Each of these changes the three channels of a pixel; F is float or double.
template <class F>
void ToHsv(F* c) {
  const F r = c[0], g = c[1], b = c[2];
  const F v = std::max({r, g, b}), range = v - std::min({r, g, b});
  F h = 0;
  if (range > 0) {
    const F norm = F(1) / (F(6) * range);
    h = r == v ? norm * (g - b) : norm * (r - g) + F(4) / F(6);
    if (r != v && g == v) h = norm * (b - r) + F(2) / F(6);
    if (h < 0) h += F(1);
  }
  c[0] = h, c[1] = v > 0 ? range / v : F(0), c[2] = v;
}

template <class F>
void ToRgb(F* c) {
  const F dh = c[0] * F(6), s = c[1], v = c[2];
  const auto channel = [&](F d) { return (F(1) - s + s * std::clamp(d, F(0), F(1))) * v; };
  c[0] = channel(std::abs(dh - F(3)) - F(1));
  c[1] = channel(F(2) - std::abs(dh - F(2)));
  c[2] = channel(F(2) - std::abs(dh - F(4)));
}

template <int min_rank>
Status ColourShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, min_rank));
  if (ctx.num_inputs() > 1) SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 0));
  const Shape& in = ctx.input(0);
  if (in.known_rank() && in[in.rank() - 1] != 3 && in[in.rank() - 1] != -1) {
    const std::string message = StrCat("images have shape ", in, ", expected 3 channels");
    // TensorFlow's code for the conversions, which take one input.
    const bool conversion = ctx.num_inputs() == 1;
    return conversion ? FailedPrecondition(message) : InvalidArgument(message);
  }
  ctx.set_output(0, in);
  return Status();
}

// Applies `fn`, from three floats to three, to every pixel.
template <class F>
Status EachPixel(OpContext& ctx, double cost, F fn) {
  const int64_t pixels = ctx.input(0).num_elements() / 3;
  return VisitDType<kFloats>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* in = ctx.in<T>(0);
    T* out = ctx.out<T>(0);
    ctx.ParallelFor(pixels, cost, [&](int64_t begin, int64_t end) {
      using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;
      for (int64_t i = 3 * begin; i < 3 * end; i += 3) {
        Real c[3] = {static_cast<Real>(in[i]), static_cast<Real>(in[i + 1]),
                     static_cast<Real>(in[i + 2])};
        fn(c);
        for (int k = 0; k < 3; ++k) out[i + k] = T(c[k]);
      }
    });
    return Status();
  });
}

Status RgbToHsv(OpContext& ctx) {
  return EachPixel(ctx, 10, [](auto* c) { ToHsv(c); });
}

Status HsvToRgb(OpContext& ctx) {
  return EachPixel(ctx, 6, [](auto* c) { ToRgb(c); });
}

// Turns the hue of `c` by `turn` sixths of the circle, leaving the largest and smallest channel.
template <class F>
void TurnHue(float turn, F* c) {
  const F largest = std::max({c[0], c[1], c[2]}), smallest = std::min({c[0], c[1], c[2]});
  ToHsv(c);
  F h = F(6) * c[0] + turn;
  h -= F(6) * std::floor(h / F(6));
  const int sixth = std::isfinite(h) ? std::clamp(static_cast<int>(h), 0, 5) : 0;
  const F ratio = h - static_cast<F>(sixth);
  const F middle = smallest + (sixth % 2 == 0 ? ratio : F(1) - ratio) * (largest - smallest);
  // Which channel is the largest, middle and smallest in each sixth.
  static constexpr int kOrder[6][3] = {{0, 1, 2}, {1, 0, 2}, {1, 2, 0},
                                       {2, 1, 0}, {2, 0, 1}, {0, 2, 1}};
  c[kOrder[sixth][0]] = largest;
  c[kOrder[sixth][1]] = middle;
  c[kOrder[sixth][2]] = smallest;
}

Status AdjustHue(OpContext& ctx) {
  const float turn = *ctx.in<float>(1) * 6.0f;
  return EachPixel(ctx, 15, [turn](auto* c) { TurnHue(turn, c); });
}

Status AdjustSaturation(OpContext& ctx) {
  const float scale = *ctx.in<float>(1);
  return EachPixel(ctx, 16, [scale](auto* c) {
    using F = std::decay_t<decltype(*c)>;
    ToHsv(c);
    c[1] = std::min(F(1), std::max(F(0), c[1] * scale));
    ToRgb(c);
  });
}

// --------------------------------------------------------------------------------------- contrast

Status ContrastShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 3));
  for (int i = 1; i < ctx.num_inputs(); ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 0));
  ctx.set_output(0, ctx.input(0));
  return Status();
}

// Moves every channel of every image away from its mean, within [low, high].
template <class In, class Out>
void Contrast(const OpContext& ctx, const Shape& shape, float factor, float low, float high,
              const In* in, Out* out) {
  const int rank = shape.rank();
  const int64_t c = shape[rank - 1], pixels = shape[rank - 3] * shape[rank - 2];
  const double cost = 2.0 * static_cast<double>(pixels * c);
  ctx.ParallelFor(shape.Product(0, rank - 3), cost, [&](int64_t begin, int64_t end) {
    // As many pixels at once as make a row that is worth vectors.
    const int64_t row = c * std::max<int64_t>(1, 48 / c), size = pixels * c;
    std::vector<double> sums(row);
    std::vector<float> means(row);
    for (int64_t image = begin; image < end; ++image) {
      const In* x = in + image * size;
      Out* y = out + image * size;
      std::fill(sums.begin(), sums.end(), 0.0);
      for (int64_t i = 0; i < size; i += row) {
        const int64_t n = std::min(row, size - i);
        double* sum = sums.data();
#pragma GCC ivdep
        for (int64_t k = 0; k < n; ++k) sum[k] += static_cast<double>(x[i + k]);
      }
      for (int64_t k = c; k < row; ++k) sums[k % c] += sums[k];
      for (int64_t k = 0; k < row; ++k) {
        means[k] = static_cast<float>(sums[k % c] / static_cast<double>(pixels));
      }
      for (int64_t i = 0; i < size; i += row) {
        const int64_t n = std::min(row, size - i);
        const float* mean = means.data();
#pragma GCC ivdep
        for (int64_t k = 0; k < n; ++k) {
          const float v = mean[k] + (static_cast<float>(x[i + k]) - mean[k]) * factor;
          y[i + k] = Out(std::min(std::max(v, low), high));
        }
      }
    }
  });
}

Status AdjustContrast(OpContext& ctx) {
  if (ctx.input(0).num_elements() == 0) return Status();
  const float factor = *ctx.in<float>(1), low = *ctx.in<float>(2), high = *ctx.in<float>(3);
  return VisitDType<kReals>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    Contrast(ctx, ctx.input(0).shape(), factor, low, high, ctx.in<T>(0), ctx.out<float>(0));
    return Status();
  });
}

Status AdjustContrastV2(OpContext& ctx) {
  if (ctx.input(0).num_elements() == 0) return Status();
  const float factor = *ctx.in<float>(1), infinity = INFINITY;
  return VisitDType<kFloats>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    Contrast(ctx, ctx.input(0).shape(), factor, -infinity, infinity, ctx.in<T>(0), ctx.out<T>(0));
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "AdjustContrast(images: T, contrast_factor: float, min_value: float, "
                  "max_value: float) -> (output: float); "
                  "T: {uint8,int8,int16,int32,int64,float,double}",
     .shape = ContrastShape,
     .build = BuildPlain<AdjustContrast>},
    {.signature = "AdjustContrastv2(images: T, contrast_factor: float) -> (output: T); "
                  "T: {half,float} = float",
     .shape = ContrastShape,
     .build = BuildPlain<AdjustContrastV2>},
    {.signature = "AdjustHue(images: T, delta: float) -> (output: T); T: {half,float} = float",
     .shape = ColourShape<3>,
     .build = BuildPlain<AdjustHue>},
    {.signature = "AdjustSaturation(images: T, scale: float) -> (output: T); "
                  "T: {half,float} = float",
     .shape = ColourShape<3>,
     .build = BuildPlain<AdjustSaturation>},
    {.signature = "HSVToRGB(images: T) -> (output: T); T: {half,bfloat16,float,double} = float",
     .shape = ColourShape<1>,
     .build = BuildPlain<HsvToRgb>},
    {.signature = "RGBToHSV(images: T) -> (output: T); T: {half,bfloat16,float,double} = float",
     .shape = ColourShape<1>,
     .build = BuildPlain<RgbToHsv>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ColourOps() { return kOps; }

}  // namespace savedmodel
