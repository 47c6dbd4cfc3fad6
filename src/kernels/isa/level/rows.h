// Softmax of rows.
#pragma once

#include "src/kernels/isa/level/math.h"
#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

// Largest of n floats; NaN where one of them is NaN.
inline float RowMaximum(const float* x, int64_t n) {
  Vec best = Splat(-__builtin_inff());
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec v = Load(x + i);
    best = v > best || v != v ? v : best;
  }
  float largest = -__builtin_inff();
  for (int lane = 0; lane < kLanes; ++lane) {
    if (!(best[lane] <= largest)) largest = best[lane];
  }
  for (; i < n; ++i) {
    if (!(x[i] <= largest)) largest = x[i];
  }
  return largest;
}

void SoftmaxRows(const float* x, float* y, int64_t rows, int64_t columns, bool log) {
  for (int64_t r = 0; r < rows; ++r, x += columns, y += columns) {
    const float largest = RowMaximum(x, columns);
    Vec sums{};
    int64_t i = 0;
    for (; i + kLanes <= columns; i += kLanes) {
      const Vec e = Exp(Load(x + i) - largest);
      sums += e;
      if (!log) Store(y + i, e);
    }
    float sum = Sum(sums);
    if (i < columns) {
      const Vec e = Exp(LoadSome(x + i, columns - i) - largest);
      for (int lane = 0; lane < columns - i; ++lane) sum += e[lane];
      if (!log) StoreSome(y + i, e, columns - i);
    }
    if (log) {
      const float shift = __builtin_logf(sum);
      for (i = 0; i < columns; ++i) y[i] = x[i] - largest - shift;
    } else {
      const float scale = 1 / sum;
      for (i = 0; i < columns; ++i) y[i] *= scale;
    }
  }
}

}  // namespace
}  // namespace savedmodel
