// Inverses, determinants and solutions of linear systems.
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/broadcast.h"
#include "src/kernels/math/linalg.h"
#include "src/kernels/math/linalg_eigen.h"
#include "src/kernels/math/math_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// Matrix `i` of a batch, or its conjugate transpose.
template <class T>
Matrix<T> Load(const Tensor& t, const MatrixBatch& m, int64_t i, bool adjoint) {
  Matrix<T> matrix = LoadMatrix<T>(t, m, i);
  if (adjoint) matrix.adjointInPlace();
  return matrix;
}

StatusOr<KernelPtr> BuildInverse(BuildContext& build) {
  const bool adjoint = build.attrs().Bool("adjoint");
  return MakeKernel([adjoint](OpContext& ctx) {
    const MatrixBatch m(ctx.input(0).shape());
    return VisitLinalg(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      return ForEachMatrix(ctx, m.count, 3 * CubicCost(m.rows), [&](int64_t i) -> Status {
        if (m.rows == 0) return Status();
        const Eigen::PartialPivLU<Matrix<T>> lu(Load<T>(ctx.input(0), m, i, adjoint));
        SM_CHECK_ARG(!HasZeroOnDiagonal(lu.matrixLU()), "Input is not invertible.");
        StoreMatrix<T>(lu.inverse(), ctx.output(0), i * m.size());
        return Status();
      });
    });
  });
}

Status DeterminantShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(CheckSquareMatrices(ctx, 0));
  const Shape& in = ctx.input(0);
  if (!in.known_rank()) return Status();
  for (int i = 0; i < ctx.num_outputs(); ++i) ctx.set_output(i, in.Slice(0, in.rank() - 2));
  return Status();
}

// The determinant as sign (or phase) and logarithm of its absolute value.
template <class T>
struct SignAndLog {
  T sign = T(1);
  double log = 0;
};

template <class T>
SignAndLog<T> LogDeterminant(const Matrix<T>& matrix) {
  SignAndLog<T> result;
  if (matrix.rows() == 0) return result;
  const Eigen::PartialPivLU<Matrix<T>> lu(matrix);
  result.sign = T(static_cast<double>(lu.permutationP().determinant()));
  for (Eigen::Index i = 0; i < matrix.rows(); ++i) {
    const T pivot = lu.matrixLU()(i, i);
    const double size = std::abs(pivot);
    if (size == 0) return {T(0), -std::numeric_limits<double>::infinity()};
    result.sign *= pivot / size;
    result.log += std::log(size);
  }
  return result;
}

template <bool logarithm>
Status RunDeterminant(OpContext& ctx) {
  const MatrixBatch m(ctx.input(0).shape());
  return VisitLinalg(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const auto store = [&](const T& value, int output, int64_t i) {
      StoreMatrix<T>(Matrix<T>::Constant(1, 1, value), ctx.output(output), i);
    };
    return ForEachMatrix(ctx, m.count, CubicCost(m.rows), [&](int64_t i) -> Status {
      const SignAndLog<T> d = LogDeterminant<T>(LoadMatrix<T>(ctx.input(0), m, i));
      if (logarithm) {
        store(d.sign, 0, i);
        store(T(d.log), 1, i);
      } else {
        store(d.sign == T(0) ? T(0) : d.sign * std::exp(d.log), 0, i);
      }
      return Status();
    });
  });
}

