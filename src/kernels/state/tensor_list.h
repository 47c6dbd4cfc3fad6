// TensorList: the variant behind tf.TensorArray of TensorFlow 2, tf.map_fn, tf.scan, RNNs.
#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "savedmodel/op.h"
#include "savedmodel/resource.h"
#include "src/kernels/state/nested_variant.h"

namespace savedmodel {

// A list of tensors of one dtype whose shapes are compatible with `element_shape`. An item without
// value is not initialised; it reads as zeros.
class TensorList final : public NestedVariant {
 public:
  TensorList(DType dtype, Shape element_shape, std::shared_ptr<MemoryBudget> budget)
      : dtype_(dtype), element_shape_(std::move(element_shape)), budget_(std::move(budget)) {}
  ~TensorList() override;
  std::string_view kind() const override { return "tensor list"; }

  DType dtype() const { return dtype_; }
  const Shape& element_shape() const { return element_shape_; }
  int64_t size() const { return static_cast<int64_t>(items_.size()); }
  const Tensor& item(int64_t i) const { return items_[i]; }
  void set_item(int64_t i, Tensor item) { items_[i] = std::move(item); }
  // At most so many items may be pushed; negative: any number.
  int64_t max_size() const { return max_size_; }
  void set_max_size(int64_t max_size) { max_size_ = max_size; }

  // Drops items at the end, or adds uninitialised ones. The handles count towards the budget.
  Status Resize(int64_t size);
  // INVALID_ARGUMENT unless `item` may be an item of this list.
  Status CheckItem(const Tensor& item);
  // A list that shares the items.
  StatusOr<std::shared_ptr<TensorList>> Copy(std::shared_ptr<MemoryBudget> budget) const;

 private:
  const DType dtype_;
  const Shape element_shape_;
  const std::shared_ptr<MemoryBudget> budget_;
  int64_t max_size_ = -1;
  std::vector<Tensor> items_;
};

// The list in scalar variant input `i`; INVALID_ARGUMENT unless it holds `dtype` (kInvalid: any).
StatusOr<const TensorList*> ListInput(const OpContext& ctx, int i, DType dtype);

// A list that a kernel changes: that of input `i` in place where nobody else holds it, else a
// copy. `handle` is the variant to put out.
struct TakenList {
  Tensor handle;
  TensorList* list = nullptr;
};
StatusOr<TakenList> TakeList(OpContext& ctx, int i, DType dtype);

// The shape that an `element_shape` input says: -1 is the unknown shape, as is a missing value.
StatusOr<Shape> ShapeFromTensor(const Tensor& t);
// The same for a shape function: unknown while the input's value is.
StatusOr<Shape> ElementShapeInput(const ShapeContext& ctx, int i);

// What is known of the shape of the items of `list` when input `i` says more of it.
StatusOr<Shape> MergedElementShape(const OpContext& ctx, const TensorList& list, int i);

}  // namespace savedmodel
