// Eigen matrices loaded from and stored to tensors. For linear algebra .cc files only.
//
// All decompositions are computed in double precision, real or complex: one instantiation of Eigen
// serves narrow and wide types.
#pragma once

#define EIGEN_NO_DEBUG 1

#include <Eigen/Dense>
#include <complex>

#include "src/kernels/math/convert.h"
#include "src/kernels/math/linalg.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

inline constexpr DTypeSet kLinalgTypes = kFloatDouble | Only(DType::kHalf) | kComplexes;

// Calls `fn` with the type to compute in: double, or complex<double> for complex dtypes.
template <class F>
Status VisitLinalg(DType dtype, F&& fn) {
  if (dtype == DType::kComplex64 || dtype == DType::kComplex128) {
    return fn(TypeTag<std::complex<double>>());
  }
  return fn(TypeTag<double>());
}

// Elements [offset, offset + rows * columns) of `t` as a matrix.
template <class T>
Matrix<T> LoadMatrix(const Tensor& t, int64_t offset, int64_t rows, int64_t columns) {
  Matrix<T> m(rows, columns);
  (void)VisitDType<kLinalgTypes>(t.dtype(), [&](auto tag) -> Status {
    using E = typename decltype(tag)::type;
    if constexpr (IsComplexType<T>::value || !IsComplexType<E>::value) {
      const E* x = t.data<E>() + offset;
      for (int64_t i = 0; i < rows * columns; ++i) m.data()[i] = Convert<T>(x[i]);
    }
    return Status();
  });
  return m;
}
// Matrix `i` of a batch.
template <class T>
Matrix<T> LoadMatrix(const Tensor& t, const MatrixBatch& batch, int64_t i) {
  return LoadMatrix<T>(t, i * batch.size(), batch.rows, batch.columns);
}

// Stores `m` as elements [offset, ...) of `t`.
template <class T>
void StoreMatrix(const Matrix<T>& m, Tensor& t, int64_t offset) {
  (void)VisitDType<kLinalgTypes>(t.dtype(), [&](auto tag) -> Status {
    using E = typename decltype(tag)::type;
    if constexpr (IsComplexType<E>::value == IsComplexType<T>::value) {
      E* y = static_cast<E*>(t.raw_mutable_data()) + offset;
      for (int64_t i = 0; i < m.size(); ++i) y[i] = Convert<E>(m.data()[i]);
    }
    return Status();
  });
}

template <class T>
Matrix<T> NanMatrix(int64_t rows, int64_t columns) {
  return Matrix<T>::Constant(rows, columns, T(std::numeric_limits<double>::quiet_NaN()));
}

// Rough nanoseconds of an O(n^3) algorithm.
inline double CubicCost(int64_t n) {
  const double size = static_cast<double>(n);
  return 50 + size * size * size;
}

template <class M>
bool HasZeroOnDiagonal(const M& m) {
  using T = typename M::Scalar;
  for (Eigen::Index i = 0; i < std::min(m.rows(), m.cols()); ++i) {
    if (m(i, i) == T(0)) return true;
  }
  return false;
}

}  // namespace savedmodel
