#include "savedmodel/resource.h"
#include "src/base/status_macros.h"

namespace savedmodel {

StatusOr<ResourceRef> VariableResource::Clone() const {
  auto copy = std::make_shared<VariableResource>(dtype_, shape_);
  std::lock_guard<std::mutex> lock(mutex_);
  copy->value_ = value_;
  return ResourceRef(std::move(copy));
}

bool VariableResource::initialized() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return value_.has_value();
}

namespace {
Status Uninitialized(const std::string& name) {
  return FailedPrecondition("variable '", name,
                            "' is uninitialised; restore a checkpoint or run its initialiser");
}
}  // namespace

StatusOr<Tensor> VariableResource::Read() const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!value_.has_value()) return Uninitialized(name());
  return value_;
}

Status VariableResource::Assign(Tensor value) {
  if (value.dtype() != dtype_) {
    return InvalidArgument("variable '", name(), "' holds ", dtype_, ", cannot assign ",
                           value.TypeString());
  }
  std::lock_guard<std::mutex> lock(mutex_);
  value_ = std::move(value);
  Changed();
  return Status();
}

void VariableResource::Destroy() {
  std::lock_guard<std::mutex> lock(mutex_);
  value_ = Tensor();
  Changed();
}

Status VariableResource::Update(FunctionRef<Status(Tensor&)> update) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!value_.has_value()) return Uninitialized(name());
  Changed();
  return update(value_);
}

namespace {
std::atomic<uint64_t> change_count{0};
}  // namespace

uint64_t VariableResource::ChangeCount() { return change_count.load(std::memory_order_acquire); }

void VariableResource::Changed() {
  version_.fetch_add(1, std::memory_order_acq_rel);
  change_count.fetch_add(1, std::memory_order_acq_rel);
}

}  // namespace savedmodel
