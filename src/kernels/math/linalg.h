// What linear algebra ops share: shapes of batches of matrices, and iteration over them.
#pragma once

#include "savedmodel/op.h"

namespace savedmodel {

// The last two dimensions of a shape, and the number of matrices before them.
struct MatrixBatch {
  explicit MatrixBatch(const Shape& shape)
      : rows(shape[shape.rank() - 2]),
        columns(shape[shape.rank() - 1]),
        count(shape.Product(0, shape.rank() - 2)) {}
  int64_t size() const { return rows * columns; }
  int64_t rows;
  int64_t columns;
  int64_t count;
};

// INVALID_ARGUMENT unless input `i` is a batch of matrices, in the second case of square ones.
Status CheckMatrices(const ShapeContext& ctx, int i);
Status CheckSquareMatrices(const ShapeContext& ctx, int i);

// Output 0 has the shape of input 0, a batch of square matrices.
Status SquareMatrixShape(ShapeContext& ctx);

// Calls `fn(i)` for i in [0, n), several at once where worth it; `cost` is nanoseconds per call.
// Gives the first failure by index; running out of memory is RESOURCE_EXHAUSTED.
Status ForEachMatrix(OpContext& ctx, int64_t n, double cost, FunctionRef<Status(int64_t)> fn);

}  // namespace savedmodel
