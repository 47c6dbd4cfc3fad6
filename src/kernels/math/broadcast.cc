#include "src/kernels/math/broadcast.h"

namespace savedmodel {

bool BroadcastsTo(const Shape& shape, const Shape& output) {
  const int missing = output.rank() - shape.rank();
  for (int i = 0; missing >= 0 && i < shape.rank(); ++i) {
    if (shape[i] != 1 && shape[i] != output[i + missing]) return false;
  }
  return missing >= 0;
}

BroadcastPlan PlanBroadcast(Span<const Shape* const> inputs, const Shape& output) {
  BroadcastPlan plan;
  std::array<int64_t, BroadcastPlan::kMaxInputs> stride;
  stride.fill(1);
  std::vector<BroadcastPlan::Dim> dims;  // innermost first
  for (int d = output.rank() - 1; d >= 0; --d) {
    BroadcastPlan::Dim dim;
    dim.size = output[d];
    for (size_t i = 0; i < inputs.size(); ++i) {
      const int input_dim = d - (output.rank() - inputs[i]->rank());
      const int64_t size = input_dim < 0 ? 1 : (*inputs[i])[input_dim];
      dim.step[i] = size == 1 ? 0 : stride[i];
      stride[i] *= size;
    }
    if (dim.size == 1) continue;
    bool merges = !dims.empty();
    if (merges) {
      const BroadcastPlan::Dim& last = dims.back();
      for (size_t i = 0; i < inputs.size(); ++i) merges &= dim.step[i] == last.step[i] * last.size;
    }
    if (merges) {
      dims.back().size *= dim.size;
    } else {
      dims.push_back(dim);
    }
  }
  if (!dims.empty()) {
    plan.inner = dims.front();
    plan.outer.assign(dims.rbegin(), dims.rend() - 1);
  }
  if (plan.inner.size == 0) plan.inner.size = 1;  // nothing to iterate; keeps divisions defined
  return plan;
}

}  // namespace savedmodel
