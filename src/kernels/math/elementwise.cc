#include "src/kernels/math/elementwise.h"

#include <cstring>

namespace savedmodel {

void BinaryFloatLoop(ScalarOp op, const float* a, int64_t a_step, const float* b, int64_t b_step,
                     float* z, int64_t n) {
  ArrayStep step;
  step.op = op;
  step.x = a;
  step.y = b;
  step.x_step = a_step;
  step.y_step = b_step;
  step.result = z;
  Vectors().run_steps(&step, 1, n);
}

int RepeatedOperand(const BroadcastPlan& plan) {
  constexpr int64_t kShort = 256, kMany = 8;
  if (plan.outer.empty() || plan.inner.size >= kShort || plan.outer.back().size < kMany) return -1;
  const auto& inner = plan.inner;
  const auto& rows = plan.outer.back();
  if (inner.step[0] != 1 || inner.step[1] != 1) return -1;
  for (const int i : {0, 1}) {
    if (rows.step[i] == 0 && rows.step[1 - i] == inner.size) return i;
  }
  return -1;
}

void BinaryFloatRepeated(OpContext& ctx, ScalarOp op, BroadcastPlan plan, int repeated,
                         const float* a, const float* b, float* z, int64_t n) {
  // The row as often as makes a long one; runs over all rows as if both operands were long.
  constexpr int64_t kLong = 1024;
  const int64_t row = plan.inner.size, length = row * ((kLong + row - 1) / row);
  plan.inner.size *= plan.outer.back().size;
  plan.outer.pop_back();
  const float* operands[2] = {a, b};
  ctx.ParallelFor(n, 0.2, [&](int64_t begin, int64_t end) {
    std::vector<float> repeats(static_cast<size_t>(length));
    const float* held = nullptr;
    ForEachRun(plan, begin, end, [&](int64_t at, const auto& from, int64_t count) {
      const int64_t column = at % plan.inner.size;
      const float* first = operands[repeated] + from[repeated] - column;
      for (int64_t i = 0; first != held && i < length; i += row) {
        std::memcpy(&repeats[i], first, row * sizeof(float));
      }
      held = first;
      const float* other = operands[1 - repeated] + from[1 - repeated];
      for (int64_t i = 0, phase = column % row; i < count; phase = 0) {
        const int64_t some = std::min(count - i, length - phase);
        const float* short_one = &repeats[phase];
        BinaryFloatLoop(op, repeated == 0 ? short_one : other + i, 1,
                        repeated == 0 ? other + i : short_one, 1, z + at + i, some);
        i += some;
      }
    });
  });
}

}  // namespace savedmodel
