// Products of words of numbers with fewer bits than floats have. `Code` says what a word is:
//   Sums                       a vector of sums, of 32 bits each
//   Add(&sums, a, b)           adds the products of words' numbers
//   kShortRows                 most words of the rows that ReducedShortRows is for
//   Finish(p, sums, first, row)  writes a tile: row `row` of the output, the first-th of p's rows
#pragma once

#include "src/kernels/isa/level/tile.h"

namespace savedmodel {
namespace {

// Where at most half of a panel's last vector is valid, two rows of a tile share it: the first has
// its sums in the lower half, the second in the upper one.
#if SM_LANES == 16
inline IntVec LowTwice(const int32_t* p) {
  const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return reinterpret_cast<IntVec>(_mm512_broadcast_i32x8(low));
}
// The lower half of a, the upper one of b.
inline IntVec Halves(IntVec a, IntVec b) {
  return reinterpret_cast<IntVec>(
      _mm512_mask_blend_epi32(0xff00, reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}
#endif

// Vector v of a row of B.
template <int kVectors, bool kIsPaired>
inline __attribute__((always_inline)) IntVec LoadOfPanel(const int32_t* b, int v) {
#if SM_LANES == 16
  if (kIsPaired && v + 1 == kVectors) return LowTwice(b + v * kLanes);
#endif
  return LoadWords(b + v * kLanes);
}

// Calls add(r, v, x) for the sums of a tile, x being what splat(r) gives for the row or rows that
// they are of.
template <int kRows, int kVectors, bool kIsPaired, class Splat, class Add>
inline __attribute__((always_inline)) void EachProduct(Splat&& splat, Add&& add) {
  [[maybe_unused]] IntVec last{};
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const IntVec x = splat(r);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors - (kIsPaired ? 1 : 0); ++v) add(r, v, x);
#if SM_LANES == 16
    if (kIsPaired && r % 2 == 1) add(r - 1, kVectors - 1, Halves(last, x));
    if (kIsPaired && r % 2 == 0 && r + 1 == kRows) add(r, kVectors - 1, x);
#endif
    last = x;
  }
}

// Between sums of pairs and of rows.
template <class Sums, int kRows, int kVectors>
inline __attribute__((always_inline)) void SplitPairs(Sums (&sums)[kRows][kVectors]) {
#if SM_LANES == 16
#pragma GCC unroll 4
  for (int r = 0; r + 1 < kRows; r += 2) {
    const __m512 pair = reinterpret_cast<__m512>(sums[r][kVectors - 1]);
    sums[r + 1][kVectors - 1] = reinterpret_cast<Sums>(_mm512_shuffle_f32x4(pair, pair, 0xee));
  }
#endif
}
template <class Sums, int kRows, int kVectors>
inline __attribute__((always_inline)) void JoinPairs(Sums (&sums)[kRows][kVectors]) {
#if SM_LANES == 16
#pragma GCC unroll 4
  for (int r = 0; r + 1 < kRows; r += 2) {
    const __m512 first = reinterpret_cast<__m512>(sums[r][kVectors - 1]);
    const __m512 second = reinterpret_cast<__m512>(sums[r + 1][kVectors - 1]);
    sums[r][kVectors - 1] = reinterpret_cast<Sums>(_mm512_shuffle_f32x4(first, second, 0x44));
  }
#endif
}

template <class Code, int kRows, int kVectors, bool kIsPaired>
void ReducedTile(const ReducedCode::PanelArgs& p, int64_t first, Ahead ahead) {
  using Sums = typename Code::Sums;
  const int64_t row = p.out.row_begin + first;
  Sums sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const float* c = p.out.c + (row + r) * p.out.c_stride;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] =
          p.accumulate ? reinterpret_cast<Sums>(LoadOfRow<kVectors>(c, v, p.out.columns)) : Sums{};
    }
  }
  if constexpr (kIsPaired) JoinPairs(sums);
  const int32_t* rows[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) rows[r] = p.a + (first + r) * p.a_stride;
  const int32_t* b = p.b;
  for (int64_t k = 0; k < p.depth; ++k, b += kVectors * kLanes) {
    if (k % 4 == 0) {
      FetchLines(&ahead);
      LookUpPages<kVectors>(p.out, p.b, k, b);
    }
    IntVec row_b[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) row_b[v] = LoadOfPanel<kVectors, kIsPaired>(b, v);
    EachProduct<kRows, kVectors, kIsPaired>(
        [&](int r) __attribute__((always_inline)) { return rows[r][k] - IntVec{}; },
        [&](int r, int v, IntVec x)
            __attribute__((always_inline)) { Code::Add(&sums[r][v], x, row_b[v]); });
  }
  if constexpr (kIsPaired) SplitPairs(sums);
  Code::template Finish<kRows, kVectors>(p, sums, first, row);
}

