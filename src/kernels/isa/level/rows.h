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

// `kPixels` outputs from column `column` on, for `kVectors` vectors of channels from c on; only
// taps [begin, end) of each window row, which are inside the input's width.
template <int kPixels, int kVectors>
inline void DepthwiseTile(const DepthwiseArgs& a, int64_t column, int64_t c, int64_t begin,
                          int64_t end) {
  Vec sums[kPixels][kVectors];
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
    const Vec bias = a.bias == nullptr ? Vec{} : Load(a.bias + c + v * kLanes);
#pragma GCC unroll 4
    for (int p = 0; p < kPixels; ++p) sums[p][v] = bias;
  }
  const int64_t first = (a.left + column * a.stride + begin * a.dilation) * a.channels + c;
  for (int64_t kh = 0; kh < a.window_rows; ++kh) {
    if (a.rows[kh] == nullptr) continue;
    const float* x = a.rows[kh] + first;
    const float* f = a.filter + (kh * a.window_columns + begin) * a.channels + c;
    for (int64_t kw = begin; kw < end; ++kw) {
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

// Four outputs, one vector of channels, of windows `kWindow` wide that move by one column: each
// input is loaded once for all of them.
template <int kWindow>
inline void DepthwiseDense(const DepthwiseArgs& a, int64_t column, int64_t c) {
  Vec sums[4];
#pragma GCC unroll 4
  for (int p = 0; p < 4; ++p) sums[p] = a.bias == nullptr ? Vec{} : Load(a.bias + c);
  const int64_t first = (a.left + column) * a.channels + c;
  for (int64_t kh = 0; kh < a.window_rows; ++kh) {
    if (a.rows[kh] == nullptr) continue;
    const float* x = a.rows[kh] + first;
    const float* f = a.filter + kh * kWindow * a.channels + c;
    Vec w[kWindow];
#pragma GCC unroll 5
    for (int kw = 0; kw < kWindow; ++kw) w[kw] = Load(f + kw * a.channels);
#pragma GCC unroll 8
    for (int i = 0; i < kWindow + 3; ++i) {
      const Vec in = Load(x + i * a.channels);
#pragma GCC unroll 4
      for (int p = 0; p < 4; ++p) {
        if (i - p >= 0 && i - p < kWindow) sums[p] += in * w[i - p];
      }
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < 4; ++p) Store(a.out + (column + p) * a.channels + c, sums[p]);
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
      const int64_t at = a.left + column * a.stride;
      const int64_t from = at >= 0 ? 0 : (-at + a.dilation - 1) / a.dilation;
      const int64_t inside = at >= a.in_width ? 0 : (a.in_width - at + a.dilation - 1) / a.dilation;
      const int64_t to = inside < a.window_columns ? inside : a.window_columns;
      if (wide) return DepthwiseTile<1, kWide>(a, column, c, from, to);
      if (n == kLanes) return DepthwiseTile<1, 1>(a, column, c, from, to);
      DepthwiseEdge(a, column, c, n);
    };
    int64_t column = 0;
    for (; column < begin; ++column) edge(column);
    if (n >= kLanes) {
      const bool dense = a.stride == 1 && a.dilation == 1;
      for (; column + 4 <= end; column += 4) {
        for (int64_t i = c; i < c + n; i += kLanes) {
          if (dense && a.window_columns == 3) {
            DepthwiseDense<3>(a, column, i);
          } else if (dense && a.window_columns == 5) {
            DepthwiseDense<5>(a, column, i);
          } else if (wide) {
            DepthwiseTile<4, kWide>(a, column, c, 0, a.window_columns);
            break;
          } else {
            DepthwiseTile<4, 1>(a, column, i, 0, a.window_columns);
          }
        }
      }
    }
    for (; column < a.out_width; ++column) edge(column);
    c += n;
  }
}

}  // namespace
}  // namespace savedmodel
