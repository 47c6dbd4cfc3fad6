// Products of the rows of a constant table with constant weights: what layers make of embeddings. A
// row's product is computed when the row is first picked, and kept for all runs.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "src/kernels/isa/gemm.h"

namespace savedmodel {

// How many products of `columns` with rows of a table are kept, in the order of need: at most 32
// MiB. 0 where that is so small a part of a table of `rows` that most would be computed in each
// run.
inline int64_t KeptProducts(int64_t rows, int64_t columns) {
  constexpr int64_t kMostFloats = 8 << 20, kLeastPart = 8;
  const int64_t kept = std::min(rows, kMostFloats / std::max<int64_t>(columns, 1));
  return kept >= rows / kLeastPart ? kept : 0;
}

// Strides, dilations, paddings and taps of an op that adds up products are at most so large.
constexpr int64_t kMostTaps = 1 << 20;

// Thread-safe.
class RowProducts {
 public:
  // Products of constant inputs `table` [rows, depth] and `weights` [depth, columns], or [taps,
  // depth, columns] side by side, of a node. Shared by all plans.
  static StatusOr<std::shared_ptr<RowProducts>> Share(BuildContext& build, int table, int weights);

  // Floats of one product.
  int64_t columns() const { return columns_; }

  // The products of rows, each by its address.
  struct Picked {
    Tensor addresses, computed;  // of all; those that were missing

    const float* const* rows() const {
      return static_cast<const float* const*>(addresses.raw_data());
    }
  };
  // Those of the rows that `indices` say. INVALID_ARGUMENT for one outside of the table.
  StatusOr<Picked> Pick(OpContext& ctx, const Tensor& indices);

 private:
  static StatusOr<std::shared_ptr<RowProducts>> Make(const Tensor& table, const MatrixView& matrix,
                                                     int64_t columns);

  // That of a row; null where it is not kept.
  const float* Find(int64_t row) const {
    const int32_t place = place_[row].load(std::memory_order_acquire);
    return place == 0 ? nullptr : kept_.data<float>() + (place - 1) * columns_;
  }
  // Those of these rows, one after the other.
  StatusOr<Tensor> Compute(OpContext& ctx, const std::vector<int64_t>& rows) const;
  // Keeps these, as far as there is room.
  void Keep(const std::vector<int64_t>& rows, const float* products);

  Tensor table_;
  int64_t columns_ = 0, capacity_ = 0;
  PackedMatrix matrix_;
  Tensor kept_;                              // [capacity, columns]
  std::vector<std::atomic<int32_t>> place_;  // of each row in `kept_`, counted from 1; 0: none
  std::mutex mutex_;
  int64_t used_ = 0;  // guarded by `mutex_`
};

}  // namespace savedmodel
