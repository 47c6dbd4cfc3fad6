// ScaleAndTranslate: images resampled with a kernel, wide enough to smooth when they shrink.
#include <algorithm>
#include <cmath>
#include <limits>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/image/image_ops.h"
#include "src/kernels/image/resize.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

struct SamplingKernel {
  float radius;
  float (*value)(float x);  // x >= 0
};

template <int radius>
float Lanczos(float x) {
  constexpr float kPi = 3.14159265359f;
  if (x > radius) return 0;
  if (x <= 1e-3f) return 1;
  return radius * std::sin(kPi * x) * std::sin(kPi * x / radius) / (kPi * kPi * x * x);
}
float Gaussian(float x) { return x >= 1.5f ? 0 : std::exp(-x * x / (2 * 0.5f * 0.5f)); }
float Box(float x) { return x < 0.5f ? 1.0f : x == 0.5f ? 0.5f : 0.0f; }
float Triangle(float x) { return x < 1 ? 1 - x : 0; }
float KeysCubic(float x) {
  if (x >= 2) return 0;
  if (x >= 1) return ((-0.5f * x + 2.5f) * x - 4) * x + 2;
  return ((1.5f * x - 2.5f) * x) * x + 1;
}
float MitchellCubic(float x) {
  if (x >= 2) return 0;
  if (x >= 1) return (((-7.0f / 18) * x + 2) * x - 10.0f / 3) * x + 16.0f / 9;
  return (((7.0f / 6) * x - 2) * x) * x + 8.0f / 9;
}

StatusOr<SamplingKernel> KernelNamed(const std::string& name) {
  if (name == "lanczos1") return SamplingKernel{1, Lanczos<1>};
  if (name == "lanczos3") return SamplingKernel{3, Lanczos<3>};
  if (name == "lanczos5") return SamplingKernel{5, Lanczos<5>};
  if (name == "gaussian") return SamplingKernel{1.5f, Gaussian};
  if (name == "box") return SamplingKernel{1, Box};
  if (name == "triangle") return SamplingKernel{1, Triangle};
  if (name == "keyscubic") return SamplingKernel{2, KeysCubic};
  if (name == "mitchellcubic") return SamplingKernel{2, MitchellCubic};
  return InvalidArgument("kernel_type is ", name, ", expected lanczos1, lanczos3, lanczos5, ",
                         "gaussian, box, triangle, keyscubic or mitchellcubic");
}

// Output position i is the weighted sum of inputs from first[i] on; `width` weights for each.
struct Spans {
  int64_t width = 0;
  std::vector<int64_t> first, size;
  std::vector<float> weight;
};

StatusOr<Spans> MakeSpans(const SamplingKernel& kernel, int64_t in, int64_t out, float scale,
                          float translation, bool antialias) {
  const float inverse = 1.0f / scale, shift = -inverse * translation;
  const float stretch = antialias ? std::max(inverse, 1.0f) : 1.0f;
  const float reach = kernel.radius * stretch;
  Spans spans;
  spans.width =
      std::min<int64_t>(in, 2 * static_cast<int64_t>(std::ceil(std::min(reach, 1e9f))) + 1);
  int64_t total = 0;
  SM_CHECK_ARG(!__builtin_mul_overflow(spans.width, out, &total) && total < (int64_t{1} << 31),
               "resampling ", in, " positions to ", out, " takes too many weights");
  spans.first.resize(out);
  spans.size.resize(out);
  spans.weight.resize(total);
  for (int64_t i = 0; i < out; ++i) {
    const float at = (static_cast<float>(i) + 0.5f) * inverse + shift;
    if (!(at >= 0 && at <= static_cast<float>(in))) continue;  // outside: no inputs
    const auto inside = [&](float x) {
      return static_cast<int64_t>(std::clamp(x, 0.0f, static_cast<float>(in - 1)));
    };
    const int64_t begin = inside(std::ceil(at - reach - 0.5f));
    const int64_t end = std::min(inside(std::floor(at + reach - 0.5f)) + 1, begin + spans.width);
    float* weight = spans.weight.data() + i * spans.width;
    float sum = 0;
    for (int64_t p = begin; p < end; ++p) {
      weight[p - begin] = kernel.value(std::abs((static_cast<float>(p) + 0.5f - at) / stretch));
      sum += weight[p - begin];
    }
    spans.first[i] = begin;
    if (std::abs(sum) < 1000 * std::numeric_limits<float>::min()) continue;
    spans.size[i] = end - begin;
    for (int64_t k = 0; k < end - begin; ++k) weight[k] *= 1.0f / sum;
  }
  return spans;
}

