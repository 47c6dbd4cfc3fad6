// Transforms of Winograd's convolutions, as in Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks" (2015).
#pragma once

#include "src/kernels/isa/level/math.h"
#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

typedef double DoubleVec __attribute__((vector_size(SM_LANES * 4)));
typedef float HalfVec __attribute__((vector_size(SM_LANES * 2)));
typedef float UnalignedHalfVec __attribute__((vector_size(SM_LANES * 2), aligned(4)));

// Points p of which 0, p, -p and infinity are those of the transforms of `kSize` frequencies: such
// as lose little to rounding.
template <int kSize>
struct WinogradPoints;
template <>
struct WinogradPoints<4> {
  static constexpr double kPoints[] = {1};
};
template <>
struct WinogradPoints<6> {
  static constexpr double kPoints[] = {0.70710678118654752440, 1.41421356237309504880};
};
template <>
struct WinogradPoints<8> {
  static constexpr double kPoints[] = {0.5, 1, 2};
};

// One dimension of the transforms, by Toom and Cook: `kSize` inputs give as many frequencies, in
// the order of the points, which give m outputs of windows of kSize + 1 - m.
template <int kSize>
struct Winograd : WinogradPoints<kSize> {
  using WinogradPoints<kSize>::kPoints;
  static constexpr int kPairs = kSize / 2 - 1;

  // The product of x^2 - p^2 over all points p but number `without`: factors of 1, x^2, x^4...
  struct Polynomial {
    double factors[kPairs + 1] = {1};
  };
  static constexpr Polynomial ProductWithout(int without) {
    Polynomial product;
    for (int i = 0, degree = 0; i < kPairs; ++i) {
      if (i == without) continue;
      const double square = kPoints[i] * kPoints[i];
      for (int k = ++degree; k > 0; --k) {
        product.factors[k] = product.factors[k - 1] - square * product.factors[k];
      }
      product.factors[0] *= -square;
    }
    return product;
  }
  // Its value at p, where that is the point left out.
  static constexpr double Value(int without) {
    double value = 1;
    for (int i = 0; i < kPairs; ++i) {
      const double p = kPoints[without];
      if (i != without) value *= p * p - kPoints[i] * kPoints[i];
    }
    return value;
  }
  // Of each point, from 0 on.
  struct Powers {
    float values[kPairs][kSize - 1] = {};
  };
  static constexpr Powers AllPowers() {
    Powers powers;
    for (int i = 0; i < kPairs; ++i) {
      double power = 1;
      for (float& value : powers.values[i]) {
        value = static_cast<float>(power);
        power *= kPoints[i];
      }
    }
    return powers;
  }

  // The polynomial's value where x^2k is values[k * step].
  template <int kWithout>
  static Vec Combine(const Vec* values, int step) {
    constexpr Polynomial kProduct = ProductWithout(kWithout);
    constexpr int kDegree = kWithout == kPairs ? kPairs : kPairs - 1;
    Vec sum = values[kDegree * step];
#pragma GCC unroll 3
    for (int k = kDegree - 1; k >= 0; --k) {
      sum += static_cast<float>(kProduct.factors[k]) * values[k * step];
    }
    return sum;
  }
  template <int kPair>
  static void InOfPairs(const Vec* x, int from, Vec* t, int to) {
    if constexpr (kPair < kPairs) {
      const Vec even = Combine<kPair>(x + 2 * from, 2 * from);
      const Vec odd = Combine<kPair>(x + from, 2 * from);
      constexpr float kPoint = static_cast<float>(kPoints[kPair]);
      t[(2 * kPair + 1) * to] = even + kPoint * odd;
      t[(2 * kPair + 2) * to] = even - kPoint * odd;
      InOfPairs<kPair + 1>(x, from, t, to);
    }
  }
  static void In(const Vec* x, int from, Vec* t, int to) {
    t[0] = Combine<kPairs>(x, 2 * from);
    InOfPairs<0>(x, from, t, to);
    t[(kSize - 1) * to] = Combine<kPairs>(x + from, 2 * from);
  }

