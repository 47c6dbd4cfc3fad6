// Singular value decomposition, by one-sided Jacobi rotations.
#include <numeric>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/linalg.h"
#include "src/kernels/math/linalg_eigen.h"
#include "src/kernels/math/math_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// Singular values [.., p] with p = min(m, n), and u [.., m, p or m], v [.., n, p or n], or [0].
Status SvdShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(CheckMatrices(ctx, 0));
  const Shape& in = ctx.input(0);
  if (!in.known_rank()) return Status();
  const int64_t m = in[in.rank() - 2], n = in[in.rank() - 1];
  const int64_t p = m < 0 || n < 0 ? -1 : std::min(m, n);
  const Shape batch = in.Slice(0, in.rank() - 2);
  const bool full = ctx.attrs().Bool("full_matrices"), uv = ctx.attrs().Bool("compute_uv");
  ctx.set_output(0, batch.WithAppended(p));
  ctx.set_output(1, uv ? batch.WithAppended(m).WithAppended(full ? m : p) : Shape({0}));
  ctx.set_output(2, uv ? batch.WithAppended(n).WithAppended(full ? n : p) : Shape({0}));
  return Status();
}

template <class T>
using Columns = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic>;

// Turns columns p and q of `w`, whose squared norms are p_norm and q_norm, until they are
// orthogonal, and those of `v` along. False when they already were.
template <class T>
bool Orthogonalize(Columns<T>& w, Columns<T>& v, int64_t p, int64_t q, double& p_norm,
                   double& q_norm) {
  const T product = w.col(p).dot(w.col(q));
  const double size = std::abs(product);
  if (!(size > 1e-15 * std::sqrt(p_norm * q_norm))) return false;
  const double zeta = (q_norm - p_norm) / (2 * size);
  const double t = std::copysign(1.0, zeta) / (std::abs(zeta) + std::hypot(1.0, zeta));
  const double c = 1 / std::hypot(1.0, t), s = c * t;
  T unphase = size / product;  // makes the product real
  if constexpr (IsComplexType<T>::value) unphase /= std::abs(unphase);
  for (Columns<T>* m : {&w, &v}) {
    T *x = m->data() + p * m->rows(), *y = m->data() + q * m->rows();
    for (int64_t i = 0; i < m->rows(); ++i) {
      const T a = x[i], b = y[i] * unphase;
      x[i] = c * a - s * b;
      y[i] = s * a + c * b;
    }
  }
  p_norm = w.col(p).squaredNorm();
  q_norm = w.col(q).squaredNorm();
  return true;
}

// Replaces column `k` of `u` by a unit vector orthogonal to the columns before it.
template <class T>
void CompleteColumn(Columns<T>& u, int64_t k) {
  double best = 0;
  Eigen::Matrix<T, Eigen::Dynamic, 1> chosen;
  for (int64_t axis = 0; axis < u.rows() && best < 0.5; ++axis) {
    Eigen::Matrix<T, Eigen::Dynamic, 1> candidate =
        Eigen::Matrix<T, Eigen::Dynamic, 1>::Unit(u.rows(), axis);
    for (int pass = 0; pass < 2; ++pass) {
      for (int64_t j = 0; j < k; ++j) candidate -= u.col(j) * u.col(j).dot(candidate);
    }
    if (candidate.norm() > best) {
      best = candidate.norm();
      chosen = candidate / best;
    }
  }
  u.col(k) = chosen;
}

template <class T>
struct Svd {
  std::vector<double> s;  // descending
  Columns<T> u;           // as many columns as asked for, at least those of s
  Columns<T> v;
};

