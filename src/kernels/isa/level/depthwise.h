// Depthwise convolution.
#pragma once

#include "src/kernels/isa/level/math.h"
#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

// Square windows, one vector of channels: a tile of outputs two rows high (one, where registers are
// few) for which each input is loaded once.
template <int kWindow, int kStride>
struct DenseWindow {
  static constexpr bool kManyRegisters = kLanes == 16;
  static constexpr int kRows = kManyRegisters || kWindow == 3 ? 2 : 1;
  static constexpr int kPixels = kManyRegisters || kRows == 1 ? 8 : 4;
  static constexpr int kInRows = (kRows - 1) * kStride + kWindow;

  // Adds what an input row has for output rows [kFirst, kLast] of the tile; `w` are their filter
  // rows. A tile that is inside reads no column beyond the input's.
  template <bool kIsInside, int kFirst, int kLast, int kWidth>
  static inline __attribute__((always_inline)) void AddRow(const DepthwiseArgs& a, const float* x,
                                                           int64_t left, const float* const* w,
                                                           Vec (&sums)[kRows][kWidth]) {
    constexpr int kInputs = (kWidth - 1) * kStride + kWindow;
    Vec weights[kRows][kWindow];
#pragma GCC unroll 2
    for (int r = kFirst; r <= kLast; ++r) {
#pragma GCC unroll 7
      for (int k = 0; k < kWindow; ++k) weights[r][k] = Load(w[r] + k * a.channels);
    }
#pragma GCC unroll 20
    for (int i = 0; i < kInputs; ++i, x += a.column_step) {
      if (!kIsInside && static_cast<uint64_t>(left + i) >= static_cast<uint64_t>(a.in_width)) {
        continue;
      }
      Vec in = Load(x);
      KeepInRegister(&in);
#pragma GCC unroll 2
      for (int r = kFirst; r <= kLast; ++r) {
#pragma GCC unroll 8
        for (int p = 0; p < kWidth; ++p) {
          const int k = i - p * kStride;
          if (k >= 0 && k < kWindow) sums[r][p] += in * weights[r][k];
        }
      }
    }
  }

  template <bool kIsInside, int kWidth>
  static void Tile(const DepthwiseArgs& a, const float* const* rows, int out_rows, float* out,
                   int64_t column, int64_t c) {
    const Vec bias = a.bias == nullptr ? Vec{} : Load(a.bias + c);
    Vec sums[kRows][kWidth];
#pragma GCC unroll 2
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int p = 0; p < kWidth; ++p) sums[r][p] = bias;
    }
    const int64_t left = a.left + column * kStride;
    for (int ih = 0; ih < kInRows; ++ih) {
      if (rows[ih] == nullptr) continue;
      const float* x = rows[ih] + left * a.column_step + c;
      const float* w[kRows];
#pragma GCC unroll 2
      for (int r = 0; r < kRows; ++r) {
        w[r] = a.filter + (ih - r * kStride) * kWindow * a.channels + c;
      }
      if (kRows == 1) {
        AddRow<kIsInside, 0, 0>(a, x, left, w, sums);
      } else if (ih < kStride) {
        AddRow<kIsInside, 0, 0>(a, x, left, w, sums);
      } else if (ih < kWindow) {
        AddRow<kIsInside, 0, kRows - 1>(a, x, left, w, sums);
      } else {
        AddRow<kIsInside, kRows - 1, kRows - 1>(a, x, left, w, sums);
      }
    }
    out += column * a.column_step + c;
    const int64_t step = a.column_step, row_step = a.out_row_step;
    const Vec low = Splat(a.low), high = Splat(a.high);  // once: what is written might be these
    for (int r = 0; r < out_rows; ++r, out += row_step) {
#pragma GCC unroll 8
      for (int p = 0; p < kWidth; ++p) {
        const Vec y = r == 0 ? sums[0][p] : sums[kRows - 1][p];
        Store(out + p * step, AtMost(AtLeast(y, low), high));
      }
    }
  }

  template <int kWidth = kPixels>
  static void CallTile(int64_t width, const DepthwiseArgs& a, const float* const* rows,
                       int out_rows, float* out, int64_t column, int64_t c) {
    if (width == kWidth) {
      // Wide ones with stride 1: other tiles gain nothing by it.
      constexpr bool kMayBeInside = kStride == 1 && kWidth >= kPixels - 1;
      const int64_t left = a.left + column;
      if (kMayBeInside && left >= 0 && left + kWidth - 1 + kWindow <= a.in_width) {
        Tile<kMayBeInside, kWidth>(a, rows, out_rows, out, column, c);
      } else {
        Tile<false, kWidth>(a, rows, out_rows, out, column, c);
      }
    } else if constexpr (kWidth > 1) {
      CallTile<kWidth - 1>(width, a, rows, out_rows, out, column, c);
    }
  }

  // All channels but those that do not fill a vector: down the rows for some columns and channels,
  // so that the rows that tiles have in common are still in the first cache level.
  static void Run(const DepthwiseArgs& a) {
    constexpr int64_t kChannels = 64;
    const int64_t channels = a.channels / kLanes * kLanes;
    int64_t column = 0;
    for (int64_t tiles = (a.out_width + kPixels - 1) / kPixels; tiles > 0; --tiles) {
      const int64_t width = (a.out_width - column + tiles - 1) / tiles;
      for (int64_t begin = 0; begin < channels; begin += kChannels) {
        const int64_t end = begin + kChannels < channels ? begin + kChannels : channels;
        for (int r = 0; r < a.out_rows; r += kRows) {
          const int out_rows = a.out_rows - r < kRows ? a.out_rows - r : kRows;
          // The tile reads rows of both outputs.
          const float* rows[kInRows];
          for (int i = 0; i < kInRows; ++i) {
            const bool used = i < kWindow + (out_rows - 1) * kStride;
            rows[i] = used ? a.rows[r * kStride + i] : nullptr;
          }
          float* out = a.out + r * a.out_row_step;
          for (int64_t c = begin; c < end; c += kLanes) {
            CallTile(width, a, rows, out_rows, out, column, c);
          }
        }
      }
      column += width;
    }
  }
};

