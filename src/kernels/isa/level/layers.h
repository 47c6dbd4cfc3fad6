// Parts of layers: layer normalisation, the weights of attention, the gates of recurrent cells.
#pragma once

#include "src/kernels/isa/level/math.h"
#include "src/kernels/isa/level/rows.h"
#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

// Calls fn(i, load, store) for a row of n floats, a vector at a time: load(p) reads the part of p
// at i, store(p, v) writes it.
template <class F>
inline void ForVectors(int64_t n, F&& fn) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    fn([i](const float* p) { return Load(p + i); }, [i](float* p, Vec v) { Store(p + i, v); });
  }
  if (i < n) {
    fn([i, n](const float* p) { return LoadSome(p + i, n - i); },
       [i, n](float* p, Vec v) { StoreSome(p + i, v, n - i); });
  }
}

void NormalizeRows(const NormalizeArgs& a, int64_t row_begin, int64_t row_end) {
  const float share = 1.0f / static_cast<float>(a.columns);
  for (int64_t r = row_begin; r < row_end; ++r) {
    const float* x = a.x + r * a.columns;
    float* y = a.y + r * a.columns;
    Vec sums{};
    ForVectors(a.columns, [&](auto load, auto) { sums += load(x); });
    const float mean = Sum(sums) * share;
    Vec squares{};
    int64_t i = 0;
    for (; i + kLanes <= a.columns; i += kLanes) {
      const Vec d = Load(x + i) - mean;
      squares += d * d;
    }
    float square = Sum(squares);
    for (; i < a.columns; ++i) square += (x[i] - mean) * (x[i] - mean);
    const float scale = 1.0f / __builtin_sqrtf(square * share + a.epsilon);
    ForVectors(a.columns, [&](auto load, auto store) {
      store(y, (load(x) - mean) * scale * load(a.gamma) + load(a.beta));
    });
  }
}

void AttentionWeights(const AttentionArgs& a, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r) {
    float* row = a.scores + r * a.stride;
    const float* bias = a.bias == nullptr ? nullptr : a.bias + r * a.bias_row_stride;
    const bool* mask = a.mask == nullptr ? nullptr : a.mask + r * a.mask_row_stride;
    if (mask != nullptr && a.mask_column_stride == 0 && !*mask) {
      for (int64_t i = 0; i < a.columns; ++i) row[i] = a.fill;
    } else {
      const bool each = mask != nullptr && a.mask_column_stride != 0;
      for (int64_t i = 0; i < a.columns; i += kLanes) {
        const int64_t n = a.columns - i < kLanes ? a.columns - i : kLanes;
        const auto load = [n](const float* p) { return n < kLanes ? LoadSome(p, n) : Load(p); };
        Vec v = load(row + i) * a.scale;
        if (bias != nullptr) v += a.bias_column_stride == 0 ? Splat(*bias) : load(bias + i);
        if (each) v = LoadBools(mask + i, n) != 0 ? v : Splat(a.fill);
        if (n < kLanes) {
          StoreSome(row + i, v, n);
        } else {
          Store(row + i, v);
        }
      }
    }
    SoftmaxRows(row, row, 1, a.columns, false);
  }
}

void LstmCell(const LstmArgs& a, int64_t row_begin, int64_t row_end) {
  for (int64_t r = row_begin; r < row_end; ++r) {
    const float* gates = a.gates + r * 4 * a.units;
    const float* input = gates + a.order[0] * a.units;
    const float* forget = gates + a.order[1] * a.units;
    const float* candidate = gates + a.order[2] * a.units;
    const float* output = gates + a.order[3] * a.units;
    const int64_t row = r * a.units;
    ForVectors(a.units, [&](auto load, auto store) {
      const Vec kept = Sigmoid(load(forget) + a.forget_bias) * load(a.state + row);
      const Vec state = kept + Sigmoid(load(input)) * Tanh(load(candidate));
      store(a.next_state + row, state);
      store(a.result + row, Sigmoid(load(output)) * Tanh(state));
    });
  }
}

void GruCell(const GruArgs& a, int64_t row_begin, int64_t row_end) {
  for (int64_t r = row_begin; r < row_end; ++r) {
    const float* x = a.x + r * 3 * a.units;
    const float* h = a.recurrent + r * 3 * a.units;
    const int64_t row = r * a.units;
    ForVectors(a.units, [&](auto load, auto store) {
      const Vec update = Sigmoid(load(x) + load(h));
      const Vec reset = Sigmoid(load(x + a.units) + load(h + a.units));
      const Vec candidate = Tanh(load(x + 2 * a.units) + reset * load(h + 2 * a.units));
      store(a.result + row, update * load(a.state + row) + (1.0f - update) * candidate);
    });
  }
}

}  // namespace
}  // namespace savedmodel
