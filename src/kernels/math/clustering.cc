// The nearest of a set of centres, as k-means models look for them.
#include <algorithm>
#include <utility>
#include <vector>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

Status NearestShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 0));
  const Shape &points = ctx.input(0), &centers = ctx.input(1);
  int64_t k = 0;
  const bool known =
      points.known_rank() && centers.known_rank() && centers[0] >= 0 && ctx.IntValue(2, &k);
  SM_CHECK_ARG(k >= 0, "k is ", k, ", expected at least 0");
  const Shape out = known ? Shape{points[0], std::min(k, centers[0])} : Shape::UnknownOfRank(2);
  ctx.set_output(0, out);
  ctx.set_output(1, out);
  return Status();
}

float HalfNorm(const float* x, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  return 0.5f * sum;
}

// Half a squared distance is that of the norms less the product. The point's norm, which is the
// same for all centres, is added to those that are chosen.
Status RunNearest(OpContext& ctx) {
  const Shape &points = ctx.input(0).shape(), &centers = ctx.input(1).shape();
  SM_CHECK_ARG(points[0] > 0 && points[1] == centers[1], "points have shape ", points, ", centers ",
               centers, ", expected points, and as many coordinates in both");
  const int64_t n = points[1], count = centers[0], k = ctx.output(0).shape()[1];
  const float *x = ctx.in<float>(0), *c = ctx.in<float>(1);
  std::vector<float> norms(count);
  for (int64_t j = 0; j < count; ++j) norms[j] = HalfNorm(c + j * n, n);
  const double cost = static_cast<double>(count) * static_cast<double>(n);
  ctx.ParallelFor(points[0], cost, [&](int64_t begin, int64_t end) {
    std::vector<std::pair<float, int64_t>> found(count);
    for (int64_t i = begin; i < end; ++i) {
      const float* point = x + i * n;
      for (int64_t j = 0; j < count; ++j) {
        float product = 0;
        for (int64_t d = 0; d < n; ++d) product += point[d] * c[j * n + d];
        found[j] = {norms[j] - product, j};
      }
      std::partial_sort(found.begin(), found.begin() + k, found.end());
      const float norm = HalfNorm(point, n);
      for (int64_t j = 0; j < k; ++j) {
        ctx.out<int64_t>(0)[i * k + j] = found[j].second;
        ctx.out<float>(1)[i * k + j] = 2.0f * (norm + found[j].first);
      }
    }
  });
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "NearestNeighbors(points: float, centers: float, k: int64) -> "
                  "(nearest_center_indices: int64, nearest_center_distances: float)",
     .shape = NearestShape,
     .build = BuildPlain<RunNearest>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ClusteringOps() { return kOps; }

}  // namespace savedmodel