// Output [batch, columns of the matrix, columns of the right side]; equal batches.
Status SolveShape(ShapeContext& ctx, bool square) {
  SM_RETURN_IF_ERROR(square ? CheckSquareMatrices(ctx, 0) : CheckMatrices(ctx, 0));
  SM_RETURN_IF_ERROR(CheckMatrices(ctx, 1));
  const Shape &a = ctx.input(0), &b = ctx.input(1);
  if (!a.known_rank() || !b.known_rank()) return Status();
  const int rank = a.rank();
  SM_CHECK_ARG(rank == b.rank() && a.Slice(0, rank - 2).CompatibleWith(b.Slice(0, rank - 2)),
               "All input tensors must have the same outer dimensions, found ", a, " and ", b);
  SM_CHECK_ARG(a.Slice(rank - 2, rank - 1).CompatibleWith(b.Slice(rank - 2, rank - 1)),
               "Input matrix and rhs are incompatible: ", a, " and ", b);
  ctx.set_output(0, b.WithDim(rank - 2, a[rank - 1]));
  return Status();
}
Status SquareSolveShape(ShapeContext& ctx) { return SolveShape(ctx, true); }

Status LeastSquaresShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 0));
  return SolveShape(ctx, false);
}

StatusOr<KernelPtr> BuildSolve(BuildContext& build) {
  const bool adjoint = build.attrs().Bool("adjoint");
  return MakeKernel([adjoint](OpContext& ctx) {
    const MatrixBatch m(ctx.input(0).shape()), r(ctx.input(1).shape());
    return VisitLinalg(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      return ForEachMatrix(ctx, m.count, CubicCost(m.rows), [&](int64_t i) -> Status {
        if (r.size() == 0) return Status();
        const Eigen::PartialPivLU<Matrix<T>> lu(Load<T>(ctx.input(0), m, i, adjoint));
        SM_CHECK_ARG(!HasZeroOnDiagonal(lu.matrixLU()), "Input matrix is not invertible.");
        StoreMatrix<T>(lu.solve(LoadMatrix<T>(ctx.input(1), r, i)), ctx.output(0), i * r.size());
        return Status();
      });
    });
  });
}

// Least squares by the normal equations of the smaller side.
template <class T>
StatusOr<Matrix<T>> SolveNormalEquations(const Matrix<T>& a, const Matrix<T>& b,
                                         double regularizer) {
  const bool tall = a.rows() >= a.cols();
  Matrix<T> gram = tall ? Matrix<T>(a.adjoint() * a) : Matrix<T>(a * a.adjoint());
  gram.diagonal().array() += T(regularizer);
  const Eigen::LLT<Matrix<T>> llt(gram);
  SM_CHECK_ARG(llt.info() == Eigen::Success,
               "Input matrix was rank deficient or ill-conditioned. Try setting fast=False or "
               "provide a larger l2_regularizer > 0.");
  if (tall) return Matrix<T>(llt.solve(Matrix<T>(a.adjoint() * b)));
  return Matrix<T>(a.adjoint() * Matrix<T>(llt.solve(b)));
}

StatusOr<KernelPtr> BuildLeastSquares(BuildContext& build) {
  const bool fast = build.attrs().Bool("fast");
  return MakeKernel([fast](OpContext& ctx) -> Status {
    const MatrixBatch m(ctx.input(0).shape()), r(ctx.input(1).shape());
    const double regularizer = *ctx.in<double>(2);
    SM_CHECK_ARG(regularizer >= 0, "l2_regularizer must be >= 0, found ", regularizer);
    const double cost = CubicCost(std::max(m.rows, m.columns));
    return VisitLinalg(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      return ForEachMatrix(ctx, m.count, cost, [&](int64_t i) -> Status {
        Matrix<T> x = Matrix<T>::Zero(m.columns, r.columns);
        if (m.size() > 0 && r.size() > 0) {
          const Matrix<T> a = LoadMatrix<T>(ctx.input(0), m, i);
          const Matrix<T> b = LoadMatrix<T>(ctx.input(1), r, i);
          if (fast) {
            SM_ASSIGN_OR_RETURN(x, SolveNormalEquations<T>(a, b, regularizer));
          } else {
            x = a.completeOrthogonalDecomposition().solve(b);
          }
        }
        StoreMatrix<T>(x, ctx.output(0), i * x.size());
        return Status();
      });
    });
  });
}

