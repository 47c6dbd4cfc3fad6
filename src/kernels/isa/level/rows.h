// Functions of whole rows: softmax; depthwise convolution.
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

// `kPixels` outputs from column `column` on, for `kVectors` vectors of channels from c on; all taps
// inside the input's width.
template <int kPixels, int kVectors>
inline void DepthwiseInside(const DepthwiseArgs& a, int64_t column, int64_t c) {
  Vec sums[kPixels][kVectors];
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
    const Vec bias = a.bias == nullptr ? Vec{} : Load(a.bias + c + v * kLanes);
#pragma GCC unroll 4
    for (int p = 0; p < kPixels; ++p) sums[p][v] = bias;
  }
  const int64_t first = (a.left + column * a.stride) * a.channels + c;
  for (int64_t kh = 0; kh < a.window_rows; ++kh) {
    if (a.rows[kh] == nullptr) continue;
    const float* x = a.rows[kh] + first;
    const float* f = a.filter + kh * a.window_columns * a.channels + c;
    for (int64_t kw = 0; kw < a.window_columns; ++kw) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        const Vec w = Load(f + v * kLanes);
#pragma GCC unroll 4
        for (int p = 0; p < kPixels; ++p) {
          sums[p][v] += Load(x + p * a.stride * a.channels + v * kLanes) * w;
        }
      }
      x += a.dilation * a.channels;
      f += a.channels;
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      Store(a.out + (column + p) * a.channels + c + v * kLanes, sums[p][v]);
    }
  }
}

// One output with taps that may lie outside, for n channels from c on.
inline void DepthwiseEdge(const DepthwiseArgs& a, int64_t column, int64_t c, int64_t n) {
  Vec sum{};
  if (a.bias != nullptr) sum = n < kLanes ? LoadSome(a.bias + c, n) : Load(a.bias + c);
  for (int64_t kh = 0; kh < a.window_rows; ++kh) {
    if (a.rows[kh] == nullptr) continue;
    for (int64_t kw = 0; kw < a.window_columns; ++kw) {
      const int64_t w = a.left + column * a.stride + kw * a.dilation;
      if (w < 0 || w >= a.in_width) continue;
      const float* x = a.rows[kh] + w * a.channels + c;
      const float* f = a.filter + (kh * a.window_columns + kw) * a.channels + c;
      sum += n < kLanes ? LoadSome(x, n) * LoadSome(f, n) : Load(x) * Load(f);
    }
  }
  float* out = a.out + column * a.channels + c;
  if (n < kLanes) {
    StoreSome(out, sum, n);
  } else {
    Store(out, sum);
  }
}

void Depthwise(const DepthwiseArgs& a) {
  // Outputs [begin, end) read only columns inside the input.
  int64_t begin = a.left >= 0 ? 0 : (-a.left + a.stride - 1) / a.stride;
  const int64_t last = a.in_width - 1 - (a.window_columns - 1) * a.dilation - a.left;
  int64_t end = last < 0 ? 0 : last / a.stride + 1;
  if (end > a.out_width) end = a.out_width;
  if (begin > end) begin = end;
  // A cache line of channels at a time where there are so many.
  constexpr int kWide = 64 / (4 * kLanes) > 2 ? 2 : 64 / (4 * kLanes);
  for (int64_t c = 0; c < a.channels;) {
    const int64_t left = a.channels - c;
    const bool wide = left >= kWide * kLanes;
    const int64_t n = wide ? kWide * kLanes : left < kLanes ? left : kLanes;
    const auto edge = [&](int64_t column) {
      for (int64_t i = 0; i < n; i += kLanes) {
        DepthwiseEdge(a, column, c + i, n - i < kLanes ? n - i : kLanes);
      }
    };
    int64_t column = 0;
    for (; column < begin; ++column) edge(column);
    if (wide) {
      for (; column + 4 <= end; column += 4) DepthwiseInside<4, kWide>(a, column, c);
      for (; column < end; ++column) DepthwiseInside<1, kWide>(a, column, c);
    } else if (n == kLanes) {
      for (; column + 4 <= end; column += 4) DepthwiseInside<4, 1>(a, column, c);
      for (; column < end; ++column) DepthwiseInside<1, 1>(a, column, c);
    }
    for (; column < a.out_width; ++column) edge(column);
    c += n;
  }
}

}  // namespace
}  // namespace savedmodel
