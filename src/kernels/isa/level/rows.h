// Rows: put together, pools of them.
#pragma once

#include <type_traits>

#include "src/kernels/isa/level/math.h"
#include "src/kernels/isa/level/tile.h"
#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

// `kVectors` vectors of columns, the first `columns` of them.
template <int kVectors, class Combine>
inline void CombineColumns(const float* x, int64_t row_stride, int64_t rows, int64_t columns,
                           float* results, Combine&& combine) {
  Vec totals[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) totals[v] = LoadOfRow<kVectors>(results, v, columns);
  for (int64_t r = 0; r < rows; ++r, x += row_stride) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      totals[v] = combine(totals[v], LoadOfRow<kVectors>(x, v, columns));
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) StoreOfRow<kVectors>(results, v, totals[v], columns);
}

// Calls add(s, v) for the vectors of x in turn, s in [0, kSums) being the sum to add to; the last
// one may have zeros at its end.
template <int kSums, class Add>
inline void EachVector(const float* x, int64_t n, Add&& add) {
  int64_t i = 0;
  for (; i + kSums * kLanes <= n; i += kSums * kLanes) {
#pragma GCC unroll 4
    for (int s = 0; s < kSums; ++s) add(s, Load(x + i + s * kLanes));
  }
  for (; i < n; i += kLanes) add(0, n - i < kLanes ? LoadSome(x + i, n - i) : Load(x + i));
}

float SumOf(const float* x, int64_t n) {
  Vec sums[4] = {};
  EachVector<4>(x, n, [&](int s, Vec v) { sums[s] += v; });
  return Sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// Zero times a number that is not finite is NaN, and so is its sum with others.
bool AllFinite(const float* x, int64_t n) {
  Vec sums[4] = {};
  EachVector<4>(x, n, [&](int s, Vec v) { sums[s] += v * 0.0f; });
  return Sum((sums[0] + sums[1]) + (sums[2] + sums[3])) == 0;
}

// The smallest are the largest of the negated ones, `sign` being -1.
int64_t ArgBest(bool is_max, const float* x, int64_t n) {
  constexpr float kLowest = -__FLT_MAX__;
  const float sign = is_max ? 1.0f : -1.0f;
  const auto larger = [](Vec best, Vec v) { return v > best ? v : best; };
  Vec best[4];
  for (Vec& b : best) b = Splat(kLowest);
  EachVector<4>(x, n - n % kLanes, [&](int s, Vec v) { best[s] = larger(best[s], v * sign); });
  float most = Reduce(larger(larger(best[0], best[1]), larger(best[2], best[3])), larger);
  for (int64_t i = n - n % kLanes; i < n; ++i) most = x[i] * sign > most ? x[i] * sign : most;
  if (most == kLowest) return 0;
  most *= sign;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    if (!All(Load(x + i) != most)) break;
  }
  while (x[i] != most) ++i;
  return i;
}

void ArgBestRows(bool is_max, const float* x, int64_t row_stride, int64_t rows, int64_t columns,
                 int32_t* results) {
  const float sign = is_max ? 1.0f : -1.0f;
  constexpr int kVectors = 4;
  int64_t j = 0;
  for (; j + kVectors * kLanes <= columns; j += kVectors * kLanes) {
    Vec best[kVectors];
    IntVec at[kVectors];
    for (int v = 0; v < kVectors; ++v) best[v] = Splat(-__FLT_MAX__), at[v] = IntVec{};
    for (int64_t r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const Vec value = Load(x + r * row_stride + j + v * kLanes) * sign;
        const IntVec is_better = value > best[v];
        best[v] = is_better ? value : best[v];
        at[v] = is_better ? IntVec{} + static_cast<int32_t>(r) : at[v];
      }
    }
    for (int v = 0; v < kVectors; ++v) StoreWords(results + j + v * kLanes, at[v]);
  }
  for (; j < columns; ++j) {
    float best = -__FLT_MAX__;
    results[j] = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const float value = x[r * row_stride + j] * sign;
      if (value > best) best = value, results[j] = static_cast<int32_t>(r);
    }
  }
}

// Calls fn(vectors, column) for columns [begin, end), by up to four vectors at a time, the last of
// which may be narrower.
template <class F>
inline void EachColumns(int64_t begin, int64_t end, F&& fn) {
  for (int64_t c = begin; c < end; c += 4 * kLanes) {
    switch ((end - c + kLanes - 1) / kLanes) {
      case 1:
        fn(std::integral_constant<int, 1>(), c);
        break;
      case 2:
        fn(std::integral_constant<int, 2>(), c);
        break;
      case 3:
        fn(std::integral_constant<int, 3>(), c);
        break;
      default:
        fn(std::integral_constant<int, 4>(), c);
    }
  }
}

template <class Combine>
void CombineRowsBy(const float* x, int64_t row_stride, int64_t rows, int64_t columns,
                   float* results, Combine&& combine) {
  EachColumns(0, columns, [&](auto vectors, int64_t j) {
    const int64_t n = columns - j < 4 * kLanes ? columns - j : 4 * kLanes;
    CombineColumns<vectors()>(x + j, row_stride, rows, n, results + j, combine);
  });
}

