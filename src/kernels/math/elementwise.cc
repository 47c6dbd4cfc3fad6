#include "src/kernels/math/elementwise.h"

#include <cstring>

namespace savedmodel {

void BinaryFloatLoop(ScalarOp op, const float* a, int64_t a_step, const float* b, int64_t b_step,
                     float* z, int64_t n) {
  // The core changes one operand in place: the one that is there already, or a copy.
  const bool b_first = z == b || a_step == 0;
  const float* base = b_first ? b : a;
  const int64_t step = b_first ? a_step : b_step;
  VectorStep vector_step;
  vector_step.op = op;
  vector_step.operand_first = b_first;
  vector_step.operand = b_first ? a : b;
  vector_step.column_stride = step;
  constexpr int64_t kBlock = 2048;  // floats that stay in the cache between copy and change
  for (int64_t at = 0; at < n; at += kBlock) {
    const int64_t count = std::min(kBlock, n - at);
    if (z != base) std::memcpy(z + at, base + at, count * sizeof(float));
    Vectors().apply(&vector_step, 1, z + at, count, 0, 1, count);
    vector_step.operand += step * count;
  }
}

}  // namespace savedmodel
