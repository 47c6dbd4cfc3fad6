// Passes over many rows of a product for which tiles would begin and end too often: rows, or their
// runs, are short.
#pragma once

#include "src/kernels/isa/level/steps.h"
#include "src/kernels/isa/level/tile.h"

namespace savedmodel {
namespace {

// How many of a panel's vectors, the last ones, have sums of even and of odd elements apart,
// whatever multiplies them: those that are in turns.
constexpr int VectorsInTurns(int vectors, bool is_paired) {
  const bool all = kLanes == 16 && (vectors == 1 || (vectors == 2 && is_paired));
  return all ? vectors : is_paired ? 1 : 0;
}

using PassFn = void(const PanelArgs& p, int64_t row, int64_t end);

// Calls pass(p, row, end) for all rows of the panel, of which there are at least 24.
[[maybe_unused]] void PassPanel(const PanelArgs& p, PassFn* pass) {
  // So many at a time, a multiple of what tiles are high, that they stay in the first cache level.
  constexpr int64_t kUnit = 24, kMost = 3;
  const int64_t units = (p.row_end - p.row_begin) / kUnit, parts = (units + kMost - 1) / kMost;
  for (int64_t i = 0; i < parts; ++i) {
    const int64_t row = p.row_begin + kUnit * (units * i / parts);
    const int64_t end =
        i + 1 == parts ? p.row_end : p.row_begin + kUnit * (units * (i + 1) / parts);
    pass(p, row, end);
    if (p.num_steps > 0) {
      ApplySteps(p.steps, p.num_steps, p.c, p.c_stride, row, end, p.first_column, p.columns);
    }
  }
}

constexpr bool kHasShortRuns = kLanes > 4;

// Rows of A of short runs, which a tile would begin and end as long as it multiplies: of kDepth
// floats, or any number (0). The sums are those of tiles: `seconds` are of odd elements.
template <int kVectors, bool kIsPaired, int kDepth>
void RunRows(const PanelArgs& p, int64_t row, int64_t end) {
  constexpr int kTwice = VectorsInTurns(kVectors, kIsPaired), kOnce = kVectors - kTwice;
  constexpr int kRows = kTwice > 1 ? MaxRows(kVectors + kTwice) : MaxRows(kVectors);
  Vec bias[kVectors];
  LoadBias(p, bias);
  const float low = p.low, high = p.high;
  const int64_t taps = p.taps, c_stride = p.c_stride, columns = p.columns;
  const int64_t* const distances = p.distances;
  for (int64_t at = row; at < end; at += kRows) {
    const int64_t first = at + kRows > end ? end - kRows : at;  // some rows once more
    const float* const* a = p.a + (first - p.row_begin);
    const float* starts[kRows];
    Vec sums[kRows][kVectors], seconds[kRows][kTwice + 1] = {};
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      starts[r] = a[r];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] = bias[v];
    }
    const float* b = p.b;
    for (int64_t t = 0; t < taps; ++t) {
      const float* rows[kRows];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) rows[r] = starts[r] + distances[t];
      const auto step = [&](int64_t k, bool is_second) __attribute__((always_inline)) {
        Vec row_b[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) row_b[v] = Load(b + k * kVectors * kLanes + v * kLanes);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
          const Vec x = Splat(rows[r][k]);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) {
            Vec& sum = is_second && v >= kOnce ? seconds[r][v - kOnce] : sums[r][v];
            AddProduct<kRows * kVectors>(&sum, x, row_b[v]);
          }
        }
      };
      if constexpr (kDepth > 0) {
#pragma GCC unroll 16
        for (int k = 0; k < kDepth; ++k) step(k, k < kDepth / 4 * 4 && k % 2 == 1);
        b += kDepth * kVectors * kLanes;
      } else {
        const auto advance = [&](int64_t n) {
          b += n * kVectors * kLanes;
#pragma GCC unroll 8
          for (int r = 0; r < kRows; ++r) rows[r] += n;
        };
        int64_t k = 0;
        for (; k + 4 <= p.depth; k += 4, advance(4)) {
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) step(i, i % 2 == 1);
        }
        for (; k < p.depth; ++k, advance(1)) step(0, false);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = kOnce; v < kVectors; ++v) sums[r][v] += seconds[r][v - kOnce];
    }
    StoreWithin(low, high, sums, p.c + first * c_stride, c_stride, columns);
  }
}

#if SM_LANES >= 8
// Short rows of A, which a tile would begin and end as long as it multiplies: nothing is looked up
// again between tiles, nor fetched. The sums are those of tiles.
template <int kVectors>
void ShortRows(const PanelArgs& p, int64_t row, int64_t end) {
  constexpr int kRows = RowsOfShort(kVectors), kWidth = kVectors * kLanes;
  const int64_t depth = p.depth, stride = p.taps_stride, c_stride = p.c_stride, columns = p.columns;
  const float* const* a = p.a + (row - p.row_begin) * stride;
  float* c = p.c + row * c_stride;
  for (; row < end; row += kRows, a += kRows * stride, c += kRows * c_stride) {
    if (row + kRows > end) {  // some rows once more
      a -= (row + kRows - end) * stride;
      c -= (row + kRows - end) * c_stride;
    }
    // What is loaded for each tile would be kept on the stack otherwise: sums and what they are
    // made of take all registers.
    if constexpr (kLanes == 16) asm volatile("" ::: "memory");
    Vec bias[kVectors];
    LoadBias(p, bias);
    Vec sums[kRows][kVectors];
    const float* rows[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      rows[r] = a[r * stride] + p.a_offset;
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] = bias[v];
    }
    const float* b = p.b;
    const auto step = [&](int64_t k) __attribute__((always_inline)) {
      AddRowOfPanel(rows, k, b, sums);
      b += kWidth;
    };
    int64_t k = 0;
    for (; k + 4 <= depth; k += 4) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) step(k + i);
    }
    for (; k < depth; ++k) step(k);
    StoreWithin(p.low, p.high, sums, c, c_stride, columns);
  }
}
#endif

}  // namespace
}  // namespace savedmodel
