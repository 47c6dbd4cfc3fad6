// Sparse tensors as TensorFlow passes them: indices [n, rank], values [n], shape [rank].
#pragma once

#include <string>
#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// Three inputs (indices, values, shape) of an op, checked against each other. Indices may still be
// out of bounds. Views the inputs.
struct Coo {
  const int64_t* indices = nullptr;
  const Tensor* values = nullptr;
  int64_t count = 0;
  std::vector<int64_t> dims;
  Shape shape;  // `dims` as a shape; its element count has been checked for overflow

  int64_t rank() const { return static_cast<int64_t>(dims.size()); }
  const int64_t* index(int64_t i) const { return indices + i * rank(); }
  // INVALID_ARGUMENT naming the first index that lies outside the shape.
  Status CheckBounds() const;
  // Entry numbers in row-major order of their indices; equal indices keep their order.
  std::vector<int64_t> SortedOrder() const;
};

// INVALID_ARGUMENT where the three inputs do not fit together.
StatusOr<Coo> ReadCoo(OpContext& ctx, int indices_input, int values_input, int shape_input);
inline StatusOr<Coo> ReadCoo(OpContext& ctx, int first_input) {
  return ReadCoo(ctx, first_input, first_input + 1, first_input + 2);
}

// -1, 0 or 1 as index tuple `a` comes before, at or after `b` in row-major order.
int CompareIndices(const int64_t* a, const int64_t* b, int64_t rank);

// The shape with dimensions `dims`. INVALID_ARGUMENT for negative or too large ones.
StatusOr<Shape> ShapeFromDims(const std::vector<int64_t>& dims);

// Allocates output `output` and sets its element i to element order[i] of `from`.
Status EmitGathered(OpContext& ctx, int output, const Tensor& from,
                    const std::vector<int64_t>& order);

// Outputs `values` as an int64 tensor of `shape`.
Status EmitInts(OpContext& ctx, int output, const Shape& shape, const std::vector<int64_t>& values);
// A vector.
Status EmitInts(OpContext& ctx, int output, const std::vector<int64_t>& values);

// INVALID_ARGUMENT unless inputs [first, first + 3) have (or may have) ranks 2, 1, 1.
Status ExpectCoo(ShapeContext& ctx, int first);
// A ShapeFn for ops whose first three inputs are a sparse tensor; outputs stay unknown.
Status CooInputShape(ShapeContext& ctx);

// `axis` in [-rank, rank) made non-negative; INVALID_ARGUMENT otherwise.
StatusOr<int64_t> CheckedAxis(int64_t axis, int64_t rank);

}  // namespace savedmodel
