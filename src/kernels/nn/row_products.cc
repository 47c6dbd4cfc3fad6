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

// `multiply` runs the product of these rows, the same however many others a row is with.
template <class F>
void WithProduct(const Tensor& table, const std::vector<int64_t>& rows, const PackedMatrix& matrix,
                 int64_t columns, float* out, F&& multiply) {
  const int64_t depth = table.shape()[1];
  const PickedRuns runs{table.data<float>(), depth, rows.data()};
  const Epilogue none;
  multiply(Product{.rows = static_cast<int64_t>(rows.size()),
                   .columns = columns,
                   .depth = depth,
                   .runs = runs,
                   .packed = &matrix,
                   .c = out,
                   .c_stride = columns,
                   .epilogue = &none,
                   .is_part = true});
}

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
      build.Packed(*matrix, StrCat("products with rows of ", rows->raw_data()), make));
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

void RowProducts::Keep(std::vector<int64_t> rows) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto is_kept = [&](int64_t row) { return Find(row) != nullptr; };
  rows.erase(std::remove_if(rows.begin(), rows.end(), is_kept), rows.end());
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  rows.resize(std::min(rows.size(), static_cast<size_t>(capacity_ - used_)));
  if (rows.empty()) return;
  float* const to = static_cast<float*>(kept_.raw_mutable_data()) + used_ * columns_;
  WithProduct(table_, rows, matrix_, columns_, to, RunProductSerially);
  for (const int64_t row : rows) {
    place_[row].store(static_cast<int32_t>(++used_), std::memory_order_release);
  }
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
  Keep(std::exchange(missing, {}));
  for (int64_t i = 0; i < count; ++i) {
    if (rows[i] == nullptr) rows[i] = Find(index[i]);
    if (rows[i] == nullptr) missing.push_back(index[i]);
  }
  if (missing.empty()) return picked;
  const Shape shape({static_cast<int64_t>(missing.size()), columns_});
  SM_ASSIGN_OR_RETURN(picked.computed, ctx.AllocateTemp(DType::kFloat, shape));
  float* next = static_cast<float*>(picked.computed.raw_mutable_data());
  WithProduct(table_, missing, matrix_, columns_, next,
              [&](const Product& product) { RunProduct(ctx, product); });
  for (int64_t i = 0; i < count; ++i) {
    if (rows[i] == nullptr) rows[i] = std::exchange(next, next + columns_);
  }
  return picked;
}

}  // namespace savedmodel
