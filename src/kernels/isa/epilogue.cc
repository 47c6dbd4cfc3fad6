// Steps fused behind a product.
#include "src/base/status_macros.h"
#include "src/kernels/isa/gemm.h"

namespace savedmodel {

Status Epilogue::Resolve(const OpContext& ctx, Span<const EpilogueStep> of_node,
                         const Shape& output) {
  bias = nullptr;
  steps.clear();
  const int64_t columns = output.rank() == 0 ? 1 : output[output.rank() - 1];
  for (const EpilogueStep& step : of_node) {
    const float* operand = nullptr;
    int64_t row_stride = 0, column_stride = 0;
    if (step.operand >= 0) {
      const Tensor& t = ctx.input(step.operand);
      operand = t.data<float>();
      const int64_t n = t.num_elements();
      if (n == output.num_elements()) {
        row_stride = columns;
        column_stride = 1;
      } else if (n == columns) {
        column_stride = 1;
      } else if (n != 1 || operand == nullptr) {
        return Internal("a fused operand has shape ", t.shape(), ", the output ", output);
      }
    }
    if (bias == nullptr && steps.empty() && step.op == ScalarOp::kAdd && column_stride == 1 &&
        row_stride == 0) {
      bias = operand;
      continue;
    }
    VectorStep& resolved = steps.emplace_back();
    resolved.op = step.op;
    resolved.operand_first = step.operand_first;
    resolved.parameter = step.parameter;
    resolved.operand = operand;
    resolved.row_stride = row_stride;
    resolved.column_stride = column_stride;
  }
  return Status();
}

Epilogue Epilogue::FromColumn(int64_t first) const {
  Epilogue part = *this;
  if (part.bias != nullptr) part.bias += first;
  for (VectorStep& step : part.steps) {
    if (step.operand != nullptr) step.operand += first * step.column_stride;
  }
  return part;
}

Epilogue Epilogue::FromRow(int64_t first) const {
  Epilogue part = *this;
  for (VectorStep& step : part.steps) {
    if (step.operand != nullptr) step.operand += first * step.row_stride;
  }
  return part;
}

void TakeLimits(const VectorStep** step, const VectorStep* end, float* low, float* high) {
  if (*step == end) return;
  if ((*step)->op != ScalarOp::kRelu && (*step)->op != ScalarOp::kRelu6) return;
  *low = 0;
  if ((*step)->op == ScalarOp::kRelu6) *high = 6;
  ++*step;
}

void Epilogue::ApplyTo(OpContext& ctx, float* out, int64_t n, int64_t columns) const {
  std::vector<VectorStep> all;
  if (bias != nullptr) {
    all.push_back({.op = ScalarOp::kAdd, .operand = bias, .column_stride = 1});
  }
  all.insert(all.end(), steps.begin(), steps.end());
  if (all.empty()) return;
  ctx.ParallelFor(n / columns, 0.5 * columns, [&](int64_t begin, int64_t end) {
    Vectors().apply(all.data(), static_cast<int>(all.size()), out, columns, begin, end, columns);
  });
}

void Epilogue::ApplySteps(float* out, int64_t columns, int64_t begin, int64_t end) const {
  if (steps.empty()) return;
  Vectors().apply(steps.data(), static_cast<int>(steps.size()), out, columns, begin, end, columns);
}

}  // namespace savedmodel
