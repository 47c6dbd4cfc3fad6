// Local response normalisation.
#include <algorithm>
#include <limits>

#include "src/base/aligned_vector.h"
#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/spatial.h"

namespace savedmodel {
namespace {

Status LrnShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  ctx.set_output(0, ctx.input(0));
  return Status();
}

void NormalizePixels(ChannelNormArgs args, const float* x, int64_t pixels, float* y) {
  constexpr int64_t kFloats = 2048;  // squares that stay in the first cache level
  const int64_t step = args.channels + args.radius;
  const int64_t most = std::clamp<int64_t>(kFloats / step, 1, pixels);
  AlignedVector<float> squares(most * step + args.radius);
  args.squares = squares.data();
  for (int64_t n = 0; pixels > 0; pixels -= n, x += n * args.channels, y += n * args.channels) {
    n = std::min(most, pixels);
    Vectors().normalize_channels(args, x, n, y);
  }
}

StatusOr<KernelPtr> BuildLrn(BuildContext& build) {
  const int64_t radius = build.attrs().Int("depth_radius");
  SM_CHECK_ARG(radius >= 0 && radius <= std::numeric_limits<int32_t>::max(), "found depth_radius ",
               radius, ", expected a non-negative int32");
  const float bias = build.attrs().Float("bias"), alpha = build.attrs().Float("alpha"),
              beta = build.attrs().Float("beta");
  return MakeKernel([=](OpContext& ctx) -> Status {
    const Shape& shape = ctx.input(0).shape();
    if (shape.num_elements() == 0) return Status();
    const int64_t channels = shape[3];
    const ChannelNormArgs args{channels, std::min(radius, channels - 1), bias, alpha, beta};
    return RunAsPlain(ctx, false, 0, 0, [&](const Tensor& x, const Tensor&, Tensor* y) {
      const float* from = x.data<float>();
      float* to = static_cast<float*>(y->raw_mutable_data());
      ctx.ParallelFor(shape.num_elements() / channels, 2.0 * static_cast<double>(channels),
                      [&](int64_t begin, int64_t end) {
                        NormalizePixels(args, from + begin * channels, end - begin,
                                        to + begin * channels);
                      });
      return Status();
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature = "LRN(input: T) -> (output: T); depth_radius: int = 5; bias: float = 1.0; "
                  "alpha: float = 1.0; beta: float = 0.5; T: {half,bfloat16,float} = float",
     .shape = LrnShape,
     .build = BuildLrn,
     .per_example = true},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> LrnOps() { return kOps; }

}  // namespace savedmodel
