// TensorList, the class.
#include "src/kernels/state/tensor_list.h"

#include <new>

#include "src/base/status_macros.h"

namespace savedmodel {
namespace {

constexpr int64_t kItemBytes = sizeof(Tensor);
// More items than any model has; fewer than would take the machine down.
constexpr int64_t kMostItems = int64_t{1} << 26;

}  // namespace

TensorList::~TensorList() {
  if (budget_ != nullptr) budget_->Refund(size() * kItemBytes);
}

Status TensorList::Resize(int64_t size) {
  const int64_t added = size - this->size();
  if (added > 0 &&
      (size > kMostItems || (budget_ != nullptr && !budget_->Charge(added * kItemBytes)))) {
    return ResourceExhausted("a tensor list of ", size, " items does not fit into memory");
  }
  try {
    items_.resize(size);
  } catch (const std::bad_alloc&) {
    if (budget_ != nullptr) budget_->Refund(added * kItemBytes);
    return ResourceExhausted("a tensor list of ", size, " items does not fit into memory");
  }
  if (added < 0 && budget_ != nullptr) budget_->Refund(-added * kItemBytes);
  return Status();
}

Status TensorList::CheckItem(const Tensor& item) {
  SM_CHECK_ARG(item.dtype() == dtype_ && element_shape_.CompatibleWith(item.shape()),
               "found an item ", item.TypeString(), ", expected ", dtype_, element_shape_,
               " as the list holds");
  return Admit(item);
}

StatusOr<std::shared_ptr<TensorList>> TensorList::Copy(std::shared_ptr<MemoryBudget> budget) const {
  auto copy = std::make_shared<TensorList>(dtype_, element_shape_, std::move(budget));
  copy->max_size_ = max_size_;
  SM_RETURN_IF_ERROR(copy->Resize(size()));
  for (const Tensor& item : items_) SM_RETURN_IF_ERROR(copy->Admit(item));
  copy->items_ = items_;
  return copy;
}

namespace {

StatusOr<const TensorList*> ListIn(const Tensor& handle, int i, DType dtype) {
  const VariantRef* ref = handle.data<VariantRef>();
  SM_CHECK_ARG(ref != nullptr && handle.shape().rank() == 0, "input ", i, " is ",
               handle.TypeString(), ", expected the scalar handle of a tensor list");
  const auto* list = dynamic_cast<const TensorList*>(ref->get());
  SM_CHECK_ARG(list != nullptr, "input ", i, " is a handle of ",
               *ref == nullptr ? "nothing" : (*ref)->kind(), ", expected a tensor list");
  SM_CHECK_ARG(dtype == DType::kInvalid || list->dtype() == dtype, "the list holds ", list->dtype(),
               ", expected ", dtype);
  return list;
}

}  // namespace

StatusOr<const TensorList*> ListInput(const OpContext& ctx, int i, DType dtype) {
  return ListIn(ctx.input(i), i, dtype);
}

StatusOr<TakenList> TakeList(OpContext& ctx, int i, DType dtype) {
  SM_ASSIGN_OR_RETURN(const TensorList* list, ListInput(ctx, i, dtype));
  TakenList taken;
  taken.handle = ctx.TakeInput(i);
  if (taken.handle.exclusive() && taken.handle.data<VariantRef>()->use_count() == 1) {
    taken.list = const_cast<TensorList*>(list);
    return taken;
  }
  SM_ASSIGN_OR_RETURN(std::shared_ptr<TensorList> copy, list->Copy(ctx.run().budget));
  taken.list = copy.get();
  taken.handle = Tensor::Scalar<VariantRef>(std::move(copy));
  return taken;
}

StatusOr<Shape> ShapeFromTensor(const Tensor& t) {
  std::vector<int64_t> dims;
  if (const int32_t* p = t.data<int32_t>()) dims.assign(p, p + t.num_elements());
  if (const int64_t* p = t.data<int64_t>()) dims.assign(p, p + t.num_elements());
  if (t.shape().rank() == 0) {
    SM_CHECK_ARG(dims[0] == -1, "found scalar element shape ", dims[0],
                 ", expected -1 (unknown) or a vector");
    return Shape::Unknown();
  }
  SM_CHECK_ARG(t.shape().rank() == 1, "an element shape has shape ", t.shape(),
               ", expected a vector or -1");
  return Shape::Make(dims);
}

StatusOr<Shape> ElementShapeInput(const ShapeContext& ctx, int i) {
  const Tensor* value = ctx.value(i);
  if (value == nullptr) return Shape::Unknown();
  return ShapeFromTensor(*value);
}

StatusOr<Shape> MergedElementShape(const OpContext& ctx, const TensorList& list, int i) {
  SM_ASSIGN_OR_RETURN(const Shape said, ShapeFromTensor(ctx.input(i)));
  return list.element_shape().Merge(said);
}

}  // namespace savedmodel