// Output [broadcast batch, rows, columns of the right side].
Status TriangularShape(ShapeContext& ctx, bool banded) {
  SM_RETURN_IF_ERROR(banded ? CheckMatrices(ctx, 0) : CheckSquareMatrices(ctx, 0));
  SM_RETURN_IF_ERROR(CheckMatrices(ctx, 1));
  const Shape &a = ctx.input(0), &b = ctx.input(1);
  if (!a.known_rank() || !b.known_rank()) return Status();
  const int64_t size = a[a.rank() - 1], rows = b[b.rank() - 2];
  SM_CHECK_ARG(size == rows || size == -1 || rows == -1,
               "Input matrix and rhs are incompatible: ", a, " and ", b);
  SM_CHECK_ARG(!banded || a[a.rank() - 2] != 0, "found a matrix ", a, " without bands");
  SM_ASSIGN_OR_RETURN(const Shape batch,
                      shape::BroadcastShapes(a.Slice(0, a.rank() - 2), b.Slice(0, b.rank() - 2)));
  if (!batch.known_rank()) return Status();
  ctx.set_output(0, batch.WithAppended(size == -1 ? rows : size).WithAppended(b[b.rank() - 1]));
  return Status();
}
Status TriangularSolveShape(ShapeContext& ctx) { return TriangularShape(ctx, false); }
Status BandedSolveShape(ShapeContext& ctx) { return TriangularShape(ctx, true); }

template <class T>
void SolveTriangular(const Matrix<T>& a, bool lower, bool adjoint, Matrix<T>& y) {
  if (lower && !adjoint) a.template triangularView<Eigen::Lower>().solveInPlace(y);
  if (!lower && !adjoint) a.template triangularView<Eigen::Upper>().solveInPlace(y);
  if (lower && adjoint) a.template triangularView<Eigen::Lower>().adjoint().solveInPlace(y);
  if (!lower && adjoint) a.template triangularView<Eigen::Upper>().adjoint().solveInPlace(y);
}

// The full matrix of `bands`: the diagonal is the first (lower) or last (upper) row, and element
// [k][i] lies in row i of the matrix.
template <class T>
Matrix<T> Unband(const Matrix<T>& bands, bool lower) {
  const int64_t n = bands.cols(), count = bands.rows();
  Matrix<T> full = Matrix<T>::Zero(n, n);
  for (int64_t k = 0; k < std::min(count, n); ++k) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t column = lower ? i - k : i + k;
      if (column >= 0 && column < n) full(i, column) = bands(lower ? k : count - 1 - k, i);
    }
  }
  return full;
}

// Row of the broadcast batch -> matrix and right side of each output.
std::vector<std::array<int64_t, 2>> BatchPairs(const Shape& a, const Shape& b, const Shape& out) {
  const Shape a_batch = a.Slice(0, a.rank() - 2), b_batch = b.Slice(0, b.rank() - 2);
  const Shape batch = out.Slice(0, out.rank() - 2);
  std::vector<std::array<int64_t, 2>> pairs(batch.num_elements());
  const BroadcastPlan plan = PlanBroadcast({&a_batch, &b_batch}, batch);
  ForEachRun(plan, 0, batch.num_elements(), [&](int64_t at, const auto& from, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      pairs[at + i] = {from[0] + i * plan.inner.step[0], from[1] + i * plan.inner.step[1]};
    }
  });
  return pairs;
}

