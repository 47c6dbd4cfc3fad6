// Softmax cross entropy with dense and sparse labels.
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

template <class T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

// Logits and labels [batch, classes], broadcast against each other.
Status DenseShape(ShapeContext& ctx) {
  StatusOr<Shape> both = shape::BroadcastShapes(ctx.input(0), ctx.input(1));
  SM_CHECK_ARG(both.ok(), "logits ", ctx.input(0), " and labels ", ctx.input(1),
               " must have the same size");
  SM_CHECK_ARG(!both->known_rank() || both->rank() == 2, "logits and labels have shapes ",
               ctx.input(0), " and ", ctx.input(1), ", expected matrices");
  ctx.set_output(0, both->known_rank() ? both->Slice(0, 1) : Shape::UnknownOfRank(1));
  ctx.set_output(1, *both);
  return Status();
}

// Strides by which a matrix of `shape` is read as one of the broadcast shape.
struct MatrixStrides {
  int64_t row, column;
};
MatrixStrides StridesOf(const Shape& shape) {
  const int64_t rows = shape.rank() < 2 ? 1 : shape[0];
  const int64_t columns = shape.rank() < 1 ? 1 : shape[shape.rank() - 1];
  return {rows == 1 ? 0 : columns, columns == 1 ? 0 : 1};
}

template <class T>
void DenseRow(const T* x, const T* label, int64_t x_step, int64_t label_step, int64_t classes,
              T* loss, T* gradient) {
  using W = Wide<T>;
  W largest = -std::numeric_limits<W>::infinity();
  for (int64_t c = 0; c < classes; ++c) largest = std::max(largest, W(x[c * x_step]));
  W sum = 0;
  for (int64_t c = 0; c < classes; ++c) sum += std::exp(W(x[c * x_step]) - largest);
  const W log_sum = std::log(sum);
  W total = 0;
  for (int64_t c = 0; c < classes; ++c) {
    const W shifted = W(x[c * x_step]) - largest, y = W(label[c * label_step]);
    // 0 * infinity counts as 0: a class of no weight adds no loss.
    if (y != 0) total += y * (log_sum - shifted);
    gradient[c] = T(std::exp(shifted) / sum - y);
  }
  *loss = T(total);
}

Status RunDense(OpContext& ctx) {
  const Shape& shape = ctx.output(1).shape();
  if (ctx.output(0).num_elements() == 0) return Status();
  const int64_t classes = shape[1];
  const MatrixStrides x = StridesOf(ctx.input(0).shape()), y = StridesOf(ctx.input(1).shape());
  return VisitDType<kFloats>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    for (int64_t r = 0; r < shape[0]; ++r) {
      DenseRow(ctx.in<T>(0) + r * x.row, ctx.in<T>(1) + r * y.row, x.column, y.column, classes,
               ctx.out<T>(0) + r, ctx.out<T>(1) + r * classes);
    }
    return Status();
  });
}

Status SparseShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  const Shape &x = ctx.input(0), &labels = ctx.input(1);
  if (x.known_rank() && labels.known_rank()) {
    SM_CHECK_ARG(x[0] == -1 || labels[0] == -1 || x[0] == labels[0], "logits ", x, " and labels ",
                 labels, " must have the same first dimension");
    SM_CHECK_ARG(x[1] != 0, "logits ", x, " must have at least one class");
  }
  ctx.set_output(0, labels);
  ctx.set_output(1, x);
  return Status();
}

Status RunSparse(OpContext& ctx) {
  const Shape& shape = ctx.input(0).shape();
  const int64_t classes = shape[1];
  const std::vector<int64_t> labels = ctx.IntsInput(1);
  for (int64_t label : labels) {
    SM_CHECK_ARG(label >= 0 && label < classes, "found label ", label, ", expected labels in [0, ",
                 classes, ")");
  }
  return VisitDType<kFloats>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    using W = Wide<T>;
    for (int64_t r = 0; r < shape[0]; ++r) {
      const T* x = ctx.in<T>(0) + r * classes;
      T* gradient = ctx.out<T>(1) + r * classes;
      W largest = -std::numeric_limits<W>::infinity();
      for (int64_t c = 0; c < classes; ++c) largest = std::max(largest, W(x[c]));
      W sum = 0;
      for (int64_t c = 0; c < classes; ++c) sum += std::exp(W(x[c]) - largest);
      const W target = W(x[labels[r]]);
      for (int64_t c = 0; c < classes; ++c) {
        gradient[c] = T(std::exp(W(x[c]) - largest) / sum - (c == labels[r] ? 1 : 0));
      }
      ctx.out<T>(0)[r] = T(std::log(sum) - (target - largest));
    }
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "SoftmaxCrossEntropyWithLogits(features: T, labels: T) -> (loss: T, "
                  "backprop: T); T: {half,bfloat16,float,double}",
     .shape = DenseShape,
     .build = BuildPlain<RunDense>},
    {.signature = "SparseSoftmaxCrossEntropyWithLogits(features: T, labels: Tlabels) -> "
                  "(loss: T, backprop: T); T: {half,bfloat16,float,double}; "
                  "Tlabels: {int32,int64} = int64",
     .shape = SparseShape,
     .build = BuildPlain<RunSparse>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> CrossEntropyOps() { return kOps; }

}  // namespace savedmodel