template <class Code, int kRows, int kVectors, bool kIsPaired>
void CallReducedTile(int rows, const ReducedCode::PanelArgs& p, int64_t first, Ahead ahead) {
  if (rows == kRows) {
    ReducedTile<Code, kRows, kVectors, kIsPaired>(p, first, ahead);
  } else if constexpr (kRows > 1) {
    CallReducedTile<Code, kRows - 1, kVectors, kIsPaired>(rows, p, first, ahead);
  }
}

// Short rows of A, which a tile would begin and end as long as it multiplies: nothing is looked up
// again between tiles, nor fetched. The sums are those of tiles.
template <class Code, int kVectors>
void ReducedShortRows(const ReducedCode::PanelArgs& p) {
  constexpr int kRows = RowsOfShort(kVectors), kWidth = kVectors * kLanes;
  const int64_t rows = p.out.row_end - p.out.row_begin, depth = p.depth, stride = p.a_stride;
  const int64_t c_stride = p.out.c_stride, columns = p.out.columns;
  for (int64_t row = 0; row < rows; row += kRows) {
    const int64_t first = row + kRows > rows ? rows - kRows : row;  // some rows once more
    asm volatile("" ::: "memory");  // what is loaded for each tile would be kept on the stack
    typename Code::Sums sums[kRows][kVectors] = {};
    const int32_t* a[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) a[r] = p.a + (first + r) * stride;
    const int32_t* b = p.b;
    for (int64_t k = 0; k < depth; ++k, b += kWidth) {
      IntVec row_b[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) row_b[v] = LoadWords(b + v * kLanes);
      EachProduct<kRows, kVectors, false>(
          [&](int r) __attribute__((always_inline)) { return a[r][k] - IntVec{}; },
          [&](int r, int v, IntVec x)
              __attribute__((always_inline)) { Code::Add(&sums[r][v], x, row_b[v]); });
    }
    Vec bias[kVectors];
    LoadBias(p.out, bias);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] += bias[v];
    }
    StoreWithin(p.out.low, p.out.high, sums, p.out.c + (p.out.row_begin + first) * c_stride,
                c_stride, columns);
  }
}

template <class Code, int kVectors, bool kIsPaired>
void ReducedPanelOf(const ReducedCode::PanelArgs& p) {
  const int64_t rows = p.out.row_end - p.out.row_begin;
  TileRows<kVectors>(rows, p.depth, p.out.next, [&](int64_t done, int n, Ahead ahead) {
    CallReducedTile<Code, MaxRows(kVectors), kVectors, kIsPaired>(n, p, done, ahead);
  });
}

template <class Code>
void ReducedPanel(const ReducedCode::PanelArgs& p) {
  VisitWidth(p.out, [&](auto vectors, auto is_paired) {
    if constexpr (Code::kShortRows > 0 && !is_paired()) {
      const bool is_plain = !p.accumulate && p.out.residual == nullptr;
      if (is_plain && p.depth <= Code::kShortRows && p.out.row_end - p.out.row_begin >= 24) {
        return ReducedShortRows<Code, vectors()>(p);
      }
    }
    ReducedPanelOf<Code, vectors(), is_paired()>(p);
  });
}

}  // namespace
}  // namespace savedmodel
