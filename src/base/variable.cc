#include "savedmodel/resource.h"
#include "src/base/status_macros.h"

namespace savedmodel {

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
  ++version_;
  return Status();
}

void VariableResource::Destroy() {
  std::lock_guard<std::mutex> lock(mutex_);
  value_ = Tensor();
  ++version_;
}

Status VariableResource::Update(FunctionRef<Status(Tensor&)> update) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!value_.has_value()) return Uninitialized(name());
  ++version_;
  return update(value_);
}

uint64_t VariableResource::version() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return version_;
}

}  // namespace savedmodel
