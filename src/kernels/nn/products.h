// Batches of matrix products of any number type.
#pragma once

#include <type_traits>
#include <utility>
#include <vector>

#include "savedmodel/op.h"
#include "src/kernels/compute_type.h"
#include "src/kernels/isa/gemm.h"

namespace savedmodel {

// c[i] = a[pairs[i].first] * b[pairs[i].second] for matrices a [m, k], b [k, n] (or [n, k] when
// transposed), c [m, n], all row-major and consecutive.
template <class C>
struct ProductOf {
  int64_t m = 0, n = 0, k = 0;
  const C* a = nullptr;
  const C* b = nullptr;
  bool b_is_transposed = false;
  C* c = nullptr;
  const std::vector<PackedMatrix>* packed = nullptr;  // the matrices of b; float only
  const Epilogue* epilogue = nullptr;                 // float only
  std::vector<std::pair<int64_t, int64_t>> pairs;
};

// Instantiated in products.cc for float, double, complex numbers and integers.
template <class C>
Status MultiplyMatrices(OpContext& ctx, const ProductOf<C>& product);

}  // namespace savedmodel
