// Products of matrices of doubles and of words, which are rare: nothing is packed.
#pragma once

#include <algorithm>
#include <cstdint>

#include "src/kernels/isa/level/vectors.h"

namespace savedmodel {
namespace {

template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(SM_LANES * 4), aligned(sizeof(T))));
};

// Rows of c [rows, columns], the columns of two vectors: the sum over k of a[r][k] * b[k], a
// `depth` wide.
template <int rows, class T>
void MultiplyTile(const T* a, int64_t depth, const T* b, int64_t columns, T* c) {
  using V = typename VecOf<T>::type;
  constexpr int kWidth = sizeof(V) / sizeof(T);
  V sums[rows][2] = {};
  for (int64_t k = 0; k < depth; ++k, b += columns) {
    const V low = *reinterpret_cast<const V*>(b), high = *reinterpret_cast<const V*>(b + kWidth);
    for (int r = 0; r < rows; ++r) {
      sums[r][0] += low * a[r * depth + k];
      sums[r][1] += high * a[r * depth + k];
    }
  }
  for (int r = 0; r < rows; ++r) {
    *reinterpret_cast<V*>(c + r * columns) = sums[r][0];
    *reinterpret_cast<V*>(c + r * columns + kWidth) = sums[r][1];
  }
}

template <class T>
void Multiply(const T* a, const T* b, T* c, int64_t rows, int64_t depth, int64_t columns) {
  constexpr int kRows = 4, kWidth = 2 * static_cast<int>(SM_LANES * 4 / sizeof(T));
  int64_t j = 0;
  for (; j + kWidth <= columns; j += kWidth) {
    int64_t r = 0;
    for (; r + kRows <= rows; r += kRows) {
      MultiplyTile<kRows>(a + r * depth, depth, b + j, columns, c + r * columns + j);
    }
    for (; r < rows; ++r) {
      MultiplyTile<1>(a + r * depth, depth, b + j, columns, c + r * columns + j);
    }
  }
  for (int64_t r = 0; r < rows && j < columns; ++r) {
    T sums[kWidth] = {};
    for (int64_t k = 0; k < depth; ++k) {
      const T x = a[r * depth + k];
      for (int64_t i = j; i < columns; ++i) sums[i - j] += x * b[k * columns + i];
    }
    std::copy_n(sums, columns - j, c + r * columns + j);
  }
}

}  // namespace
}  // namespace savedmodel
