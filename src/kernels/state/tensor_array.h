// TensorArray: the arrays of TensorFlow 1's loops.
#pragma once

#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "savedmodel/op.h"
#include "savedmodel/resource.h"

namespace savedmodel {

// An array of tensors, each written once, then read; with `clear_after_read` once, too.
// Thread-safe.
class TensorArray final : public Resource {
 public:
  struct Spec {
    DType dtype = DType::kInvalid;
    Shape element_shape;
    bool dynamic_size = false;
    bool clear_after_read = true;
    bool identical_element_shapes = false;
  };

  // `size` has been checked to be fit to allocate.
  TensorArray(Spec spec, int64_t size) : spec_(std::move(spec)), items_(size) {}
  std::string_view kind() const override { return "tensor array"; }
  StatusOr<ResourceRef> Clone() const override { return ResourceRef(); }
  DType dtype() const { return spec_.dtype; }

  StatusOr<int64_t> Size() const;
  Status Write(int64_t index, Tensor value);
  // Makes the array hold `size` items: resizes it if it is dynamic, else fails if it does not.
  Status EnsureSize(int64_t size);
  // Items `indices`, all of one shape that is compatible with `element_shape`.
  StatusOr<std::vector<Tensor>> Read(const std::vector<int64_t>& indices,
                                     std::shared_ptr<MemoryBudget> budget);
  // What is known of the shape of items.
  Shape element_shape() const;
  // INVALID_ARGUMENT when `shape` contradicts what is known.
  Status MergeElementShape(const Shape& shape);
  void Close();

 private:
  struct Item {
    Tensor value;
    bool written = false;
    bool cleared = false;
  };

  Status CheckOpen() const;

  Spec spec_;
  mutable std::mutex mutex_;
  std::vector<Item> items_;
  bool closed_ = false;
};

// More items than any model has; fewer than would take the machine down.
inline constexpr int64_t kMostArrayItems = int64_t{1} << 26;

}  // namespace savedmodel
