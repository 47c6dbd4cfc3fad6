// Tiles of few columns, of processors with many lanes. A vector has eight columns of two rows of B
// in turns: in lane 2 j what is of column j and the first row, in the next one the second row. It
// is multiplied with two elements of a row of A, which are one load for all columns; a load for
// each element would take longer than the few multiplications.
#pragma once

#include "src/kernels/isa/level/passes.h"
#include "src/kernels/isa/level/tile.h"

namespace savedmodel {
namespace {

#if SM_LANES == 16
// The lower eight lanes of two vectors in turns; the upper ones.
inline Vec LowerInTurns(Vec first, Vec second) {
  const IntVec lanes = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
  return _mm512_permutex2var_ps(first, reinterpret_cast<__m512i>(lanes), second);
}
inline Vec UpperInTurns(Vec first, Vec second) {
  const IntVec lanes = {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutex2var_ps(first, reinterpret_cast<__m512i>(lanes), second);
}
// Two floats, eight times.
inline Vec SplatTwo(const float* p) {
  double two;
  __builtin_memcpy(&two, p, sizeof(two));
  return reinterpret_cast<Vec>(_mm512_set1_pd(two));
}
// One float in every other lane, 0 in the others.
inline Vec SplatOne(const float* p) { return _mm512_maskz_mov_ps(0x5555, Splat(*p)); }
// Lanes 2 j and 2 j + 1 added: of `lower` in lane j, of `upper` in lane 8 + j.
inline Vec AddTurns(Vec lower, Vec upper) {
  const IntVec first = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
  return _mm512_permutex2var_ps(lower, reinterpret_cast<__m512i>(first), upper) +
         _mm512_permutex2var_ps(lower, reinterpret_cast<__m512i>(first + 1), upper);
}

// The sums of kRows rows of A. Those of even and of odd elements are apart until the end.
template <int kRows, int kVectors, bool kIsPaired>
class SumsInTurns {
 public:
  // Sums begin with the bias.
  explicit inline __attribute__((always_inline)) SumsInTurns(const Vec (&bias)[kVectors]) {
    const Vec none[kVectors] = {};
    Vec start[kEights];
    Turn(bias, none, start);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int e = 0; e < kEights; ++e) sums_[r][e] = start[e];
    }
  }

  // Adds runs of `depth` floats times rows of B, which begin at b and are b_stride apart.
  // `fetch(k)` is called for every fourth k.
  template <class F>
  inline __attribute__((always_inline)) void Add(const float* const (&runs)[kRows], int64_t depth,
                                                 const float* b, int64_t b_stride, F&& fetch) {
    Vec first[kVectors], second[kVectors], turns[kEights];
    int64_t k = 0;
    for (; k + 4 <= depth; k += 4) {
      fetch(k);
#pragma GCC unroll 2
      for (int i = 0; i < 4; i += 2, b += 2 * b_stride) {
        LoadRow(b, first);
        LoadRow(b + b_stride, second);
        Turn(first, second, turns);
        AddProducts(
            turns, [&](int r) __attribute__((always_inline)) { return SplatTwo(runs[r] + k + i); });
      }
    }
    for (; k < depth; ++k, b += b_stride) {
      const Vec none[kVectors] = {};
      LoadRow(b, first);
      Turn(first, none, turns);
      AddProducts(
          turns, [&](int r) __attribute__((always_inline)) { return SplatOne(runs[r] + k); });
    }
  }

  inline __attribute__((always_inline)) void Get(Vec (&sums)[kRows][kVectors]) const {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        const int upper = 2 * v + 1 < kEights ? 2 * v + 1 : 2 * v;
        sums[r][v] = AddTurns(sums_[r][2 * v], sums_[r][upper]);
      }
    }
  }

 private:
  static constexpr int kEights = 2 * kVectors - (kIsPaired ? 1 : 0);

  static inline __attribute__((always_inline)) void LoadRow(const float* b, Vec (&row)[kVectors]) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) row[v] = Load(b + v * kLanes);
  }

  static inline __attribute__((always_inline)) void Turn(const Vec (&first)[kVectors],
                                                         const Vec (&second)[kVectors],
                                                         Vec (&turns)[kEights]) {
#pragma GCC unroll 4
    for (int e = 0; e < kEights; ++e) {
      turns[e] = e % 2 == 0 ? LowerInTurns(first[e / 2], second[e / 2])
                            : UpperInTurns(first[e / 2], second[e / 2]);
    }
  }

  template <class F>
  inline __attribute__((always_inline)) void AddProducts(const Vec (&turns)[kEights], F&& splat) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Vec x = splat(r);
#pragma GCC unroll 4
      for (int e = 0; e < kEights; ++e) sums_[r][e] += x * turns[e];
    }
  }

  Vec sums_[kRows][kEights];
};

template <int kRows, int kVectors, bool kIsPaired>
void TileInTurns(const PanelArgs& p, const float* const* a, int64_t row, Ahead ahead) {
  Vec bias[kVectors];
  LoadBias(p, bias);
  SumsInTurns<kRows, kVectors, kIsPaired> sums(bias);
  const float* b = p.b;
  for (int64_t t = 0; t < p.taps; ++t, b += p.depth * p.b_stride) {
    const float* runs[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) runs[r] = a[r * p.taps_stride + t] + p.a_offset;
    sums.Add(runs, p.depth, b, p.b_stride, [&](int64_t) { FetchLines(&ahead); });
  }
  Vec results[kRows][kVectors];
  sums.Get(results);
  Finish<kRows, kVectors, false>(p, results, row);
}

// Short rows of A, as ShortRows has them, of up to 16 columns.
void ShortRowsInTurns(const PanelArgs& p, int64_t row, int64_t end) {
  constexpr int kRows = 8;
  const int64_t stride = p.taps_stride, c_stride = p.c_stride, columns = p.columns;
  for (int64_t at = row; at < end; at += kRows) {
    const int64_t first = at + kRows > end ? end - kRows : at;  // some rows once more
    asm volatile("" ::: "memory");  // what is loaded for each tile would be kept on the stack
    const float* const* a = p.a + (first - p.row_begin) * stride;
    const float* runs[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) runs[r] = a[r * stride] + p.a_offset;
    Vec bias[1];
    LoadBias(p, bias);
    SumsInTurns<kRows, 1, false> sums(bias);
    sums.Add(runs, p.depth, p.b, p.b_stride, [](int64_t) {});
    Vec results[kRows][1];
    sums.Get(results);
    StoreWithin(p.low, p.high, results, p.c + first * c_stride, c_stride, columns);
  }
}
#endif

}  // namespace
}  // namespace savedmodel
