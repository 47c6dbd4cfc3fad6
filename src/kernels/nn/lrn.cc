// Local response normalisation.
#include <algorithm>
#include <limits>
#include <vector>

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

// y = x * (bias + alpha * sum of squares of the channels within `radius`)^-beta, of pixels.
struct Lrn {
  int64_t channels, radius;
  float bias, alpha, beta;

  void operator()(const float* x, int64_t pixels, float* y) const {
    const VectorCode& code = Vectors();
    // Squares of some pixels, with zeros between them: sums over channels are of shifted rows.
    constexpr int64_t kFloats = 2048;  // which stay in the first cache level
    const int64_t most = std::clamp<int64_t>(kFloats / (channels + radius), 1, pixels);
    const int64_t step = channels + radius;
    AlignedVector<float> squares(most * step + 2 * radius), weights(most * step);
    std::vector<const float*> taps;
    for (int64_t t = 0; t <= 2 * radius; ++t) taps.push_back(squares.data() + t);
    for (int64_t n = 0; pixels > 0; pixels -= n) {
      n = std::min(most, pixels);
      for (int64_t p = 0; p < n; ++p) {
        code.map(ScalarOp::kSquare, 0, x + p * channels, squares.data() + radius + p * step,
                 channels);
      }
      float* const w = weights.data();
      code.pool_sum({.taps = taps.data(),
                     .num_taps = static_cast<int64_t>(taps.size()),
                     .channels = n * step,
                     .scale = alpha,
                     .y = w});
      const float power = -beta;
      const ArrayStep to_weights[] = {
          {.op = ScalarOp::kAdd, .x = w, .y = &bias, .y_step = 0, .result = w},
          {.op = ScalarOp::kLog, .x = w, .result = w},
          {.op = ScalarOp::kMul, .x = w, .y = &power, .y_step = 0, .result = w},
          {.op = ScalarOp::kExp, .x = w, .result = w}};
      code.run_steps(to_weights, 4, n * step);
      for (int64_t p = 0; p < n; ++p, x += channels, y += channels) {
        const ArrayStep weigh = {.op = ScalarOp::kMul, .x = x, .y = w + p * step, .result = y};
        code.run_steps(&weigh, 1, channels);
      }
    }
  }
};

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
    const Lrn lrn{channels, std::min(radius, channels - 1), bias, alpha, beta};
    return RunAsPlain(ctx, false, 0, 0, [&](const Tensor& x, const Tensor&, Tensor* y) {
      const float* from = x.data<float>();
      float* to = static_cast<float*>(y->raw_mutable_data());
      ctx.ParallelFor(shape.num_elements() / channels, 2.0 * static_cast<double>(channels),
                      [&](int64_t begin, int64_t end) {
                        lrn(from + begin * channels, end - begin, to + begin * channels);
                      });
      return Status();
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature = "LRN(input: T) -> (output: T); depth_radius: int = 5; bias: float = 1.0; "
                  "alpha: float = 1.0; beta: float = 0.5; T: {half,bfloat16,float} = float",
     .shape = LrnShape,
     .build = BuildLrn},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> LrnOps() { return kOps; }

}  // namespace savedmodel