void CombineRows(ScalarOp op, const float* x, int64_t row_stride, int64_t rows, int64_t columns,
                 float* results) {
  const auto by = [&](auto combine) {
    CombineRowsBy(x, row_stride, rows, columns, results, combine);
  };
  switch (op) {
    case ScalarOp::kMaximum:
      return by([](Vec a, Vec b) { return a < b || b != b ? b : a; });
    case ScalarOp::kMinimum:
      return by([](Vec a, Vec b) { return b < a || b != b ? b : a; });
    default:
      return by([](Vec a, Vec b) { return a + b; });
  }
}

// kVectors vectors of channels from c on of a pixel, the last of which may be narrower.
template <int kVectors, class Add, class Finish>
inline void PoolChannels(const PoolArgs& a, int64_t pixel, int64_t c, float first, Add&& add,
                         Finish&& finish) {
  const int64_t at = pixel * a.step + c, columns = a.channels - c;
  Vec sums[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) sums[v] = Splat(first);
  for (int64_t t = 0; t < a.num_taps; ++t) {
    const float* x = a.taps[t] + at;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      sums[v] = add(sums[v], LoadOfRow<kVectors>(x, v, columns), t);
    }
  }
  float* y = a.y + pixel * a.channels + c;
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) StoreOfRow<kVectors>(y, v, finish(sums[v]), columns);
}

// Each result is `finish` of `first` and the taps, put together by `add`.
template <class Add, class Finish>
inline void PoolTaps(const PoolArgs& a, float first, Add&& add, Finish&& finish) {
  for (int64_t pixel = 0; pixel < a.pixels; ++pixel) {
    EachColumns(0, a.channels, [&](auto vectors, int64_t c) {
      PoolChannels<vectors()>(a, pixel, c, first, add, finish);
    });
  }
}

void PoolMaximum(const PoolArgs& a) {
  PoolTaps(
      a, -__builtin_inff(), [](Vec best, Vec x, int64_t) { return x > best ? x : best; },
      [](Vec best) { return best; });
}

void PoolSum(const PoolArgs& a) {
  const Vec scale = Splat(a.scale);
  const auto finish = [scale](Vec sum) { return sum * scale; };
  if (a.weights == nullptr) {
    return PoolTaps(
        a, 0, [](Vec sum, Vec x, int64_t) { return sum + x; }, finish);
  }
  PoolTaps(
      a, 0, [&a](Vec sum, Vec x, int64_t t) { return sum + x * a.weights[t]; }, finish);
}

// Columns [c, end) of output i of a line, without the bias.
template <int kVectors>
inline void SumOfTaps(const TapSumArgs& a, int64_t i, int64_t c, int64_t end,
                      Vec (&sums)[kVectors]) {
  for (int v = 0; v < kVectors; ++v) sums[v] = Vec{};
  int64_t at = i * a.stride - a.before;
  for (int64_t t = 0; t < a.taps; ++t, at += a.dilation) {
    if (at < 0 || at >= a.num_rows) continue;
    const float* part = a.rows[at] + t * a.columns + c;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[v] += LoadOfRow<kVectors>(part, v, end - c);
  }
}

template <int kVectors>
inline void AddBiasOfColumns(const TapSumArgs& a, int64_t c, int64_t end, Vec (&sums)[kVectors]) {
  if (a.bias == nullptr) return;
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) sums[v] += LoadOfRow<kVectors>(a.bias + c, v, end - c);
}

void SumTaps(const TapSumArgs& a, int64_t begin, int64_t end, float* y) {
  for (int64_t i = begin; i < end; ++i, y += a.columns) {
    EachColumns(0, a.columns, [&](auto vectors, int64_t c) {
      Vec sums[vectors()];
      SumOfTaps(a, i, c, a.columns, sums);
      AddBiasOfColumns(a, c, a.columns, sums);
#pragma GCC unroll 4
      for (int v = 0; v < vectors(); ++v) {
        StoreOfRow<vectors()>(y + c, v, sums[v], a.columns - c);
      }
    });
  }
}

void LargestSums(const TapSumArgs& a, int64_t outputs, int64_t begin, int64_t end, float* y) {
  EachColumns(begin, end, [&](auto vectors, int64_t c) {
    Vec largest[vectors()];
    for (int v = 0; v < vectors(); ++v) largest[v] = Splat(-__builtin_inff());
    for (int64_t i = 0; i < outputs; ++i) {
      Vec sums[vectors()];
      SumOfTaps(a, i, c, end, sums);
#pragma GCC unroll 4
      for (int v = 0; v < vectors(); ++v) {
        largest[v] = largest[v] < sums[v] || sums[v] != sums[v] ? sums[v] : largest[v];
      }
    }
    // The bias does not change which is the largest.
    AddBiasOfColumns(a, c, end, largest);
#pragma GCC unroll 4
    for (int v = 0; v < vectors(); ++v) {
      StoreOfRow<vectors()>(y + c, v, largest[v], end - c);
    }
  });
}

void Interpolate(const float* a, const float* b, float weight, int64_t n, float* y) {
  const Vec w = Splat(weight);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec from = Load(a + i);
    Store(y + i, from + (Load(b + i) - from) * w);
  }
  if (i < n) {
    const Vec from = LoadSome(a + i, n - i);
    StoreSome(y + i, from + (LoadSome(b + i, n - i) - from) * w, n - i);
  }
}

}  // namespace
}  // namespace savedmodel
