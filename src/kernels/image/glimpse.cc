// Glimpses: windows of images that may reach outside of them.
#include <algorithm>
#include <cmath>
#include <random>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/image/image_ops.h"
#include "src/kernels/image/output_shape.h"

namespace savedmodel {
namespace {

Status GlimpseShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 2));
  const Shape &in = ctx.input(0), &offsets = ctx.input(2);
  SM_CHECK_ARG(!offsets.fully_known() || offsets[1] == 2, "offsets have shape ", offsets,
               ", expected [batch, 2]");
  SM_CHECK_ARG(!offsets.fully_known() || !in.fully_known() || offsets[0] == in[0],
               "input and offsets have shapes ", in, " and ", offsets, ", expected equal batches");
  const bool known = in.known_rank();
  return SetImageOutput(ctx, known ? in[0] : -1, known ? in[3] : -1, 1, "size");
}

enum class Noise { kZero, kUniform, kGaussian };

struct GlimpseOptions {
  bool centered = true, normalized = true, version2 = false;
  Noise noise = Noise::kZero;
};

// Where the window of `glimpse` positions begins in a dimension of `size`. Version 1 takes offsets
// as the window's middle always, and from -size to size around the image's middle when centred.
int64_t GlimpseStart(float offset, int64_t size, int64_t glimpse, const GlimpseOptions& o) {
  const float n = static_cast<float>(size), window = static_cast<float>(glimpse);
  float at = o.normalized ? offset * n : offset;
  if (!o.version2) {
    if (o.centered) at = at / 2.0f + n / 2.0f;
    at -= window / 2.0f;
  } else if (o.centered) {
    at = o.normalized ? at / 2.0f + n / 2.0f - window / 2.0f : at + n / 2.0f;
  }
  constexpr float kFar = 1e15f;
  return std::isfinite(at) ? static_cast<int64_t>(std::clamp(at, -kFar, kFar)) : size;
}

// What lies outside of the image.
class NoiseSource {
 public:
  explicit NoiseSource(Noise noise) : noise_(noise) {
    if (noise != Noise::kZero) generator_.seed(std::random_device()());
  }
  float Draw() {
    if (noise_ == Noise::kUniform) return std::uniform_real_distribution<float>()(generator_);
    if (noise_ == Noise::kGaussian) return std::normal_distribution<float>()(generator_);
    return 0;
  }

 private:
  Noise noise_;
  std::mt19937 generator_;
};

Status RunGlimpse(OpContext& ctx, const GlimpseOptions& options) {
  const Shape &in = ctx.input(0).shape(), &out = ctx.output(0).shape();
  const float *from = ctx.in<float>(0), *offsets = ctx.in<float>(2);
  float* to = ctx.out<float>(0);
  NoiseSource noise(options.noise);
  for (int64_t b = 0; b < in[0]; ++b) {
    const int64_t top = GlimpseStart(offsets[2 * b], in[1], out[1], options);
    const int64_t left = GlimpseStart(offsets[2 * b + 1], in[2], out[2], options);
    for (int64_t y = top; y < top + out[1]; ++y) {
      for (int64_t x = left; x < left + out[2]; ++x, to += in[3]) {
        if (y >= 0 && y < in[1] && x >= 0 && x < in[2]) {
          std::copy_n(from + ((b * in[1] + y) * in[2] + x) * in[3], in[3], to);
        } else {
          std::generate_n(to, in[3], [&] { return noise.Draw(); });
        }
      }
    }
  }
  return Status();
}

template <bool version2>
StatusOr<KernelPtr> BuildGlimpse(BuildContext& build) {
  const Attrs& attrs = build.attrs();
  const std::string& noise = attrs.String("noise");
  GlimpseOptions options = {attrs.Bool("centered"), attrs.Bool("normalized"), version2,
                            Noise::kZero};
  if (attrs.Bool("uniform_noise") && noise == "uniform") {
    options.noise = Noise::kUniform;
  } else if (noise == "gaussian") {
    options.noise = Noise::kGaussian;
  } else {
    SM_CHECK_ARG(noise == "zero" || noise == "uniform", "noise is ", noise,
                 ", expected uniform, gaussian or zero");
    if (noise == "uniform") options.noise = Noise::kGaussian;
  }
  return MakeKernel([options](OpContext& ctx) { return RunGlimpse(ctx, options); });
}

#define SM_GLIMPSE(name)                                                              \
  name "(input: float, size: int32, offsets: float) -> (glimpse: float); "            \
       "centered: bool = true; normalized: bool = true; uniform_noise: bool = true; " \
       "noise: string = 'uniform'"

constexpr OpDef kOps[] = {
    {.signature = SM_GLIMPSE("ExtractGlimpse"),
     .effects = Effects::kRandom,
     .shape = GlimpseShape,
     .build = BuildGlimpse<false>},
    {.signature = SM_GLIMPSE("ExtractGlimpseV2"),
     .effects = Effects::kRandom,
     .shape = GlimpseShape,
     .build = BuildGlimpse<true>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> GlimpseOps() { return kOps; }

}  // namespace savedmodel
