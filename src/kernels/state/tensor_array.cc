// TensorArray, the class.
#include "src/kernels/state/tensor_array.h"

#include "src/base/status_macros.h"

namespace savedmodel {

Status TensorArray::CheckOpen() const {
  SM_CHECK_ARG(!closed_, "the tensor array has been closed");
  return Status();
}

StatusOr<int64_t> TensorArray::Size() const {
  std::lock_guard<std::mutex> lock(mutex_);
  SM_RETURN_IF_ERROR(CheckOpen());
  return static_cast<int64_t>(items_.size());
}

Shape TensorArray::element_shape() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return spec_.element_shape;
}

Status TensorArray::MergeElementShape(const Shape& shape) {
  std::lock_guard<std::mutex> lock(mutex_);
  SM_ASSIGN_OR_RETURN(spec_.element_shape, spec_.element_shape.Merge(shape));
  return Status();
}

Status TensorArray::EnsureSize(int64_t size) {
  std::lock_guard<std::mutex> lock(mutex_);
  SM_RETURN_IF_ERROR(CheckOpen());
  const int64_t old = static_cast<int64_t>(items_.size());
  if (size == old) return Status();
  SM_CHECK_ARG(spec_.dynamic_size, "the tensor array has ", old, " items, ", size,
               " are to be written, and its size is not dynamic");
  if (size > kMostArrayItems) return ResourceExhausted("a tensor array of ", size, " items");
  if (size > old) items_.resize(size);
  return Status();
}

Status TensorArray::Write(int64_t index, Tensor value) {
  std::lock_guard<std::mutex> lock(mutex_);
  SM_RETURN_IF_ERROR(CheckOpen());
  const int64_t size = static_cast<int64_t>(items_.size());
  SM_CHECK_ARG(value.dtype() == spec_.dtype, "the tensor array holds ", spec_.dtype, ", found ",
               value.TypeString());
  SM_CHECK_ARG(index >= 0 && (index < size || spec_.dynamic_size), "cannot write item ", index,
               " of a tensor array of ", size, " items whose size is not dynamic");
  SM_CHECK_ARG(spec_.element_shape.CompatibleWith(value.shape()), "found an item of shape ",
               value.shape(), ", expected ", spec_.element_shape);
  if (index >= size) {
    if (index >= kMostArrayItems) return ResourceExhausted("a tensor array of ", index, " items");
    items_.resize(index + 1);
  }
  Item& item = items_[index];
  SM_CHECK_ARG(!item.cleared, "item ", index, " has been read and cleared; it cannot be written");
  SM_CHECK_ARG(!item.written, "item ", index, " has been written already");
  if (spec_.identical_element_shapes) spec_.element_shape = value.shape();
  item.value = std::move(value);
  item.written = true;
  return Status();
}

StatusOr<std::vector<Tensor>> TensorArray::Read(const std::vector<int64_t>& indices,
                                                std::shared_ptr<MemoryBudget> budget) {
  std::lock_guard<std::mutex> lock(mutex_);
  SM_RETURN_IF_ERROR(CheckOpen());
  std::vector<Tensor> values;
  values.reserve(indices.size());
  for (const int64_t index : indices) {
    SM_CHECK_ARG(index >= 0 && index < static_cast<int64_t>(items_.size()), "cannot read item ",
                 index, " of a tensor array of ", items_.size(), " items");
    Item& item = items_[index];
    SM_CHECK_ARG(!item.cleared, "item ", index,
                 " was cleared when it was read; set clear_after_read to false to read it twice");
    if (item.written) {
      values.push_back(item.value);
    } else {
      SM_CHECK_ARG(spec_.element_shape.fully_known(), "item ", index,
                   " has not been written, and its shape is not known");
      SM_ASSIGN_OR_RETURN(Tensor zeros, Tensor::Zeros(spec_.dtype, spec_.element_shape, budget));
      values.push_back(std::move(zeros));
    }
    if (spec_.clear_after_read) {
      item.value = Tensor();
      item.cleared = true;
    }
  }
  return values;
}

void TensorArray::Close() {
  std::lock_guard<std::mutex> lock(mutex_);
  items_.clear();
  closed_ = true;
}

}  // namespace savedmodel
