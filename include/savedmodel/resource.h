/// What resource and variant tensors hold.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "savedmodel/dtype.h"
#include "savedmodel/export.h"
#include "savedmodel/status.h"
#include "savedmodel/tensor.h"

namespace savedmodel {

/// A mutable object that graphs reach through handles: a variable, a lookup table, a queue.
/// Implementations have their own lock; methods may be called from any thread.
class SAVEDMODEL_EXPORT Resource {
 public:
  virtual ~Resource();
  /// What it is, for messages: "variable", "hash table", …
  virtual std::string_view kind() const = 0;
  /// A resource with the same content, for Model::Clone; null for one that serves a single run.
  /// UNIMPLEMENTED, the default, for a kind that cannot be copied.
  virtual StatusOr<std::shared_ptr<Resource>> Clone() const;

  /// The name under which the graph knows it (`shared_name`, or the node's name).
  const std::string& name() const { return name_; }
  void set_name(std::string name) { name_ = std::move(name); }

 private:
  std::string name_;
};

/// A variable: a tensor that may be uninitialised and is replaced as a whole.
class SAVEDMODEL_EXPORT VariableResource final : public Resource {
 public:
  VariableResource(DType dtype, Shape shape) : dtype_(dtype), shape_(std::move(shape)) {}
  std::string_view kind() const override { return "variable"; }
  /// Shares the value's memory until one of the two is assigned.
  StatusOr<std::shared_ptr<Resource>> Clone() const override;

  DType dtype() const { return dtype_; }
  /// The declared shape; may be partly or wholly unknown.
  const Shape& shape() const { return shape_; }
  bool initialized() const;
  /// The value. FAILED_PRECONDITION while uninitialised.
  StatusOr<Tensor> Read() const;
  /// Replaces the value. INVALID_ARGUMENT when the dtype differs from the declared one.
  Status Assign(Tensor value);
  void Destroy();
  /// Runs `update` on the value under the variable's lock; the tensor is left exclusive where
  /// nobody else holds it, so that updates happen in place. FAILED_PRECONDITION while
  /// uninitialised.
  Status Update(FunctionRef<Status(Tensor&)> update);
  /// Counts assignments: a plan that froze the value compares it to know whether it still holds.
  uint64_t version() const { return version_.load(std::memory_order_acquire); }
  /// Counts assignments to all variables of the process: while it stands still, no version moved.
  static uint64_t ChangeCount();

 private:
  void Changed();

  const DType dtype_;
  const Shape shape_;
  mutable std::mutex mutex_;
  Tensor value_;
  std::atomic<uint64_t> version_{0};
};

/// The content of one element of a variant tensor (a TensorList, an Optional, …).
/// Shared content is immutable; an op may change content in place that only it holds.
class SAVEDMODEL_EXPORT VariantValue {
 public:
  virtual ~VariantValue();
  virtual std::string_view kind() const = 0;
};

}  // namespace savedmodel
