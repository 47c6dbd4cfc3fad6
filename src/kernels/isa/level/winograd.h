// Transforms of Winograd's convolutions F(m x m, 3 x 3), as in Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks" (2015).
#pragma once

#include "src/kernels/isa/level/math.h"
#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

typedef double DoubleVec __attribute__((vector_size(SM_LANES * 4)));
typedef float HalfVec __attribute__((vector_size(SM_LANES * 2)));
typedef float UnalignedHalfVec __attribute__((vector_size(SM_LANES * 2), aligned(4)));

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
  static void Filter(const DoubleVec* g, int from, DoubleVec* t, int to) {
    const DoubleVec a = .5 * (g[0] + g[2 * from]), b = .5 * g[from];
    t[0] = g[0];
    t[to] = a + b;
    t[2 * to] = a - b;
    t[3 * to] = g[2 * from];
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
  static void Filter(const DoubleVec* g, int from, DoubleVec* t, int to) {
    constexpr double kExactA = 0.70710678118654752440, kExactB = 1.41421356237309504880;
    const DoubleVec a = (-2. / 3) * g[0] - (1. / 3) * g[2 * from], b = (2. / 3 * kExactA) * g[from];
    const DoubleVec c = (1. / 6) * g[0] + (1. / 3) * g[2 * from], d = (kExactB / 6) * g[from];
    t[0] = g[0];
    t[to] = a - b;
    t[2 * to] = a + b;
    t[3 * to] = c + d;
    t[4 * to] = c - d;
    t[5 * to] = g[2 * from];
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

// Half a vector of columns of one row of the panels, from its nine taps.
template <int m>
inline void WinogradFilterTaps(const DoubleVec* taps, float* const* panels, int64_t at) {
  constexpr int kSize = Winograd<m>::kSize;
  DoubleVec half[kSize * 3];
#pragma GCC unroll 3
  for (int x = 0; x < 3; ++x) Winograd<m>::Filter(taps + x, 3, half + x, 3);
#pragma GCC unroll 6
  for (int y = 0; y < kSize; ++y) {
    DoubleVec row[kSize];
    Winograd<m>::Filter(half + y * 3, 1, row, 1);
#pragma GCC unroll 6
    for (int x = 0; x < kSize; ++x) {
      *reinterpret_cast<UnalignedHalfVec*>(panels[y * kSize + x] + at) =
          __builtin_convertvector(row[x], HalfVec);
    }
  }
}

template <int m>
void WinogradFilterOf(const WinogradFilterArgs& args) {
  for (int64_t k = 0; k < args.depth; ++k) {
    EachVector(args.columns, [&](auto load, auto, int64_t c) {
      const Vec scale = args.scale == nullptr ? Splat(1) : load(args.scale + c);
      DoubleVec low[9], high[9];
#pragma GCC unroll 9
      for (int t = 0; t < 9; ++t) {
        const Vec tap = scale * load(args.filter + (t * args.depth + k) * args.row_stride + c);
        HalfVec halves[2];
        __builtin_memcpy(halves, &tap, sizeof(tap));
        low[t] = __builtin_convertvector(halves[0], DoubleVec);
        high[t] = __builtin_convertvector(halves[1], DoubleVec);
      }
      WinogradFilterTaps<m>(low, args.panels, k * args.width + c);
      WinogradFilterTaps<m>(high, args.panels, k * args.width + c + kLanes / 2);
    });
  }
}

void WinogradFilter(int m, const WinogradFilterArgs& args) {
  if (m == 2) return WinogradFilterOf<2>(args);
  return WinogradFilterOf<4>(args);
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
