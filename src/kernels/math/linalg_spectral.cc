// Eigenvalues and eigenvectors.
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/linalg.h"
#include "src/kernels/math/linalg_eigen.h"
#include "src/kernels/math/math_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

constexpr char kNotSuccessful[] =
    "Eigen decomposition was not successful. The input might not be valid.";

// Eigenvalues [.., n], and eigenvectors [.., n, n] or, when not asked for, [0].
Status EigenShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(CheckSquareMatrices(ctx, 0));
  const Shape& in = ctx.input(0);
  if (!in.known_rank()) return Status();
  ctx.set_output(0, in.WithRemoved(in.rank() - 1));
  ctx.set_output(1, ctx.attrs().Bool("compute_v") ? in : Shape({0}));
  return Status();
}

// The lower triangle decides.
template <class T>
Status SolveSelfAdjoint(const Matrix<T>& matrix, bool vectors, Matrix<T>* e, Matrix<T>* v) {
  const Eigen::SelfAdjointEigenSolver<Matrix<T>> solver(
      matrix, vectors ? Eigen::ComputeEigenvectors : Eigen::EigenvaluesOnly);
  SM_CHECK_ARG(solver.info() == Eigen::Success, kNotSuccessful);
  *e = solver.eigenvalues().template cast<T>();
  if (vectors) *v = solver.eigenvectors();
  return Status();
}

StatusOr<KernelPtr> BuildSelfAdjointEig(BuildContext& build) {
  const bool vectors = build.attrs().Bool("compute_v");
  return MakeKernel([vectors](OpContext& ctx) {
    const MatrixBatch m(ctx.input(0).shape());
    return VisitLinalg(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      return ForEachMatrix(ctx, m.count, 10 * CubicCost(m.rows), [&](int64_t i) -> Status {
        if (m.rows == 0) return Status();
        Matrix<T> e, v;
        SM_RETURN_IF_ERROR(SolveSelfAdjoint<T>(LoadMatrix<T>(ctx.input(0), m, i), vectors, &e, &v));
        StoreMatrix<T>(e, ctx.output(0), i * m.rows);
        if (vectors) StoreMatrix<T>(v, ctx.output(1), i * m.size());
        return Status();
      });
    });
  });
}

// Version 1: one output [.., n + 1, n], the eigenvalues above the eigenvectors.
Status SelfAdjointEigV1Shape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(CheckSquareMatrices(ctx, 0));
  const Shape& in = ctx.input(0);
  if (!in.known_rank()) return Status();
  const int64_t n = in[in.rank() - 1];
  ctx.set_output(0, in.WithDim(in.rank() - 2, n < 0 ? -1 : n + 1));
  return Status();
}

Status RunSelfAdjointEigV1(OpContext& ctx) {
  const MatrixBatch m(ctx.input(0).shape());
  return ForEachMatrix(ctx, m.count, 10 * CubicCost(m.rows), [&](int64_t i) -> Status {
    if (m.rows == 0) return Status();
    Matrix<double> e, v;
    SM_RETURN_IF_ERROR(
        SolveSelfAdjoint<double>(LoadMatrix<double>(ctx.input(0), m, i), true, &e, &v));
    const int64_t at = i * (m.size() + m.rows);
    StoreMatrix<double>(e, ctx.output(0), at);
    StoreMatrix<double>(v, ctx.output(0), at + m.rows);
    return Status();
  });
}

// Eigenvalues of a real matrix come in conjugate pairs; makes it so beyond rounding.
void PairConjugates(Matrix<std::complex<double>>* e) {
  for (Eigen::Index i = 0; i < e->size(); ++i) {
    for (Eigen::Index j = i + 1; j < e->size(); ++j) {
      const std::complex<double> partner = std::conj((*e)(i));
      if (partner.imag() != 0 && std::abs((*e)(j)-partner) <= 1e-12 * std::abs(partner)) {
        (*e)(j) = partner;
      }
    }
  }
}

StatusOr<KernelPtr> BuildEig(BuildContext& build) {
  const bool vectors = build.attrs().Bool("compute_v");
  const DType in = build.input_dtype(0);
  const bool single = in == DType::kFloat || in == DType::kComplex64;
  SM_CHECK_ARG(single == (build.output_dtype(0) == DType::kComplex64), "found T ", in,
               " with Tout ", build.output_dtype(0), ", expected types of the same precision");
  const bool real = in == DType::kFloat || in == DType::kDouble;
  return MakeKernel([vectors, real](OpContext& ctx) {
    using C = std::complex<double>;
    const MatrixBatch m(ctx.input(0).shape());
    return ForEachMatrix(ctx, m.count, 30 * CubicCost(m.rows), [&](int64_t i) -> Status {
      if (m.rows == 0) return Status();
      const Matrix<C> matrix = LoadMatrix<C>(ctx.input(0), m, i);
      SM_CHECK_ARG(matrix.allFinite(), kNotSuccessful);
      const Eigen::ComplexEigenSolver<Matrix<C>> solver(matrix, vectors);
      SM_CHECK_ARG(solver.info() == Eigen::Success, kNotSuccessful);
      Matrix<C> e = solver.eigenvalues();
      if (real) PairConjugates(&e);
      StoreMatrix<C>(e, ctx.output(0), i * m.rows);
      if (vectors) StoreMatrix<C>(solver.eigenvectors(), ctx.output(1), i * m.size());
      return Status();
    });
  });
}

// Names that begin with Batch are those of graphs from before these ops took batches.
constexpr OpDef kOps[] = {
    {.signature = "BatchSelfAdjointEig(input: T) -> (output: T); T: {double,float}",
     .shape = SelfAdjointEigV1Shape,
     .build = BuildPlain<RunSelfAdjointEigV1>},
    {.signature = "BatchSelfAdjointEigV2(input: T) -> (e: T, v: T); compute_v: bool = true; "
                  "T: {double,float}",
     .shape = EigenShape,
     .build = BuildSelfAdjointEig},
    {.signature = "Eig(input: T) -> (e: Tout, v: Tout); compute_v: bool = true; T: {float,double,"
                  "complex64,complex128}; Tout: {complex64,complex128}",
     .shape = EigenShape,
     .build = BuildEig},
    {.signature = "SelfAdjointEig(input: T) -> (output: T); T: {double,float,half}",
     .shape = SelfAdjointEigV1Shape,
     .build = BuildPlain<RunSelfAdjointEigV1>},
    {.signature =
         "SelfAdjointEigV2(input: T) -> (e: T, v: T); compute_v: bool = true; T: {double,float,"
         "half,complex64,complex128}",
     .shape = EigenShape,
     .build = BuildSelfAdjointEig},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> LinalgSpectralOps() { return kOps; }

}  // namespace savedmodel
