#include "src/kernels/sparse/coo.h"

#include <algorithm>
#include <numeric>

#include "src/base/status_macros.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {

int CompareIndices(const int64_t* a, const int64_t* b, int64_t rank) {
  for (int64_t d = 0; d < rank; ++d) {
    if (a[d] != b[d]) return a[d] < b[d] ? -1 : 1;
  }
  return 0;
}

StatusOr<Shape> ShapeFromDims(const std::vector<int64_t>& dims) {
  for (const int64_t dim : dims) {
    SM_CHECK_ARG(dim >= 0, "found shape ", dims, ", expected dimensions >= 0");
  }
  return Shape::Make(dims);
}

StatusOr<Coo> ReadCoo(OpContext& ctx, int indices_input, int values_input, int shape_input) {
  const Shape& indices = ctx.input(indices_input).shape();
  const Shape& values = ctx.input(values_input).shape();
  const Shape& shape = ctx.input(shape_input).shape();
  SM_CHECK_ARG(indices.rank() == 2 && values.rank() == 1 && shape.rank() == 1 &&
                   indices.dim(0) == values.dim(0) && indices.dim(1) == shape.dim(0),
               "sparse tensor: found indices ", indices, ", values ", values, ", shape ", shape,
               ", expected [n,rank], [n], [rank]");
  Coo coo;
  coo.indices = ctx.in<int64_t>(indices_input);
  coo.values = &ctx.input(values_input);
  coo.count = indices.dim(0);
  coo.dims = ctx.IntsInput(shape_input);
  SM_ASSIGN_OR_RETURN(coo.shape, ShapeFromDims(coo.dims));
  return coo;
}

Status Coo::CheckBounds() const {
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t d = 0; d < rank(); ++d) {
      const int64_t at = index(i)[d];
      SM_CHECK_ARG(at >= 0 && at < dims[static_cast<size_t>(d)], "indices[", i, "]: found ", at,
                   " in dimension ", d, ", out of bounds of shape ", shape);
    }
  }
  return Status();
}

std::vector<int64_t> Coo::SortedOrder() const {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  const auto less = [&](int64_t a, int64_t b) {
    return CompareIndices(index(a), index(b), rank()) < 0;
  };
  if (!std::is_sorted(order.begin(), order.end(), less)) {
    std::stable_sort(order.begin(), order.end(), less);
  }
  return order;
}

Status EmitGathered(OpContext& ctx, int output, const Tensor& from,
                    const std::vector<int64_t>& order) {
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(output, {static_cast<int64_t>(order.size())}));
  return VisitByElementSize(from.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* in = static_cast<const T*>(from.raw_data());
    T* out = static_cast<T*>(ctx.output(output).raw_mutable_data());
    for (size_t i = 0; i < order.size(); ++i) out[i] = in[order[i]];
    return Status();
  });
}

Status EmitInts(OpContext& ctx, int output, const Shape& shape,
                const std::vector<int64_t>& values) {
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(output, shape));
  std::copy(values.begin(), values.end(), ctx.out<int64_t>(output));
  return Status();
}

Status EmitInts(OpContext& ctx, int output, const std::vector<int64_t>& values) {
  return EmitInts(ctx, output, {static_cast<int64_t>(values.size())}, values);
}

Status ExpectCoo(ShapeContext& ctx, int first) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(first, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(first + 1, 1));
  return ctx.ExpectRank(first + 2, 1);
}

Status CooInputShape(ShapeContext& ctx) { return ExpectCoo(ctx, 0); }

StatusOr<int64_t> CheckedAxis(int64_t axis, int64_t rank) {
  SM_CHECK_ARG(axis >= -rank && axis < rank, "axis: found ", axis, ", expected [", -rank, ", ",
               rank, ")");
  return axis < 0 ? axis + rank : axis;
}

}  // namespace savedmodel
