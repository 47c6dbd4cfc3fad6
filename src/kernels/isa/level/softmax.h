// The softmax of rows, and of scores: the weights of attention.
#pragma once

#include "src/kernels/isa/level/math.h"
#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

// Of a number and NaN the number. A row with NaN becomes NaN all the same: its sum is.
inline Vec Larger(Vec best, Vec v) { return AtLeast(best, v); }

// Vectors of which the largest element is that of n floats.
inline Vec LargestOf(const float* x, int64_t n) {
  constexpr float kLowest = -__builtin_inff();
  Vec best[2] = {Splat(kLowest), Splat(kLowest)};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    best[0] = Larger(best[0], Load(x + i));
    best[1] = Larger(best[1], Load(x + i + kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) best[0] = Larger(best[0], Load(x + i));
  if (i < n) best[1] = Larger(best[1], FirstOf(LoadSome(x + i, n - i), n - i, kLowest));
  return Larger(best[0], best[1]);
}

// y[i] = e^(x[i] - largest), where kIsStored; returns vectors whose elements' sum is theirs. Sums
// of blocks are added, so that long rows lose nothing.
template <bool kIsStored>
inline Vec ExpOfRow(const float* x, int64_t n, float largest, float* y) {
  constexpr int64_t kBlock = 256 * kLanes;
  Vec sums{};
  int64_t i = 0;
  while (i + kLanes <= n) {
    const int64_t end = n - i < kBlock ? n : i + kBlock;
    Vec of_block{};
    for (; i + kLanes <= end; i += kLanes) {
      const Vec e = Exp(Load(x + i) - largest);
      of_block += e;
      if (kIsStored) Store(y + i, e);
    }
    sums += of_block;
  }
  if (i < n) {
    const Vec e = Exp(LoadSome(x + i, n - i) - largest);
    sums += FirstOf(e, n - i, 0);
    if (kIsStored) StoreSome(y + i, e, n - i);
  }
  return sums;
}

// Rows at a time: within one most instructions wait for the ones before.
constexpr int kSoftmaxRows = 4;

// Calls of(row, n) for all rows, n of them at a time.
template <class F>
inline void ForSoftmaxRows(int64_t rows, F&& of) {
  for (int64_t r = 0; r < rows; r += kSoftmaxRows) {
    of(r, rows - r < kSoftmaxRows ? static_cast<int>(rows - r) : kSoftmaxRows);
  }
}

// y = softmax(x), or its logarithm, of `rows` rows of n floats, of which best[r] has the largest;
// y may be x.
template <bool kIsLog>
inline void FinishSoftmax(const float* x, float* y, int64_t stride, int rows, int64_t n,
                          const Vec (&best)[kSoftmaxRows]) {
  float largest[kSoftmaxRows], sum[kSoftmaxRows];
  for (int r = 0; r < rows; ++r) largest[r] = Reduce(best[r], Larger);
  Vec sums[kSoftmaxRows];
  for (int r = 0; r < rows; ++r) {
    sums[r] = ExpOfRow<!kIsLog>(x + r * stride, n, largest[r], y + r * stride);
  }
  for (int r = 0; r < rows; ++r) sum[r] = Sum(sums[r]);
  for (int r = 0; r < rows; ++r, x += stride, y += stride) {
    if (kIsLog) {
      const float shift = __builtin_logf(sum[r]);
      for (int64_t i = 0; i < n; ++i) y[i] = x[i] - largest[r] - shift;
    } else {
      const float scale = 1 / sum[r];
      int64_t i = 0;
      for (; i + kLanes <= n; i += kLanes) Store(y + i, Load(y + i) * scale);
      if (i < n) StoreSome(y + i, LoadSome(y + i, n - i) * scale, n - i);
    }
  }
}

void SoftmaxRows(const float* x, float* y, int64_t rows, int64_t columns, bool log) {
  ForSoftmaxRows(rows, [&](int64_t row, int n) {
    const float* const from = x + row * columns;
    float* const to = y + row * columns;
    Vec best[kSoftmaxRows];
    for (int r = 0; r < n; ++r) best[r] = LargestOf(from + r * columns, columns);
    if (log) {
      FinishSoftmax<true>(from, to, columns, n, columns, best);
    } else {
      FinishSoftmax<false>(from, to, columns, n, columns, best);
    }
  });
}

// Makes the scores of row r what the softmax is of; returns vectors that have the largest.
inline Vec PrepareScores(const AttentionArgs& a, int64_t r) {
  constexpr float kLowest = -__builtin_inff();
  float* row = a.scores + r * a.stride;
  const float* bias = a.bias == nullptr ? nullptr : a.bias + r * a.bias_row_stride;
  const bool* mask = a.mask == nullptr ? nullptr : a.mask + r * a.mask_row_stride;
  if (mask != nullptr && a.mask_column_stride == 0 && !*mask) {
    for (int64_t i = 0; i < a.columns; ++i) row[i] = a.fill;
    return Splat(a.fill);
  }
  const bool each = mask != nullptr && a.mask_column_stride != 0;
  const auto prepared = [&](int64_t i, Vec score, int64_t n) {
    const auto load = [n](const float* p) { return n < kLanes ? LoadSome(p, n) : Load(p); };
    Vec v = score * a.scale;
    if (bias != nullptr) v += a.bias_column_stride == 0 ? Splat(*bias) : load(bias + i);
    if (each) v = LoadBools(mask + i, n) != 0 ? v : Splat(a.fill);
    return v;
  };
  Vec best = Splat(kLowest);
  int64_t i = 0;
  for (; i + kLanes <= a.columns; i += kLanes) {
    const Vec v = prepared(i, Load(row + i), kLanes);
    Store(row + i, v);
    best = Larger(best, v);
  }
  if (const int64_t n = a.columns - i; n > 0) {
    const Vec v = prepared(i, LoadSome(row + i, n), n);
    StoreSome(row + i, v, n);
    best = Larger(best, FirstOf(v, n, kLowest));
  }
  return best;
}

void AttentionWeights(const AttentionArgs& a, int64_t rows) {
  ForSoftmaxRows(rows, [&](int64_t row, int n) {
    float* const scores = a.scores + row * a.stride;
    Vec best[kSoftmaxRows];
    for (int r = 0; r < n; ++r) best[r] = PrepareScores(a, row + r);
    FinishSoftmax<false>(scores, scores, a.stride, n, a.columns, best);
  });
}

}  // namespace
}  // namespace savedmodel