// One row of outputs for any window, channels from c on. `kPixels` outputs from column `column` on;
// only taps [begin, end) of each window row, which are inside the input's width.
struct AnyWindow {
  const DepthwiseArgs& a;
  const float* const* rows;
  float* out;

  template <int kPixels>
  inline void Tile(int64_t column, int64_t c, int64_t begin, int64_t end) const {
    Vec sums[kPixels] = {};
    const int64_t first = (a.left + column * a.stride + begin * a.dilation) * a.column_step + c;
    for (int64_t kh = 0; kh < a.window_rows; ++kh) {
      const float* x = rows[kh];
      if (x == nullptr) continue;
      x += first;
      const float* f = a.filter + (kh * a.window_columns + begin) * a.channels + c;
      for (int64_t kw = begin; kw < end; ++kw) {
        const Vec w = Load(f);
#pragma GCC unroll 4
        for (int p = 0; p < kPixels; ++p) sums[p] += Load(x + p * a.stride * a.column_step) * w;
        x += a.dilation * a.column_step;
        f += a.channels;
      }
    }
    const Vec bias = a.bias == nullptr ? Vec{} : Load(a.bias + c);
#pragma GCC unroll 4
    for (int p = 0; p < kPixels; ++p) {
      Store(out + (column + p) * a.column_step + c, AtMost(AtLeast(sums[p] + bias, a.low), a.high));
    }
  }

  // One output, the n < kLanes channels from c on.
  inline void Narrow(int64_t column, int64_t c, int64_t n) const {
    Vec sum{};
    for (int64_t kh = 0; kh < a.window_rows; ++kh) {
      const float* x = rows[kh];
      if (x == nullptr) continue;
      for (int64_t kw = 0; kw < a.window_columns; ++kw) {
        const int64_t w = a.left + column * a.stride + kw * a.dilation;
        if (w < 0 || w >= a.in_width) continue;
        const float* f = a.filter + (kh * a.window_columns + kw) * a.channels + c;
        sum += LoadSome(x + w * a.column_step + c, n) * LoadSome(f, n);
      }
    }
    if (a.bias != nullptr) sum += LoadSome(a.bias + c, n);
    StoreSome(out + column * a.column_step + c, AtMost(AtLeast(sum, a.low), a.high), n);
  }

  // Channels from c on.
  void Run(int64_t c) const {
    // Outputs [begin, end) read only columns inside the input.
    int64_t begin = a.left >= 0 ? 0 : (-a.left + a.stride - 1) / a.stride;
    const int64_t last = a.in_width - 1 - (a.window_columns - 1) * a.dilation - a.left;
    int64_t end = last < 0 ? 0 : last / a.stride + 1;
    if (end > a.out_width) end = a.out_width;
    if (begin > end) begin = end;
    const auto edge = [&](int64_t column) {
      const int64_t at = a.left + column * a.stride;
      const int64_t from = at >= 0 ? 0 : (-at + a.dilation - 1) / a.dilation;
      const int64_t inside = at >= a.in_width ? 0 : (a.in_width - at + a.dilation - 1) / a.dilation;
      Tile<1>(column, c, from, inside < a.window_columns ? inside : a.window_columns);
    };
    for (; c + kLanes <= a.channels; c += kLanes) {
      int64_t column = 0;
      for (; column < begin; ++column) edge(column);
      for (; column + 4 <= end; column += 4) Tile<4>(column, c, 0, a.window_columns);
      for (; column < a.out_width; ++column) edge(column);
    }
    if (c == a.channels) return;
    for (int64_t column = 0; column < a.out_width; ++column) Narrow(column, c, a.channels - c);
  }
};

// Returns the channels that are done; the others do not fill a vector.
template <int kWindow, int kStride>
int64_t RunDense(const DepthwiseArgs& a) {
  DenseWindow<kWindow, kStride>::Run(a);
  return a.channels / kLanes * kLanes;
}

void Depthwise(const DepthwiseArgs& a) {
  int64_t done = 0;
  if (a.dilation == 1 && a.rows_stride == a.stride && a.window_rows == a.window_columns) {
    if (a.window_rows == 3 && a.stride == 1) done = RunDense<3, 1>(a);
    if (a.window_rows == 3 && a.stride == 2) done = RunDense<3, 2>(a);
    if (a.window_rows == 5 && a.stride == 1) done = RunDense<5, 1>(a);
    if (a.window_rows == 5 && a.stride == 2) done = RunDense<5, 2>(a);
    if (a.window_rows == 7 && a.stride == 1) done = RunDense<7, 1>(a);
  }
  if (done == a.channels) return;
  for (int r = 0; r < a.out_rows; ++r) {
    AnyWindow{a, a.rows + r * a.rows_stride, a.out + r * a.out_row_step}.Run(done);
  }
}

}  // namespace
}  // namespace savedmodel