template <bool banded>
StatusOr<KernelPtr> BuildTriangularSolve(BuildContext& build) {
  const bool lower = build.attrs().Bool("lower"), adjoint = build.attrs().Bool("adjoint");
  return MakeKernel([lower, adjoint](OpContext& ctx) -> Status {
    const Shape &a = ctx.input(0).shape(), &b = ctx.input(1).shape();
    const MatrixBatch m(a), r(b);
    if (ctx.output(0).num_elements() == 0) return Status();
    const auto pairs = BatchPairs(a, b, ctx.output(0).shape());
    const double cost = 50.0 + static_cast<double>(m.columns) * m.columns * r.columns;
    return VisitLinalg(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const int64_t n = static_cast<int64_t>(pairs.size());
      return ForEachMatrix(ctx, n, cost, [&](int64_t i) -> Status {
        Matrix<T> matrix = LoadMatrix<T>(ctx.input(0), m, pairs[i][0]);
        Matrix<T> x = LoadMatrix<T>(ctx.input(1), r, pairs[i][1]);
        if (banded) {
          matrix = Unband<T>(matrix, lower);
          SM_CHECK_ARG(!HasZeroOnDiagonal(matrix), "Input matrix is not invertible.");
        }
        SolveTriangular<T>(matrix, lower, adjoint, x);
        StoreMatrix<T>(x, ctx.output(0), i * r.size());
        return Status();
      });
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature = "BandedTriangularSolve(matrix: T, rhs: T) -> (output: T); lower: bool = true; "
                  "adjoint: bool = false; T: {double,float,half,complex64,complex128}",
     .shape = BandedSolveShape,
     .build = BuildTriangularSolve<true>},
    // Of graphs from before the ops without Batch took batches.
    {.signature = "BatchMatrixDeterminant(input: T) -> (output: T); T: {float,double,complex64,"
                  "complex128}",
     .shape = DeterminantShape,
     .build = BuildPlain<RunDeterminant<false>>},
    {.signature = "BatchMatrixInverse(input: T) -> (output: T); adjoint: bool = false; "
                  "T: {double,float}",
     .shape = SquareMatrixShape,
     .build = BuildInverse},
    {.signature = "BatchMatrixSolve(matrix: T, rhs: T) -> (output: T); adjoint: bool = false; "
                  "T: {double,float}",
     .shape = SquareSolveShape,
     .build = BuildSolve},
    {.signature = "BatchMatrixSolveLs(matrix: T, rhs: T, l2_regularizer: double) -> (output: T); "
                  "T: {double,float}; fast: bool = true",
     .shape = LeastSquaresShape,
     .build = BuildLeastSquares},
    {.signature = "BatchMatrixTriangularSolve(matrix: T, rhs: T) -> (output: T); "
                  "lower: bool = true; adjoint: bool = false; T: {double,float}",
     .shape = TriangularSolveShape,
     .build = BuildTriangularSolve<false>},
    {.signature =
         "LogMatrixDeterminant(input: T) -> (sign: T, log_abs_determinant: T); T: {half,float,"
         "double,complex64,complex128}",
     .shape = DeterminantShape,
     .build = BuildPlain<RunDeterminant<true>>},
    {.signature = "MatrixDeterminant(input: T) -> (output: T); T: {half,float,double,complex64,"
                  "complex128}",
     .shape = DeterminantShape,
     .build = BuildPlain<RunDeterminant<false>>},
    {.signature =
         "MatrixInverse(input: T) -> (output: T); adjoint: bool = false; T: {double,float,half,"
         "complex64,complex128}",
     .shape = SquareMatrixShape,
     .build = BuildInverse},
    {.signature =
         "MatrixSolve(matrix: T, rhs: T) -> (output: T); adjoint: bool = false; T: {double,"
         "float,half,complex64,complex128}",
     .shape = SquareSolveShape,
     .build = BuildSolve},
    {.signature =
         "MatrixSolveLs(matrix: T, rhs: T, l2_regularizer: double) -> (output: T); T: {double,"
         "float,half,complex64,complex128}; fast: bool = true",
     .shape = LeastSquaresShape,
     .build = BuildLeastSquares},
    {.signature = "MatrixTriangularSolve(matrix: T, rhs: T) -> (output: T); lower: bool = true; "
                  "adjoint: bool = false; T: {bfloat16,double,float,half,complex64,complex128}",
     .shape = TriangularSolveShape,
     .build = BuildTriangularSolve<false>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> LinalgSolveOps() { return kOps; }

}  // namespace savedmodel
