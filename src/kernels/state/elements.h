// Moving elements between tensors of one dtype.
#pragma once

#include <algorithm>

#include "savedmodel/tensor.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {

// Copies `n` elements of `from`, from element `from_at` on, to element `to_at` on of `to`, whose
// elements nobody shares. A `from` without value stands for zeros.
inline Status CopyElements(const Tensor& from, int64_t from_at, Tensor& to, int64_t to_at,
                           int64_t n) {
  return VisitByElementSize(to.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* y = static_cast<T*>(to.raw_mutable_data()) + to_at;
    if (from.has_value()) {
      std::copy_n(static_cast<const T*>(from.raw_data()) + from_at, n, y);
    } else {
      std::fill_n(y, n, T());
    }
    return Status();
  });
}

// Row `i` of `rows`, of rank 1 or more, as a tensor that shares its elements.
inline Tensor Row(const Tensor& rows, int64_t i) {
  return rows.Rows(i, i + 1).WithShape(rows.shape().Slice(1, rows.shape().rank()));
}

}  // namespace savedmodel
