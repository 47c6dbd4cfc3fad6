// Products and solutions with tridiagonal matrices.
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/linalg.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

inline constexpr DTypeSet kTridiagonalTypes = kFloatDouble | kComplexes;

Status TridiagonalSolveShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(CheckMatrices(ctx, 0));
  SM_RETURN_IF_ERROR(CheckMatrices(ctx, 1));
  const Shape &a = ctx.input(0), &b = ctx.input(1);
  if (!a.known_rank() || !b.known_rank()) return Status();
  const int rank = a.rank();
  SM_CHECK_ARG(rank == b.rank() && a.Slice(0, rank - 2).CompatibleWith(b.Slice(0, rank - 2)),
               "All input tensors must have the same outer dimensions, found ", a, " and ", b);
  SM_CHECK_ARG(a[rank - 2] == 3 || a[rank - 2] == -1,
               "Expected diagonals to be provided as a matrix with 3 rows, got ", a[rank - 2],
               " rows.");
  SM_CHECK_ARG(a[rank - 1] == b[rank - 2] || a[rank - 1] == -1 || b[rank - 2] == -1,
               "Expected the same number of diagonal elements and rows of the right side, found ",
               a, " and ", b);
  ctx.set_output(0, b);
  return Status();
}

// One system; `super`, `diagonal` and `sub` are rows of n elements in which element i belongs to
// row i of the matrix. `y` holds the right side and becomes the solution.
template <class T>
struct TridiagonalSystem {
  const T* super;
  const T* diagonal;
  const T* sub;
  int64_t n;
  int64_t columns;
  T* y;

  T* row(int64_t i) const { return y + i * columns; }
  // Row `to` -= factor * row `from`.
  void Subtract(int64_t to, const T& factor, int64_t from) const {
    for (int64_t c = 0; c < columns; ++c) row(to)[c] -= factor * row(from)[c];
  }
  void Fill(const T& value) const { std::fill_n(y, n * columns, value); }
};

template <class T>
T NotANumber() {
  return T(std::numeric_limits<decltype(std::abs(T()))>::quiet_NaN());
}

// Without exchanging rows. A zero pivot makes everything NaN.
template <class T>
void SolveThomas(const TridiagonalSystem<T>& s) {
  std::vector<T> pivot(s.n);
  for (int64_t i = 0; i < s.n; ++i) {
    pivot[i] = s.diagonal[i];
    if (i > 0) {
      const T factor = s.sub[i] / pivot[i - 1];
      pivot[i] -= factor * s.super[i - 1];
      s.Subtract(i, factor, i - 1);
    }
    if (pivot[i] == T(0)) return s.Fill(NotANumber<T>());
  }
  for (int64_t i = s.n - 1; i >= 0; --i) {
    if (i + 1 < s.n) s.Subtract(i, s.super[i], i + 1);
    for (int64_t c = 0; c < s.columns; ++c) s.row(i)[c] /= pivot[i];
  }
}

// With row exchanges, which give the upper factor a second superdiagonal. A zero pivot is replaced
// by a tiny one when `perturb`, else it makes everything NaN.
template <class T>
void SolvePivoting(const TridiagonalSystem<T>& s, bool perturb) {
  using Real = decltype(std::abs(T()));
  std::vector<std::array<T, 3>> u(s.n + 1);
  u[0] = {s.diagonal[0], s.n > 1 ? s.super[0] : T(0), T(0)};
  for (int64_t i = 0; i < s.n; ++i) {
    const bool last = i + 1 == s.n;
    const T below = last ? T(0) : s.sub[i + 1];
    if (perturb) {
      const Real scale = std::max({std::abs(u[i][0]), std::abs(u[i][1]), std::abs(below), Real(1),
                                   last ? Real(0) : std::abs(s.super[i + 1])});
      const Real least = scale * std::numeric_limits<Real>::epsilon();
      if (std::abs(u[i][0]) <= least && std::abs(below) <= least) u[i][0] = T(least);
    }
    if (u[i][0] == T(0) && below == T(0)) return s.Fill(NotANumber<T>());
    if (last) break;
    const T next_super = i + 2 < s.n ? s.super[i + 1] : T(0);
    if (std::abs(u[i][0]) >= std::abs(below)) {
      const T factor = below / u[i][0];
      u[i + 1] = {s.diagonal[i + 1] - factor * u[i][1], next_super, T(0)};
      s.Subtract(i + 1, factor, i);
    } else {
      const T factor = u[i][0] / below;
      const T above_next = u[i][1];
      u[i] = {below, s.diagonal[i + 1], next_super};
      u[i + 1] = {above_next - factor * s.diagonal[i + 1], -factor * next_super, T(0)};
      std::swap_ranges(s.row(i), s.row(i + 1), s.row(i + 1));
      s.Subtract(i + 1, factor, i);
    }
  }
  for (int64_t i = s.n - 1; i >= 0; --i) {
    if (i + 1 < s.n) s.Subtract(i, u[i][1], i + 1);
    if (i + 2 < s.n) s.Subtract(i, u[i][2], i + 2);
    for (int64_t c = 0; c < s.columns; ++c) s.row(i)[c] /= u[i][0];
  }
}