// Of a matrix with at least as many rows as columns; v as it is if `compute_uv`.
template <class T>
Svd<T> DecomposeTall(const Matrix<T>& matrix, int64_t u_columns, bool compute_uv) {
  constexpr int kMostSweeps = 60;
  const int64_t n = matrix.cols();
  Columns<T> w = matrix, v = Columns<T>::Identity(compute_uv ? n : 0, n);
  std::vector<double> squares(n);
  bool turned = true;
  for (int sweep = 0; sweep < kMostSweeps && turned; ++sweep) {
    turned = false;
    for (int64_t j = 0; j < n; ++j) squares[j] = w.col(j).squaredNorm();
    for (int64_t p = 0; p + 1 < n; ++p) {
      for (int64_t q = p + 1; q < n; ++q) {
        turned |= Orthogonalize(w, v, p, q, squares[p], squares[q]);
      }
    }
  }
  std::vector<double> norms(n);
  for (int64_t j = 0; j < n; ++j) norms[j] = w.col(j).norm();
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return norms[a] > norms[b]; });
  Svd<T> svd{std::vector<double>(n), Columns<T>(matrix.rows(), u_columns), Columns<T>(n, n)};
  for (int64_t j = 0; j < n; ++j) {
    svd.s[j] = norms[order[j]];
    if (compute_uv) svd.v.col(j) = v.col(order[j]);
    if (svd.s[j] > 1e-15 * svd.s[0]) {
      svd.u.col(j) = w.col(order[j]) / svd.s[j];
    } else if (compute_uv) {
      CompleteColumn(svd.u, j);
    }
  }
  for (int64_t j = n; compute_uv && j < u_columns; ++j) CompleteColumn(svd.u, j);
  return svd;
}

// Singular values and, for `full` or not, u and v with u s v^H the matrix. The long side's basis is
// completed where it is asked for in full.
struct SvdOptions {
  bool compute_uv;
  bool full;
};

template <class T>
Svd<T> Decompose(const Matrix<T>& matrix, SvdOptions options) {
  if (matrix.rows() >= matrix.cols()) {
    return DecomposeTall<T>(matrix, options.full ? matrix.rows() : matrix.cols(),
                            options.compute_uv);
  }
  Svd<T> svd = DecomposeTall<T>(matrix.adjoint(), options.full ? matrix.cols() : matrix.rows(),
                                options.compute_uv);
  std::swap(svd.u, svd.v);
  return svd;
}

template <class T>
Status ComputeSvd(OpContext& ctx, const MatrixBatch& m, SvdOptions options, int64_t i) {
  const int64_t p = std::min(m.rows, m.columns);
  const Matrix<T> matrix = LoadMatrix<T>(ctx.input(0), m, i);
  Matrix<T> s(p, 1), u, v;
  if (matrix.allFinite()) {
    const Svd<T> svd = Decompose<T>(matrix, options);
    for (int64_t j = 0; j < p; ++j) s(j, 0) = T(svd.s[j]);
    u = svd.u;
    v = svd.v;
  } else {
    s = NanMatrix<T>(p, 1);
    u = NanMatrix<T>(m.rows, options.full ? m.rows : p);
    v = NanMatrix<T>(m.columns, options.full ? m.columns : p);
  }
  StoreMatrix<T>(s, ctx.output(0), i * p);
  if (options.compute_uv) {
    StoreMatrix<T>(u, ctx.output(1), i * u.size());
    StoreMatrix<T>(v, ctx.output(2), i * v.size());
  }
  return Status();
}

StatusOr<KernelPtr> BuildSvd(BuildContext& build) {
  const SvdOptions options{build.attrs().Bool("compute_uv"), build.attrs().Bool("full_matrices")};
  return MakeKernel([options](OpContext& ctx) {
    const MatrixBatch m(ctx.input(0).shape());
    const double cost = 30 * CubicCost(std::max(m.rows, m.columns));
    return VisitLinalg(ctx.input(0).dtype(), [&](auto tag) {
      return ForEachMatrix(ctx, m.count, cost, [&](int64_t i) {
        return ComputeSvd<typename decltype(tag)::type>(ctx, m, options, i);
      });
    });
  });
}

constexpr OpDef kOps[] = {
    // Of graphs from before Svd took batches.
    {.signature =
         "BatchSvd(input: T) -> (s: T, u: T, v: T); compute_uv: bool = true; full_matrices: bool = "
         "false; T: {double,float,complex64,complex128}",
     .shape = SvdShape,
     .build = BuildSvd},
    {.signature =
         "Svd(input: T) -> (s: T, u: T, v: T); compute_uv: bool = true; full_matrices: bool = "
         "false; T: {double,float,half,complex64,complex128}",
     .shape = SvdShape,
     .build = BuildSvd},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> LinalgSvdOps() { return kOps; }

}  // namespace savedmodel
