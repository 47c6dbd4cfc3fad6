// Cholesky, LU and QR factorisations.
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/linalg.h"
#include "src/kernels/math/linalg_eigen.h"
#include "src/kernels/math/math_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// The lower triangle L of input = L L^H; NaN where the input is not positive definite.
Status RunCholesky(OpContext& ctx) {
  const MatrixBatch m(ctx.input(0).shape());
  return VisitLinalg(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    return ForEachMatrix(ctx, m.count, CubicCost(m.rows), [&](int64_t i) -> Status {
      if (m.rows == 0) return Status();
      const Eigen::LLT<Matrix<T>> llt(LoadMatrix<T>(ctx.input(0), m, i));
      const bool succeeded = llt.info() == Eigen::Success;
      const Matrix<T> factor = succeeded ? llt.matrixLLT() : NanMatrix<T>(m.rows, m.rows);
      const Matrix<T> lower = factor.template triangularView<Eigen::Lower>();
      StoreMatrix<T>(lower, ctx.output(0), i * m.size());
      return Status();
    });
  });
}

Status LuShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(CheckSquareMatrices(ctx, 0));
  const Shape& in = ctx.input(0);
  ctx.set_output(0, in);
  if (in.known_rank()) ctx.set_output(1, in.WithRemoved(in.rank() - 1));
  return Status();
}

// Outputs L (below the diagonal, its own is 1) and U in one matrix, and the row order.
Status RunLu(OpContext& ctx) {
  const MatrixBatch m(ctx.input(0).shape());
  const auto store_order = [&](int64_t at, int64_t row) {
    if (ctx.output_dtype(1) == DType::kInt32) {
      ctx.out<int32_t>(1)[at] = static_cast<int32_t>(row);
    } else {
      ctx.out<int64_t>(1)[at] = row;
    }
  };
  return VisitLinalg(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    return ForEachMatrix(ctx, m.count, CubicCost(m.rows), [&](int64_t i) -> Status {
      if (m.rows == 0) return Status();
      const Eigen::PartialPivLU<Matrix<T>> lu(LoadMatrix<T>(ctx.input(0), m, i));
      SM_CHECK_ARG(!HasZeroOnDiagonal(lu.matrixLU()), "Input is not invertible.");
      StoreMatrix<T>(lu.matrixLU(), ctx.output(0), i * m.size());
      const auto& indices = lu.permutationP().indices();
      for (int64_t row = 0; row < m.rows; ++row) store_order(i * m.rows + indices[row], row);
      return Status();
    });
  });
}

Status QrShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(CheckMatrices(ctx, 0));
  const Shape& in = ctx.input(0);
  if (!in.known_rank()) return Status();
  const int row = in.rank() - 2, column = in.rank() - 1;
  if (ctx.attrs().Bool("full_matrices")) {
    ctx.set_output(0, in.WithDim(column, in[row]));
    ctx.set_output(1, in);
  } else {
    const int64_t least = in[row] < 0 || in[column] < 0 ? -1 : std::min(in[row], in[column]);
    ctx.set_output(0, in.WithDim(column, least));
    ctx.set_output(1, in.WithDim(row, least));
  }
  return Status();
}

Status RunQr(OpContext& ctx) {
  const MatrixBatch m(ctx.input(0).shape()), q(ctx.output(0).shape()), r(ctx.output(1).shape());
  const double cost = 3 * CubicCost(std::max(m.rows, m.columns));
  return VisitLinalg(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    return ForEachMatrix(ctx, m.count, cost, [&](int64_t i) -> Status {
      Matrix<T> q_value = Matrix<T>::Identity(q.rows, q.columns);
      Matrix<T> r_value = Matrix<T>::Zero(r.rows, r.columns);
      if (m.size() > 0) {
        const Eigen::HouseholderQR<Matrix<T>> qr(LoadMatrix<T>(ctx.input(0), m, i));
        q_value.applyOnTheLeft(qr.householderQ());
        r_value.template triangularView<Eigen::Upper>() = qr.matrixQR().topRows(r.rows);
      }
      StoreMatrix<T>(q_value, ctx.output(0), i * q.size());
      StoreMatrix<T>(r_value, ctx.output(1), i * r.size());
      return Status();
    });
  });
}

// BatchCholesky is of graphs from before Cholesky took batches.
constexpr OpDef kOps[] = {
    {.signature = "BatchCholesky(input: T) -> (output: T); T: {double,float}",
     .shape = SquareMatrixShape,
     .build = BuildPlain<RunCholesky>},
    {.signature = "Cholesky(input: T) -> (output: T); T: {double,float,half,complex64,complex128}",
     .shape = SquareMatrixShape,
     .build = BuildPlain<RunCholesky>},
    {.signature = "Lu(input: T) -> (lu: T, p: output_idx_type); T: {double,float,half,complex64,"
                  "complex128}; output_idx_type: {int32,int64} = int32",
     .shape = LuShape,
     .build = BuildPlain<RunLu>},
    {.signature =
         "Qr(input: T) -> (q: T, r: T); full_matrices: bool = false; T: {double,float,half,"
         "complex64,complex128}",
     .shape = QrShape,
     .build = BuildPlain<RunQr>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> LinalgFactorOps() { return kOps; }

}  // namespace savedmodel