  // Calls put(k, output) for the first `count` of m outputs.
  template <class F>
  static void Out(const Vec* t, int m, int64_t count, F&& put) {
    constexpr Powers kPowers = AllPowers();
    Vec sums[kPairs], differences[kPairs];
#pragma GCC unroll 3
    for (int i = 0; i < kPairs; ++i) {
      sums[i] = t[2 * i + 1] + t[2 * i + 2];
      differences[i] = t[2 * i + 1] - t[2 * i + 2];
    }
#pragma GCC unroll 8
    for (int k = 0; k < kSize - 1; ++k) {
      if (k >= count) break;
      const Vec* terms = k % 2 == 0 ? sums : differences;
      Vec y = kPowers.values[0][k] * terms[0];
#pragma GCC unroll 3
      for (int i = 1; i < kPairs; ++i) y += kPowers.values[i][k] * terms[i];
      if (k == 0) y += t[0];
      if (k == m - 1) y += t[kSize - 1];
      put(k, y);
    }
  }

  static void Filter(const DoubleVec* g, int from, int taps, DoubleVec* t, int to) {
    t[0] = (1 / ProductWithout(kPairs).factors[0]) * g[0];
    t[(kSize - 1) * to] = g[(taps - 1) * from];
#pragma GCC unroll 3
    for (int i = 0; i < kPairs; ++i) {
      double factor = 1 / (2 * kPoints[i] * kPoints[i] * Value(i));
      DoubleVec terms[2] = {};  // of even and of odd powers
      for (int k = 0; k < taps; ++k, factor *= kPoints[i]) terms[k % 2] += factor * g[k * from];
      t[(2 * i + 1) * to] = terms[0] + terms[1];
      t[(2 * i + 2) * to] = terms[0] - terms[1];
    }
  }
};

// Calls fn(load, store, c) for every vector of `channels`; the last one may be narrower. Lambdas
// are inlined wherever they are captured, functions are not.
template <class F>
inline void EachVector(int64_t channels, F&& fn) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    fn([](const float* p) { return Load(p); }, [](float* p, Vec v) { Store(p, v); }, c);
  }
  const int64_t n = channels - c;
  if (n == 0) return;
  fn([n](const float* p) { return LoadSome(p, n); }, [n](float* p, Vec v) { StoreSome(p, v, n); },
     c);
}

// Tiles of one dimension: a call for each vector would take half as long as what it does.
constexpr int kLineSize = 8;

void LineInput(const WinogradArgs& args) {
  EachVector(
      args.channels, [&](auto load, auto store, int64_t c) __attribute__((always_inline)) {
        Vec x[kLineSize], t[kLineSize];
#pragma GCC unroll 8
        for (int i = 0; i < kLineSize; ++i) x[i] = load(args.pixels[i] + c);
        Winograd<kLineSize>::In(x, 1, t, 1);
        float* to = args.frequencies + c;
#pragma GCC unroll 8
        for (int i = 0; i < kLineSize; ++i) store(to + i * args.frequency_stride, t[i]);
      });
}

void LineOutput(const WinogradTile& tile, const WinogradArgs& args) {
  const int64_t step = tile.rows == 1 ? args.out_column_stride : args.out_row_stride;
  const int m = tile.rows * tile.columns;
  const int64_t count = args.out_rows * args.out_columns;
  EachVector(
      args.channels, [&](auto load, auto store, int64_t c) __attribute__((always_inline)) {
        Vec t[kLineSize];
        const float* from = args.frequencies + c;
#pragma GCC unroll 8
        for (int i = 0; i < kLineSize; ++i) t[i] = load(from + i * args.frequency_stride);
        const Vec bias = args.bias == nullptr ? Vec{} : load(args.bias + c);
        float* out = args.out + c;
        Winograd<kLineSize>::Out(t, m, count, [&](int k, Vec y) {
          store(out + k * step, AtMost(AtLeast(y + bias, args.low), args.high));
        });
      });
}

template <int kSize>
void SquareInput(const WinogradArgs& args) {
  EachVector(args.channels, [&](auto load, auto store, int64_t c) {
    Vec half[kSize * kSize];
#pragma GCC unroll 6
    for (int x = 0; x < kSize; ++x) {
      Vec column[kSize];
#pragma GCC unroll 6
      for (int y = 0; y < kSize; ++y) column[y] = load(args.pixels[y * kSize + x] + c);
      Winograd<kSize>::In(column, 1, half + x, kSize);
    }
#pragma GCC unroll 6
    for (int y = 0; y < kSize; ++y) {
      Vec row[kSize];
      Winograd<kSize>::In(half + y * kSize, 1, row, 1);
#pragma GCC unroll 6
      for (int x = 0; x < kSize; ++x) {
        store(args.frequencies + (y * kSize + x) * args.frequency_stride + c, row[x]);
      }
    }
  });
}

