#include "src/kernels/nn/row_products.h"

#include <utility>

#include "src/base/status_macros.h"
#include "src/base/strcat.h"
#include "src/kernels/array/ints.h"

namespace savedmodel {
namespace {

// The runs of a matrix whose rows are picked from a table.
struct PickedRuns {
  const float* table = nullptr;
  int64_t depth = 0;
  const int64_t* rows = nullptr;

  void operator()(int64_t begin, int64_t end, const float** runs) const {
    for (int64_t i = begin; i < end; ++i) *runs++ = table + rows[i] * depth;
  }
};

}  // namespace

StatusOr<std::shared_ptr<RowProducts>> RowProducts::Share(BuildContext& build, int table,
                                                          int weights) {
  const Tensor *rows = build.constant_input(table), *matrix = build.constant_input(weights);
  SM_CHECK_ARG(rows != nullptr && matrix != nullptr,
               "found a table or weights that are computed, expected constants");
  const Shape& shape = matrix->shape();
  SM_CHECK_ARG(rows->shape().rank() == 2 && (shape.rank() == 2 || shape.rank() == 3) &&
                   shape[shape.rank() - 2] == rows->shape()[1],
               "found a table of shape ", rows->shape(), " and weights of shape ", shape);
  const auto make = [&]() -> StatusOr<std::shared_ptr<const void>> {
    const float* data = matrix->data<float>();
    const int64_t depth = rows->shape()[1], part = shape[shape.rank() - 1];
    const int64_t taps = shape.rank() == 3 ? shape[0] : 1, columns = taps * part;
    std::vector<float> side_by_side;
    for (int64_t i = 0; taps > 1 && i < depth * taps; ++i) {
      const float* row = data + (i % taps * depth + i / taps) * part;
      side_by_side.insert(side_by_side.end(), row, row + part);
    }
    const MatrixView view{taps > 1 ? side_by_side.data() : data, columns, 1};
    SM_ASSIGN_OR_RETURN(auto made, Make(*rows, view, columns));
    return std::shared_ptr<const void>(std::move(made));
  };
  SM_ASSIGN_OR_RETURN(
      std::shared_ptr<const void> products,
      build.Packed(*matrix, StrCat("products with rows of ", rows->raw_data(), rows->shape()),
                   make));
  return std::const_pointer_cast<RowProducts>(
      std::static_pointer_cast<const RowProducts>(std::move(products)));
}

StatusOr<std::shared_ptr<RowProducts>> RowProducts::Make(const Tensor& table,
                                                         const MatrixView& matrix,
                                                         int64_t columns) {
  auto made = std::make_shared<RowProducts>();
  made->table_ = table;
  made->columns_ = columns;
  SM_ASSIGN_OR_RETURN(made->matrix_, PackedMatrix::Pack(matrix, table.shape()[1], columns));
  made->capacity_ = KeptProducts(table.shape()[0], columns);
  // Its pages come when they are written.
  SM_ASSIGN_OR_RETURN(made->kept_,
                      Tensor::Allocate(DType::kFloat, Shape({made->capacity_, columns})));
  made->place_ = std::vector<std::atomic<int32_t>>(static_cast<size_t>(table.shape()[0]));
  return made;
}

StatusOr<RowProducts::Picked> RowProducts::Pick(OpContext& ctx, const Tensor& indices) {
  const IntReader index(indices);
  const int64_t count = indices.num_elements(), size = table_.shape()[0];
  Picked picked;
  SM_ASSIGN_OR_RETURN(picked.addresses, ctx.AllocateTemp(DType::kInt64, Shape({count})));
  const float** const rows = static_cast<const float**>(picked.addresses.raw_mutable_data());
  std::vector<int64_t> missing;
  for (int64_t i = 0; i < count; ++i) {
    SM_CHECK_ARG(index[i] >= 0 && index[i] < size, "indices[", i, "] is ", index[i],
                 ", expected an index in [0, ", size, ")");
    rows[i] = Find(index[i]);
    if (rows[i] == nullptr) missing.push_back(index[i]);
  }
  if (missing.empty()) return picked;
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  SM_ASSIGN_OR_RETURN(picked.computed, Compute(ctx, missing));
  const float* const computed = picked.computed.data<float>();
  for (int64_t i = 0; i < count; ++i) {
    if (rows[i] != nullptr) continue;
    const auto at = std::lower_bound(missing.begin(), missing.end(), index[i]);
    rows[i] = computed + (at - missing.begin()) * columns_;
  }
  Keep(missing, computed);
  return picked;
}

StatusOr<Tensor> RowProducts::Compute(OpContext& ctx, const std::vector<int64_t>& rows) const {
  const int64_t count = static_cast<int64_t>(rows.size()), depth = table_.shape()[1];
  SM_ASSIGN_OR_RETURN(Tensor computed, ctx.AllocateTemp(DType::kFloat, Shape({count, columns_})));
  const PickedRuns runs{table_.data<float>(), depth, rows.data()};
  const Epilogue none;
  RunProduct(ctx, {.rows = count,
                   .columns = columns_,
                   .depth = depth,
                   .runs = runs,
                   .packed = &matrix_,
                   .c = static_cast<float*>(computed.raw_mutable_data()),
                   .c_stride = columns_,
                   .epilogue = &none,
                   .is_part = true});  // the same whatever other rows are missing
  return computed;
}

void RowProducts::Keep(const std::vector<int64_t>& rows, const float* products) {
  const std::lock_guard<std::mutex> lock(mutex_);
  float* const kept = static_cast<float*>(kept_.raw_mutable_data());
  for (size_t i = 0; i < rows.size() && used_ < capacity_; ++i) {
    if (Find(rows[i]) != nullptr) continue;
    std::copy_n(products + static_cast<int64_t>(i) * columns_, columns_, kept + used_ * columns_);
    place_[rows[i]].store(static_cast<int32_t>(++used_), std::memory_order_release);
  }
}

}  // namespace savedmodel
