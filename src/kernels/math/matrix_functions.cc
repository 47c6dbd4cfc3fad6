// Exponential, logarithm and square root of matrices, computed as complex ones.
#include <Eigen/Eigenvalues>
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/linalg.h"
#include "src/kernels/math/linalg_eigen.h"
#include "src/kernels/math/math_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

using Complex = std::complex<double>;
using ComplexMatrix = Matrix<Complex>;

ComplexMatrix Identity(int64_t n) { return ComplexMatrix::Identity(n, n); }

// Largest sum of absolute values of a row.
double Norm(const ComplexMatrix& m) { return m.cwiseAbs().rowwise().sum().maxCoeff(); }

// e^(m / 2^s) by a diagonal Pade approximant, squared s times.
ComplexMatrix Exponential(const ComplexMatrix& m) {
  constexpr int kOrder = 8;
  const int squarings = std::max(0, std::ilogb(std::max(Norm(m), 1e-300)) + 2);
  const ComplexMatrix a = m * std::ldexp(1.0, -squarings);
  ComplexMatrix power = Identity(m.rows()), even = power,
                odd = ComplexMatrix::Zero(m.rows(), m.rows());
  double c = 1;
  for (int k = 1; k <= kOrder; ++k) {
    c *= static_cast<double>(kOrder - k + 1) / (k * (2 * kOrder - k + 1));
    power = a * power;
    (k % 2 == 0 ? even : odd) += c * power;
  }
  ComplexMatrix result = Eigen::PartialPivLU<ComplexMatrix>(even - odd).solve(even + odd);
  for (int i = 0; i < squarings; ++i) result = result * result;
  return result;
}

// The square root of an upper triangular matrix, diagonal by diagonal.
ComplexMatrix TriangularRoot(const ComplexMatrix& t) {
  const int64_t n = t.rows();
  ComplexMatrix root = ComplexMatrix::Zero(n, n);
  for (int64_t j = 0; j < n; ++j) {
    root(j, j) = std::sqrt(t(j, j));
    for (int64_t i = j - 1; i >= 0; --i) {
      Complex rest = t(i, j);
      for (int64_t k = i + 1; k < j; ++k) rest -= root(i, k) * root(k, j);
      root(i, j) = rest == Complex(0) ? Complex(0) : rest / (root(i, i) + root(j, j));
    }
  }
  return root;
}

ComplexMatrix SquareRoot(const ComplexMatrix& m) {
  const Eigen::ComplexSchur<ComplexMatrix> schur(m);
  return schur.matrixU() * TriangularRoot(schur.matrixT()) * schur.matrixU().adjoint();
}

// Nodes and weights of Gauss's quadrature on [0, 1].
struct Quadrature {
  static constexpr int kNodes = 10;
  double node[kNodes], weight[kNodes];
  Quadrature() {
    for (int i = 0; i < kNodes; ++i) {
      double x = std::cos(M_PI * (i + 0.75) / (kNodes + 0.5)), slope = 1;
      for (int step = 0; step < 20; ++step) {  // Newton on Legendre's polynomial
        double before = 1, value = x;
        for (int k = 2; k <= kNodes; ++k) {
          const double next = ((2 * k - 1) * x * value - (k - 1) * before) / k;
          before = value;
          value = next;
        }
        slope = kNodes * (x * value - before) / (x * x - 1);
        x -= value / slope;
      }
      node[i] = (1 - x) / 2;
      weight[i] = 1 / ((1 - x * x) * slope * slope);
    }
  }
};

// ln(T) = 2^s ln(T^(1/2^s)), and ln(I + X) as the integral of X (I + t X)^-1 over t in [0, 1].
ComplexMatrix Logarithm(const ComplexMatrix& m) {
  static const Quadrature quadrature;
  const Eigen::ComplexSchur<ComplexMatrix> schur(m);
  ComplexMatrix t = schur.matrixT().triangularView<Eigen::Upper>();
  const ComplexMatrix identity = Identity(m.rows());
  int roots = 0;
  for (; roots < 100 && Norm(t - identity) > 0.25; ++roots) t = TriangularRoot(t);
  const ComplexMatrix x = t - identity;
  ComplexMatrix log = ComplexMatrix::Zero(m.rows(), m.rows());
  for (int i = 0; i < Quadrature::kNodes; ++i) {
    const ComplexMatrix shifted = identity + quadrature.node[i] * x;
    ComplexMatrix term = x;
    shifted.triangularView<Eigen::Upper>().solveInPlace(term);
    log += quadrature.weight[i] * term;
  }
  return schur.matrixU() * (log * std::ldexp(1.0, roots)) * schur.matrixU().adjoint();
}

// Stores a result in a real or complex tensor. A real matrix without a real result has none.
void StoreResult(const ComplexMatrix& result, Tensor& out, int64_t at) {
  if (out.dtype() == DType::kComplex64 || out.dtype() == DType::kComplex128) {
    StoreMatrix<Complex>(result, out, at);
    return;
  }
  const bool real = result.imag().cwiseAbs().maxCoeff() <= 1e-8 * (1e-300 + Norm(result));
  StoreMatrix<double>(
      real ? Matrix<double>(result.real()) : NanMatrix<double>(result.rows(), result.cols()), out,
      at);
}

// Matrices with elements that are not finite have no function; all elements become NaN.
template <ComplexMatrix (*function)(const ComplexMatrix&)>
Status RunMatrixFunction(OpContext& ctx) {
  const MatrixBatch m(ctx.input(0).shape());
  return ForEachMatrix(ctx, m.count, 30 * CubicCost(m.rows), [&](int64_t i) -> Status {
    if (m.rows == 0) return Status();
    const ComplexMatrix matrix = LoadMatrix<Complex>(ctx.input(0), m, i);
    StoreResult(matrix.allFinite() ? function(matrix) : NanMatrix<Complex>(m.rows, m.rows),
                ctx.output(0), i * m.size());
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "MatrixExponential(input: T) -> (output: T); T: {double,float,half,complex64,"
                  "complex128}",
     .shape = SquareMatrixShape,
     .build = BuildPlain<RunMatrixFunction<Exponential>>},
    {.signature = "MatrixLogarithm(input: T) -> (output: T); T: {complex64,complex128}",
     .shape = SquareMatrixShape,
     .build = BuildPlain<RunMatrixFunction<Logarithm>>},
    {.signature = "MatrixSquareRoot(input: T) -> (output: T); T: {double,float,half,complex64,"
                  "complex128}",
     .shape = SquareMatrixShape,
     .build = BuildPlain<RunMatrixFunction<SquareRoot>>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> MatrixFunctionOps() { return kOps; }

}  // namespace savedmodel