template <int kSize, int m>
void SquareOutput(const WinogradArgs& args) {
  EachVector(args.channels, [&](auto load, auto store, int64_t c) {
    Vec half[m * kSize];
#pragma GCC unroll 6
    for (int x = 0; x < kSize; ++x) {
      Vec column[kSize];
#pragma GCC unroll 6
      for (int y = 0; y < kSize; ++y) {
        column[y] = load(args.frequencies + (y * kSize + x) * args.frequency_stride + c);
      }
      Winograd<kSize>::Out(column, m, m, [&](int y, Vec v) { half[y * kSize + x] = v; });
    }
    const Vec bias = args.bias == nullptr ? Vec{} : load(args.bias + c);
#pragma GCC unroll 4
    for (int y = 0; y < m; ++y) {
      if (y >= args.out_rows) break;
      float* out = args.out + y * args.out_row_stride + c;
      Winograd<kSize>::Out(half + y * kSize, m, args.out_columns, [&](int x, Vec v) {
        store(out + x * args.out_column_stride, AtMost(AtLeast(v + bias, args.low), args.high));
      });
    }
  });
}

// Half a vector of columns of one row of the panels, from its taps.
void LineFilterTaps(const DoubleVec* taps, int num_taps, float* const* panels, int64_t at) {
  DoubleVec t[kLineSize];
  Winograd<kLineSize>::Filter(taps, 1, num_taps, t, 1);
  for (int i = 0; i < kLineSize; ++i) {
    *reinterpret_cast<UnalignedHalfVec*>(panels[i] + at) = __builtin_convertvector(t[i], HalfVec);
  }
}
template <int kSize>
void SquareFilterTaps(const DoubleVec* taps, int n, float* const* panels, int64_t at) {
  DoubleVec half[kSize * (kSize - 1)];
  for (int x = 0; x < n; ++x) Winograd<kSize>::Filter(taps + x, n, n, half + x, n);
  for (int y = 0; y < kSize; ++y) {
    DoubleVec row[kSize];
    Winograd<kSize>::Filter(half + y * n, 1, n, row, 1);
#pragma GCC unroll 6
    for (int x = 0; x < kSize; ++x) {
      *reinterpret_cast<UnalignedHalfVec*>(panels[y * kSize + x] + at) =
          __builtin_convertvector(row[x], HalfVec);
    }
  }
}

// Calls fn(taps, column) for every half vector of `columns` of row k of the filter.
template <class F>
void EachHalf(const WinogradFilterArgs& args, int num_taps, int64_t k, F&& fn) {
  EachVector(args.columns, [&](auto load, auto, int64_t c) {
    const Vec scale = args.scale == nullptr ? Splat(1) : load(args.scale + c);
    DoubleVec low[25], high[25];
    for (int t = 0; t < num_taps; ++t) {
      const Vec tap = scale * load(args.filter + (t * args.depth + k) * args.row_stride + c);
      HalfVec halves[2];
      __builtin_memcpy(halves, &tap, sizeof(tap));
      low[t] = __builtin_convertvector(halves[0], DoubleVec);
      high[t] = __builtin_convertvector(halves[1], DoubleVec);
    }
    fn(low, c);
    fn(high, c + kLanes / 2);
  });
}

void WinogradFilter(const WinogradTile& tile, const WinogradFilterArgs& args) {
  const int taps = tile.window_rows * tile.window_columns;
  for (int64_t k = 0; k < args.depth; ++k) {
    EachHalf(args, taps, k, [&](const DoubleVec* half, int64_t c) {
      const int64_t at = k * args.width + c;
      if (tile.is_line()) return LineFilterTaps(half, taps, args.panels, at);
      if (tile.in_rows() == 4) return SquareFilterTaps<4>(half, 3, args.panels, at);
      return SquareFilterTaps<6>(half, tile.window_rows, args.panels, at);
    });
  }
}

void WinogradInput(const WinogradTile& tile, const WinogradArgs& args) {
  if (tile.is_line()) return LineInput(args);
  if (tile.in_rows() == 4) return SquareInput<4>(args);
  return SquareInput<6>(args);
}

void WinogradOutput(const WinogradTile& tile, const WinogradArgs& args) {
  if (tile.is_line()) return LineOutput(tile, args);
  if (tile.in_rows() == 4) return SquareOutput<4, 2>(args);
  if (tile.rows == 2) return SquareOutput<6, 2>(args);
  return SquareOutput<6, 4>(args);
}

}  // namespace
}  // namespace savedmodel
