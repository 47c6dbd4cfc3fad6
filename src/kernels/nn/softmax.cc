// Softmax along the last dimension, its logarithm, and the L2 norm's half square.
#include <cmath>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/compute_type.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/small_floats.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// One row of `n` elements; `y` may be `x`.
void SoftmaxRow(const double* x, double* y, int64_t n, bool log) {
  double largest = -std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, x[i]);
  double sum = 0;
  if (log) {
    for (int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - largest);
    const double shift = std::log(sum);
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] - largest - shift;
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    y[i] = std::exp(x[i] - largest);
    sum += y[i];
  }
  const double scale = 1 / sum;
  for (int64_t i = 0; i < n; ++i) y[i] *= scale;
}

template <bool log>
Status RunSoftmax(OpContext& ctx) {
  const Shape& shape = ctx.input(0).shape();
  if (shape.num_elements() == 0) return Status();
  const int64_t columns = shape[shape.rank() - 1];
  return VisitDType<kFloats>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* x = ctx.in<T>(0);
    T* y = ctx.out<T>(0);
    if constexpr (std::is_same_v<T, float>) {
      ctx.ParallelFor(
          shape.num_elements() / columns, 1.0 * columns, [&](int64_t begin, int64_t end) {
            Vectors().softmax(x + begin * columns, y + begin * columns, end - begin, columns, log);
          });
      return Status();
    }
    if constexpr (kIsSmallFloat<T>) {
      ctx.ParallelFor(shape.num_elements() / columns, 1.5 * columns,
                      [&](int64_t begin, int64_t end) {
                        std::vector<float> row(static_cast<size_t>(columns));
                        for (int64_t r = begin; r < end; ++r) {
                          WidenToFloats(ctx.input(0).dtype(), x + r * columns, columns, row.data());
                          Vectors().softmax(row.data(), row.data(), 1, columns, log);
                          NarrowFloats(ctx.input(0).dtype(), row.data(), columns, y + r * columns);
                        }
                      });
      return Status();
    }
    if constexpr (std::is_same_v<T, double>) {
      ctx.ParallelFor(shape.num_elements() / columns, 3.0 * columns,
                      [&](int64_t begin, int64_t end) {
                        for (int64_t r = begin; r < end; ++r) {
                          SoftmaxRow(x + r * columns, y + r * columns, columns, log);
                        }
                      });
    }
    return Status();
  });
}

Status SoftmaxShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 1));
  ctx.set_output(0, ctx.input(0));
  return Status();
}

Status RunL2Loss(OpContext& ctx) {
  return VisitDType<kFloats>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* x = ctx.in<T>(0);
    const int64_t n = ctx.input(0).num_elements();
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    ctx.out<T>(0)[0] = T(sum / 2);
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "L2Loss(t: T) -> (output: T); T: {half,bfloat16,float,double}",
     .shape = shape::Scalar,
     .build = BuildPlain<RunL2Loss>},
    {.signature = "LogSoftmax(logits: T) -> (logsoftmax: T); T: {half,bfloat16,float,double}",
     .shape = SoftmaxShape,
     .build = BuildPlain<RunSoftmax<true>>,
     .in_place = InPlace::kInput0},
    {.signature = "Softmax(logits: T) -> (softmax: T); T: {half,bfloat16,float,double}",
     .shape = SoftmaxShape,
     .build = BuildPlain<RunSoftmax<false>>,
     .in_place = InPlace::kInput0,
     .per_example = true},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SoftmaxOps() { return kOps; }

}  // namespace savedmodel
