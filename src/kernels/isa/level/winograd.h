// Transforms of Winograd's convolutions F(m x m, 3 x 3), as in Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks" (2015).
#pragma once

#include "src/kernels/isa/level/math.h"
#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

// One dimension of the transforms: `kSize` inputs give `kSize` frequencies give `kOut` outputs.
template <int m>
struct Winograd;

template <>
struct Winograd<2> {
  static constexpr int kOut = 2, kSize = 4;
  static void In(const Vec* x, int from, Vec* t, int to) {
    t[0] = x[0] - x[2 * from];
    t[to] = x[from] + x[2 * from];
    t[2 * to] = x[2 * from] - x[from];
    t[3 * to] = x[from] - x[3 * from];
  }
  static void Out(const Vec* t, int from, Vec* y, int to) {
    y[0] = t[0] + t[from] + t[2 * from];
    y[to] = t[from] - t[2 * from] - t[3 * from];
  }
};

// Through the points 0, +-sqrt(1/2), +-sqrt(2) and infinity, which lose less to rounding than the
// usual integers do.
template <>
struct Winograd<4> {
  static constexpr int kOut = 4, kSize = 6;
  static constexpr float kA = 0.70710678118654752f, kB = 1.4142135623730950f;
  static void In(const Vec* x, int from, Vec* t, int to) {
    const Vec x1 = x[from], x2 = x[2 * from], x3 = x[3 * from], x4 = x[4 * from];
    const Vec a = x4 - 2.0f * x2, b = x3 - 2.0f * x1, c = x4 - 0.5f * x2, d = x3 - 0.5f * x1;
    t[0] = x[0] - 2.5f * x2 + x4;
    t[to] = a + kA * b;
    t[2 * to] = a - kA * b;
    t[3 * to] = c + kB * d;
    t[4 * to] = c - kB * d;
    t[5 * to] = x1 - 2.5f * x3 + x[5 * from];
  }
  static void Out(const Vec* t, int from, Vec* y, int to) {
    const Vec a = t[from] + t[2 * from], b = t[from] - t[2 * from];
    const Vec c = t[3 * from] + t[4 * from], d = t[3 * from] - t[4 * from];
    y[0] = t[0] + a + c;
    y[to] = kA * b + kB * d;
    y[2 * to] = 0.5f * a + 2.0f * c;
    y[3 * to] = (0.5f * kA) * b + (2 * kB) * d + t[5 * from];
  }
};

// Calls fn(load, store, c) for every vector of `channels`; the last one may be narrower.
template <class F>
inline void EachVector(int64_t channels, F&& fn) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) fn(Load, Store, c);
  const int64_t n = channels - c;
  if (n == 0) return;
  fn([n](const float* p) { return LoadSome(p, n); }, [n](float* p, Vec v) { StoreSome(p, v, n); },
     c);
}

template <int m>
void WinogradInputOf(const WinogradArgs& args) {
  constexpr int kSize = Winograd<m>::kSize;
  EachVector(args.channels, [&](auto load, auto store, int64_t c) {
    Vec half[kSize * kSize];
#pragma GCC unroll 6
    for (int x = 0; x < kSize; ++x) {
      Vec column[kSize];
#pragma GCC unroll 6
      for (int y = 0; y < kSize; ++y) column[y] = load(args.pixels[y * kSize + x] + c);
      Winograd<m>::In(column, 1, half + x, kSize);
    }
#pragma GCC unroll 6
    for (int y = 0; y < kSize; ++y) {
      Vec row[kSize];
      Winograd<m>::In(half + y * kSize, 1, row, 1);
#pragma GCC unroll 6
      for (int x = 0; x < kSize; ++x) {
        store(args.frequencies + (y * kSize + x) * args.frequency_stride + c, row[x]);
      }
    }
  });
}

template <int m>
void WinogradOutputOf(const WinogradArgs& args) {
  constexpr int kSize = Winograd<m>::kSize;
  EachVector(args.channels, [&](auto load, auto store, int64_t c) {
    Vec half[m * kSize];
#pragma GCC unroll 6
    for (int x = 0; x < kSize; ++x) {
      Vec column[kSize];
#pragma GCC unroll 6
      for (int y = 0; y < kSize; ++y) {
        column[y] = load(args.frequencies + (y * kSize + x) * args.frequency_stride + c);
      }
      Winograd<m>::Out(column, 1, half + x, kSize);
    }
    const Vec bias = args.bias == nullptr ? Vec{} : load(args.bias + c);
#pragma GCC unroll 4
    for (int y = 0; y < m; ++y) {
      if (y >= args.out_rows) break;
      Vec row[m];
      Winograd<m>::Out(half + y * kSize, 1, row, 1);
      float* out = args.out + y * args.out_row_stride + c;
#pragma GCC unroll 4
      for (int x = 0; x < m; ++x) {
        if (x < args.out_columns) {
          store(out + x * args.channels, AtMost(AtLeast(row[x] + bias, args.low), args.high));
        }
      }
    }
  });
}

void WinogradInput(int m, const WinogradArgs& args) {
  if (m == 2) return WinogradInputOf<2>(args);
  return WinogradInputOf<4>(args);
}

void WinogradOutput(int m, const WinogradArgs& args) {
  if (m == 2) return WinogradOutputOf<2>(args);
  return WinogradOutputOf<4>(args);
}

}  // namespace
}  // namespace savedmodel