// One output row: input rows are weighed together first, then columns.
template <class T>
void ResampleRow(const T* image, const ResizeDims& d, const Spans& ys, const Spans& xs, int64_t y,
                 float* column, float* out) {
  const int64_t c = d.channels, in_row = d.in_width * c;
  std::fill_n(column, in_row, 0.0f);
  for (int64_t j = 0; j < ys.size[y]; ++j) {
    const float weight = ys.weight[y * ys.width + j];
    const T* row = image + (ys.first[y] + j) * in_row;
    for (int64_t i = 0; i < in_row; ++i) column[i] += static_cast<float>(row[i]) * weight;
  }
  std::fill_n(out, d.out_width * c, 0.0f);
  for (int64_t x = 0; x < d.out_width; ++x, out += c) {
    for (int64_t j = 0; j < xs.size[x]; ++j) {
      const float weight = xs.weight[x * xs.width + j];
      const float* from = column + (xs.first[x] + j) * c;
      for (int64_t k = 0; k < c; ++k) out[k] += from[k] * weight;
    }
  }
}

Status ScaleShape(ShapeContext& ctx) {
  for (int i = 2; i <= 3; ++i) {
    SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 1));
    SM_CHECK_ARG(!ctx.input(i).fully_known() || ctx.input(i)[0] == 2, "input ", i, " has shape ",
                 ctx.input(i), ", expected [2]");
  }
  return ResizeShape(ctx);
}

StatusOr<KernelPtr> BuildScaleAndTranslate(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const SamplingKernel kernel,
                      KernelNamed(build.attrs().String("kernel_type")));
  const bool antialias = build.attrs().Bool("antialias");
  return MakeKernel([kernel, antialias](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const ResizeDims d, ReadResizeDims(ctx));
    const float *scale = ctx.in<float>(2), *translation = ctx.in<float>(3);
    SM_CHECK_ARG(scale[0] > 0 && scale[1] > 0, "scale is ", scale[0], " and ", scale[1],
                 ", expected factors above 0");
    if (ctx.output(0).num_elements() == 0) return Status();
    SM_ASSIGN_OR_RETURN(const Spans ys, MakeSpans(kernel, d.in_height, d.out_height, scale[0],
                                                  translation[0], antialias));
    SM_ASSIGN_OR_RETURN(const Spans xs, MakeSpans(kernel, d.in_width, d.out_width, scale[1],
                                                  translation[1], antialias));
    const double cost = static_cast<double>(d.channels) *
                        static_cast<double>(d.in_width * ys.width + d.out_width * xs.width);
    return VisitDType<kReals>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T* in = ctx.in<T>(0);
      float* out = ctx.out<float>(0);
      ctx.ParallelFor(d.batch * d.out_height, cost, [&](int64_t begin, int64_t end) {
        std::vector<float> column(d.in_width * d.channels);
        for (int64_t r = begin; r < end; ++r) {
          const T* image = in + r / d.out_height * d.in_height * d.in_width * d.channels;
          ResampleRow(image, d, ys, xs, r % d.out_height, column.data(),
                      out + r * d.out_width * d.channels);
        }
      });
      return Status();
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature = "ScaleAndTranslate(images: T, size: int32, scale: float, translation: float) -> "
                  "(resized_images: float); T: {int8,uint8,int16,uint16,int32,int64,bfloat16,"
                  "half,float,double}; kernel_type: string = 'lanczos3'; antialias: bool = true",
     .shape = ScaleShape,
     .build = BuildScaleAndTranslate},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ScaleAndTranslateOps() { return kOps; }

}  // namespace savedmodel
