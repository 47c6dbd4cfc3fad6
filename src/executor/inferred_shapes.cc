#include "src/executor/inferred_shapes.h"

#include <algorithm>

#include "src/base/status_macros.h"

namespace savedmodel {

bool InferredShapes::AreOf(Span<Tensor* const> inputs) const {
  return is_kept_ && std::equal(inputs.begin(), inputs.end(), inputs_.begin(),
                                [](const Tensor* t, const Shape& s) { return t->shape() == s; });
}

Status InferredShapes::Infer(const Node& node, Span<Tensor* const> inputs,
                             FunctionRef<bool(size_t)> is_constant) {
  if (AreOf(inputs)) return Status();
  is_kept_ = false;
  if (!depends_on_values_) {
    SM_RETURN_IF_ERROR(InferAtRunTime(node, inputs, is_constant, &outputs_));
    is_kept_ = std::all_of(outputs_.begin(), outputs_.end(),
                           [](const Shape& s) { return s.fully_known(); });
    depends_on_values_ = !is_kept_;
  }
  if (depends_on_values_) {
    return InferAtRunTime(
        node, inputs, [](size_t) { return true; }, &outputs_);
  }
  inputs_.clear();
  for (const Tensor* t : inputs) inputs_.push_back(t->shape());
  return Status();
}

}  // namespace savedmodel
