// Parts of layers: layer and local response normalisation.
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

void RoundToLevels(const float* x, int64_t n, float low, float high, float scale, float* y) {
  ForVectors(n, [&](auto load, auto store) {
    const Vec shifted = AtMost(AtLeast(load(x), low), high) - low;
    store(y, Floor(shifted / scale + 0.5f) * scale + low);
  });
}

void NormalizeChannels(const ChannelNormArgs& a, const float* x, int64_t pixels, float* y) {
  const int64_t step = a.channels + a.radius;
  const bool is_root = a.beta == 0.5f;
  for (int64_t p = 0; p < pixels; ++p) {
    float* const squares = a.squares + a.radius + p * step;
    const float* const from = x + p * a.channels;
    ForVectors(a.channels, [&](auto load, auto store) {
      const Vec v = load(from);
      store(squares, v * v);
    });
  }
  for (int64_t p = 0; p < pixels; ++p) {
    const float* const squares = a.squares + p * step;
    const float* const from = x + p * a.channels;
    ForVectors(a.channels, [&](auto load, auto store) {
      Vec sum{};
      for (int64_t t = 0; t <= 2 * a.radius; ++t) sum += load(squares + t);
      const Vec base = sum * a.alpha + a.bias;
      store(y + p * a.channels, is_root ? load(from) / Sqrt(base) : base);
    });
  }
  if (is_root) return;
  // One function after the other: the constants of both do not fit into the registers.
  const int64_t n = pixels * a.channels;
  ForVectors(n, [&](auto load, auto store) { store(y, Log(load(y)) * -a.beta); });
  ForVectors(n, [&](auto load, auto store) { store(y, load(x) * Exp(load(y))); });
}

}  // namespace
}  // namespace savedmodel
