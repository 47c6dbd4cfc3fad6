// Register-tiled products of rows of A with a panel of B.
#pragma once

#include "src/kernels/isa/level/steps.h"
#include "src/kernels/isa/level/vectors.h"
#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

// Accumulators of a full tile: what the registers hold beside a row of B and an element of A.
#if SM_LANES == 16
constexpr int kMaxVectors = 4;
constexpr int kAccumulators = 24;
#else
constexpr int kMaxVectors = 2;
constexpr int kAccumulators = 12;
#endif
constexpr int MaxRows(int vectors) {
  return kAccumulators / vectors < 12 ? kAccumulators / vectors : 12;
}

// Writes a finished tile where the panel is narrower than its vectors.
template <int kRows, int kVectors>
void FinishNarrow(const PanelArgs& p, const Vec (&sums)[kRows][kVectors], float* c) {
  for (int r = 0; r < kRows; ++r) {
    for (int64_t j = 0; j < p.columns; ++j) {
      float v = sums[r][j / kLanes][j % kLanes];
      float* at = c + r * p.c_stride + j;
      if (p.accumulate) v += *at;
      if (p.bias != nullptr) v += p.bias[j];
      *at = v;
    }
  }
}

template <int kRows, int kVectors>
void Finish(const PanelArgs& p, Vec (&sums)[kRows][kVectors], float* c) {
  if (p.accumulate) {
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] += Load(c + r * p.c_stride + v * kLanes);
    }
  }
  if (p.bias != nullptr) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const Vec bias = Load(p.bias + v * kLanes);
#pragma GCC unroll 12
      for (int r = 0; r < kRows; ++r) sums[r][v] += bias;
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) Store(c + r * p.c_stride + v * kLanes, sums[r][v]);
  }
}

// One tile. Few accumulators are kept `kCopies` times, one for each k modulo that, so that the
// additions of one do not wait for another's.
template <int kRows, int kVectors>
void Tile(const PanelArgs& p, const float* const* a, float* c) {
  constexpr int kCopies = kRows * kVectors >= 8 ? 1 : kRows * kVectors >= 4 ? 2 : 4;
  Vec sums[kCopies][kRows][kVectors] = {};
  const float* b = p.b;
  const int64_t b_stride = p.b_stride, depth = p.depth;
  for (int64_t t = 0; t < p.taps; ++t) {
    const float* rows[kRows];
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) rows[r] = a[r * p.taps_stride + t] + p.a_offset;
    const auto step = [&](int64_t k, Vec(&into)[kRows][kVectors]) __attribute__((always_inline)) {
      Vec row_b[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) row_b[v] = Load(b + v * kLanes);
#pragma GCC unroll 12
      for (int r = 0; r < kRows; ++r) {
        const Vec x = Splat(rows[r][k]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) into[r][v] += x * row_b[v];
      }
      b += b_stride;
    };
    int64_t k = 0;
    if constexpr (kCopies > 1) {
      for (; k + kCopies <= depth; k += kCopies) {
#pragma GCC unroll 4
        for (int i = 0; i < kCopies; ++i) step(k + i, sums[i]);
      }
    }
#pragma GCC unroll 2
    for (; k < depth; ++k) step(k, sums[0]);
  }
#pragma GCC unroll 4
  for (int i = 1; i < kCopies; ++i) {
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[0][r][v] += sums[i][r][v];
    }
  }
  if (p.columns == kVectors * kLanes) {
    Finish<kRows, kVectors>(p, sums[0], c);
  } else {
    FinishNarrow<kRows, kVectors>(p, sums[0], c);
  }
}

template <int kRows, int kVectors>
void CallTile(int rows, const PanelArgs& p, const float* const* a, float* c) {
  if (rows == kRows) {
    Tile<kRows, kVectors>(p, a, c);
  } else if constexpr (kRows > 1) {
    CallTile<kRows - 1, kVectors>(rows, p, a, c);
  }
}

// All rows of the panel, spread evenly over tiles.
template <int kVectors>
void PanelOf(const PanelArgs& p) {
  constexpr int kRows = MaxRows(kVectors);
  const int64_t rows = p.row_end - p.row_begin;
  int64_t tiles = (rows + kRows - 1) / kRows;
  for (int64_t done = 0; tiles > 0; --tiles) {
    const int64_t n = (rows - done + tiles - 1) / tiles;
    const int64_t row = p.row_begin + done;
    CallTile<kRows, kVectors>(static_cast<int>(n), p, p.a + done * p.taps_stride,
                              p.c + row * p.c_stride);
    if (p.num_steps > 0) {
      ApplySteps(p.steps, p.num_steps, p.c, p.c_stride, row, row + n, p.first_column, p.columns);
    }
    done += n;
  }
}

void Panel(const PanelArgs& p) {
  switch (p.vectors) {
    case 1:
      return PanelOf<1>(p);
    case 2:
      return PanelOf<2>(p);
#if SM_LANES == 16
    case 3:
      return PanelOf<3>(p);
    case 4:
      return PanelOf<4>(p);
#endif
  }
}

void Pack(const float* b, int64_t row_stride, int64_t column_stride, int64_t depth, int64_t columns,
          int64_t width, float* panel) {
  if (column_stride == 1) {
    for (int64_t k = 0; k < depth; ++k, panel += width, b += row_stride) {
      for (int64_t j = 0; j < columns; ++j) panel[j] = b[j];
      for (int64_t j = columns; j < width; ++j) panel[j] = 0;
    }
    return;
  }
  for (int64_t j = 0; j < width; ++j) {
    if (j < columns) {
      for (int64_t k = 0; k < depth; ++k)
        panel[k * width + j] = b[k * row_stride + j * column_stride];
    } else {
      for (int64_t k = 0; k < depth; ++k) panel[k * width + j] = 0;
    }
  }
}

}  // namespace
}  // namespace savedmodel
