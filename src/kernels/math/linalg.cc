#include "src/kernels/math/linalg.h"

#include <mutex>
#include <new>

#include "src/base/status_macros.h"

namespace savedmodel {

Status CheckMatrices(const ShapeContext& ctx, int i) {
  const Shape& in = ctx.input(i);
  SM_CHECK_ARG(!in.known_rank() || in.rank() >= 2, "Input ", i,
               " must have rank >= 2 (matrices), found shape ", in);
  return Status();
}

Status CheckSquareMatrices(const ShapeContext& ctx, int i) {
  SM_RETURN_IF_ERROR(CheckMatrices(ctx, i));
  const Shape& in = ctx.input(i);
  if (!in.known_rank()) return Status();
  const int64_t rows = in[in.rank() - 2], columns = in[in.rank() - 1];
  SM_CHECK_ARG(rows == columns || rows == -1 || columns == -1,
               "Input matrix must be square, found shape ", in);
  return Status();
}

Status SquareMatrixShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(CheckSquareMatrices(ctx, 0));
  ctx.set_output(0, ctx.input(0));
  return Status();
}

Status ForEachMatrix(OpContext& ctx, int64_t n, double cost, FunctionRef<Status(int64_t)> fn) {
  std::mutex mutex;
  int64_t failed = n;
  Status failure;
  ctx.ParallelFor(n, cost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Status status = ctx.CheckInterrupt();
      try {
        if (status.ok()) status = fn(i);
      } catch (const std::bad_alloc&) {
        status = ResourceExhausted("no memory for a matrix decomposition");
      }
      if (status.ok()) continue;
      std::lock_guard<std::mutex> lock(mutex);
      if (i < failed) {
        failed = i;
        failure = std::move(status);
      }
      return;
    }
  });
  return failure;
}

}  // namespace savedmodel