StatusOr<KernelPtr> BuildTridiagonalSolve(BuildContext& build) {
  const bool pivoting = build.attrs().Bool("partial_pivoting");
  const bool perturb = build.attrs().Bool("perturb_singular");
  SM_CHECK_ARG(pivoting || !perturb, "perturb_singular requires partial_pivoting");
  return MakeKernel([pivoting, perturb](OpContext& ctx) {
    const MatrixBatch m(ctx.input(0).shape()), r(ctx.input(1).shape());
    return VisitDType<kTridiagonalTypes>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T *x = ctx.in<T>(0), *rhs = ctx.in<T>(1);
      T* y = ctx.out<T>(0);
      if (r.size() == 0) return Status();
      const double cost = 10.0 * static_cast<double>(r.size());
      return ForEachMatrix(ctx, r.count, cost, [&](int64_t i) -> Status {
        const T* d = x + i * m.size();
        T* out = y + i * r.size();
        std::copy_n(rhs + i * r.size(), r.size(), out);
        const TridiagonalSystem<T> system{d, d + r.rows, d + 2 * r.rows, r.rows, r.columns, out};
        pivoting ? SolvePivoting(system, perturb) : SolveThomas(system);
        return Status();
      });
    });
  });
}

// Each diagonal is [batch, 1, n], the right side [batch, n, columns].
Status TridiagonalProductShape(ShapeContext& ctx) {
  for (int i = 0; i < 4; ++i) SM_RETURN_IF_ERROR(CheckMatrices(ctx, i));
  const Shape& rhs = ctx.input(3);
  if (!rhs.known_rank()) return Status();
  const Shape expected =
      rhs.Slice(0, rhs.rank() - 2).WithAppended(1).WithAppended(rhs[rhs.rank() - 2]);
  for (int i = 0; i < 3; ++i) {
    SM_CHECK_ARG(ctx.input(i).CompatibleWith(expected), "diagonal ", i, " has shape ", ctx.input(i),
                 ", expected ", expected, " for a right side ", rhs);
  }
  ctx.set_output(0, rhs);
  return Status();
}

Status RunTridiagonalProduct(OpContext& ctx) {
  const MatrixBatch r(ctx.input(3).shape());
  return VisitDType<kTridiagonalTypes>(ctx.input(3).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T *super = ctx.in<T>(0), *diagonal = ctx.in<T>(1), *sub = ctx.in<T>(2);
    const T* x = ctx.in<T>(3);
    T* y = ctx.out<T>(0);
    const int64_t n = r.rows, width = r.columns;
    for (int64_t i = 0; i < r.count * n; ++i) {
      const bool first = i % n == 0, last = i % n == n - 1;
      for (int64_t c = i * width; c < (i + 1) * width; ++c) {
        T sum = diagonal[i] * x[c];
        if (!first) sum += sub[i] * x[c - width];
        if (!last) sum += super[i] * x[c + width];
        y[c] = sum;
      }
    }
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature =
         "TridiagonalMatMul(superdiag: T, maindiag: T, subdiag: T, rhs: T) -> (output: T); T: "
         "{double,float,complex64,complex128}",
     .shape = TridiagonalProductShape,
     .build = BuildPlain<RunTridiagonalProduct>},
    {.signature = "TridiagonalSolve(diagonals: T, rhs: T) -> (output: T); partial_pivoting: bool = "
                  "true; perturb_singular: bool = false; T: {double,float,complex64,complex128}",
     .shape = TridiagonalSolveShape,
     .build = BuildTridiagonalSolve},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> TridiagonalOps() { return kOps; }

}  // namespace savedmodel
