// Register-tiled products of rows of A with a panel of B.
#pragma once

#include "src/kernels/isa/level/passes.h"
#include "src/kernels/isa/level/steps.h"
#include "src/kernels/isa/level/tile.h"
#include "src/kernels/isa/level/turns.h"

namespace savedmodel {
namespace {

typedef uint16_t ShortVec __attribute__((vector_size(SM_LANES * 2), aligned(2)));
typedef uint32_t WordVec __attribute__((vector_size(SM_LANES * 4)));

inline __attribute__((always_inline)) Vec LoadNumbers(const uint16_t* x) {
  const ShortVec v = *reinterpret_cast<const ShortVec*>(x);
  return reinterpret_cast<Vec>(__builtin_convertvector(v, WordVec) << 16);
}

void Widen(const uint16_t* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; i += kLanes) Store(y + i, LoadNumbers(x + i));
}

void Narrow(const float* x, int64_t n, uint16_t* y) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vec v = Load(x + i);
    const WordVec bits = reinterpret_cast<WordVec>(v);
    const WordVec rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const WordVec quiet = (bits >> 16) | 0x40;  // what is no number remains that
    *reinterpret_cast<ShortVec*>(y + i) =
        __builtin_convertvector(v == v ? rounded : quiet, ShortVec);
  }
}

inline __attribute__((always_inline)) Vec LoadNumbers(const float* x) { return Load(x); }
inline const float* StartOfB(const PanelArgs& p, const float*) { return p.b; }
inline const uint16_t* StartOfB(const PanelArgs& p, const uint16_t*) { return p.halves; }

// One tile of a B of `Number`s. Accumulators are kept `kCopies` times, one for each k modulo that,
// so that where they are few the additions of one do not wait for another's. Where at most half of
// a panel's last vector is valid, it is in turns.
template <class Number, int kRows, int kVectors, bool kIsPaired, int kCopies>
void Tile(const PanelArgs& p, const float* const* a, int64_t row, Ahead ahead) {
  constexpr int kWhole = kVectors - (kIsPaired ? 1 : 0);  // vectors of one row of B
  // Sums begin with the bias: where they are short, adding it later counts.
  Vec first[kVectors];
  LoadBias(p, first);
#if SM_LANES == 16
  if constexpr (kIsPaired) first[kWhole] = LowerInTurns(first[kWhole], Vec{});
#endif
  Vec sums[kCopies][kRows][kVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kCopies; ++i) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[i][r][v] = i == 0 ? first[v] : Vec{};
    }
  }
  const Number* b = StartOfB(p, static_cast<const Number*>(nullptr));
  const int64_t b_stride = p.b_stride, depth = p.depth;
  for (int64_t t = 0; t < p.taps; ++t) {
    const float* rows[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) rows[r] = a[r * p.taps_stride + t] + p.a_offset;
    const auto step = [&](int64_t k, Vec(&into)[kRows][kVectors]) __attribute__((always_inline)) {
      Vec row_b[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kWhole; ++v) row_b[v] = LoadNumbers(b + v * kLanes);
      if constexpr (sizeof(Number) < sizeof(float)) {  // by page the processor is late
        for (int v = 0; v < kVectors; v += 2) __builtin_prefetch(b + 2048 + v * kLanes, 0, 3);
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const Vec x = Splat(rows[r][k]);
#pragma GCC unroll 4
        for (int v = 0; v < kWhole; ++v) AddProduct<kRows * kVectors>(&into[r][v], x, row_b[v]);
      }
      b += b_stride;
    };
    // The last vector of rows k - 1 and k, or of row k alone.
    const auto step_of_pair = [&]([[maybe_unused]] int64_t k, [[maybe_unused]] bool is_alone,
                                  [[maybe_unused]] Vec(&into)[kRows][kVectors])
        __attribute__((always_inline)) {
#if SM_LANES == 16
      const Number* last = b - b_stride + kWhole * kLanes;
      const Vec two = is_alone ? LowerInTurns(LoadNumbers(last), Vec{})
                               : LowerInTurns(LoadNumbers(last - b_stride), LoadNumbers(last));
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const Vec x = is_alone ? SplatOne(rows[r] + k) : SplatTwo(rows[r] + k - 1);
        into[r][kVectors - 1] += x * two;
      }
#endif
    };
    int64_t k = 0;
    for (; k + 4 <= depth; k += 4) {
      FetchLines(&ahead);
      LookUpPages<kVectors>(p, StartOfB(p, b), k, b);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        step(k + i, sums[i % kCopies]);
        if (kIsPaired && i % 2 == 1) step_of_pair(k + i, false, sums[i % kCopies]);
      }
    }
    for (; k < depth; ++k) {
      step(k, sums[0]);
      if (kIsPaired) step_of_pair(k, true, sums[0]);
    }
  }
#pragma GCC unroll 4
  for (int i = 1; i < kCopies; ++i) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[0][r][v] += sums[i][r][v];
    }
  }
#if SM_LANES == 16
  if constexpr (kIsPaired) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Vec turns = sums[0][r][kVectors - 1];
      sums[0][r][kVectors - 1] = AddTurns(turns, turns);
    }
  }
#endif
  Finish<kRows, kVectors, false>(p, sums[0], row);
}

// Only a tile that is the whole product sums in more accumulators: what a row of it gives
// must not depend on the rows that another number of threads would put beside it.
template <class Number, int kRows, int kVectors, bool kIsPaired>
void CallTile(int rows, const PanelArgs& p, const float* const* a, int64_t row, Ahead ahead) {
  if (rows == kRows) {
    constexpr bool kIsInTurns = VectorsInTurns(kVectors, kIsPaired) == kVectors;
    constexpr int kCopies = kRows * kVectors >= 8 ? 1 : kRows * kVectors >= 4 ? 2 : 4;
    if constexpr (kCopies > (kIsInTurns ? 2 : 1) && std::is_same_v<Number, float>) {
      if (rows == p.all_rows) {
        return Tile<Number, kRows, kVectors, kIsPaired, kCopies>(p, a, row, ahead);
      }
    }
#if SM_LANES == 16
    if constexpr (kIsInTurns) {
      return TileInTurns<kRows, kVectors, kIsPaired>(p, a, row, ahead);
    }
#endif
    Tile<Number, kRows, kVectors, kIsPaired, 1>(p, a, row, ahead);
  } else if constexpr (kRows > 1) {
    CallTile<Number, kRows - 1, kVectors, kIsPaired>(rows, p, a, row, ahead);
  }
}

// All rows of the panel.
template <class Number, int kVectors, bool kIsPaired>
void PanelOf(const PanelArgs& p) {
  const int64_t rows = p.row_end - p.row_begin;
  constexpr int64_t kNumbers = sizeof(float) / sizeof(Number);  // in the space of a float
  TileRows<kVectors>(rows, p.taps * p.depth / kNumbers, p.next,
                     [&](int64_t done, int n, Ahead ahead) {
                       const int64_t row = p.row_begin + done;
                       CallTile<Number, MaxRows(kVectors), kVectors, kIsPaired>(
                           n, p, p.a + done * p.taps_stride, row, ahead);
                       if (p.num_steps > 0) {
                         ApplySteps(p.steps, p.num_steps, p.c, p.c_stride, row, row + n,
                                    p.first_column, p.columns);
                       }
                     });
}

void Panel(const PanelArgs& p) {
  VisitWidth(p, [&](auto vectors, auto is_paired) {
    if constexpr (vectors() == kMaxVectors) {
      if (p.halves != nullptr) return PanelOf<uint16_t, vectors(), false>(p);
    }
    if constexpr (kHasShortRuns) {
      if (p.distances != nullptr) {
        if constexpr (vectors() <= 2) {
          if (p.depth == 3) return PassPanel(p, RunRows<vectors(), is_paired(), 3>);
          if (p.depth == 9) return PassPanel(p, RunRows<vectors(), is_paired(), 9>);
        }
        return PassPanel(p, RunRows<vectors(), is_paired(), 0>);
      }
    }
#if SM_LANES >= 8
    const bool is_plain =
        p.taps == 1 && !p.accumulate && p.residual == nullptr && p.row_end - p.row_begin >= 24;
    // Others than these gain nothing.
    constexpr int64_t kShort = kLanes == 8 ? 128 : vectors() == 1 ? 64 : is_paired() ? 0 : 24;
    if (is_plain && p.depth <= kShort) {
#if SM_LANES == 16
      if constexpr (vectors() == 1) return PassPanel(p, ShortRowsInTurns);
#endif
      return PassPanel(p, ShortRows<vectors()>);
    }
#endif
    PanelOf<float, vectors(), is_paired()>(p);
  });
}

// The lanes of a without bit `kStep` in their number, each followed at that distance by b's; and
// those with it.
template <int kStep, int... lane>
inline Vec LowBlocks(Vec a, Vec b, std::integer_sequence<int, lane...>) {
  return __builtin_shufflevector(a, b, ((lane & kStep) != 0 ? kLanes + lane - kStep : lane)...);
}
template <int kStep, int... lane>
inline Vec HighBlocks(Vec a, Vec b, std::integer_sequence<int, lane...>) {
  return __builtin_shufflevector(a, b, ((lane & kStep) != 0 ? kLanes + lane : lane + kStep)...);
}

// Exchanges rows and columns: in steps, blocks of half the size that lie across from each other.
template <int kStep>
inline __attribute__((always_inline)) void ExchangeBlocks(Vec (&rows)[kLanes]) {
  constexpr std::make_integer_sequence<int, kLanes> kLaneNumbers;
#pragma GCC unroll 16
  for (int r = 0; r < kLanes; ++r) {
    if ((r & kStep) != 0) continue;
    const Vec a = rows[r], b = rows[r + kStep];
    rows[r] = LowBlocks<kStep>(a, b, kLaneNumbers);
    rows[r + kStep] = HighBlocks<kStep>(a, b, kLaneNumbers);
  }
  if constexpr (kStep > 1) ExchangeBlocks<kStep / 2>(rows);
}

// Columns of b that are consecutive floats, a square block at a time.
void PackColumns(const float* b, int64_t column_stride, int64_t depth, int64_t columns,
                 int64_t width, const float* scale, float* panel) {
  for (int64_t j = 0; j < width; j += kLanes) {
    for (int64_t k = 0; k < depth; k += kLanes) {
      const int64_t n = depth - k < kLanes ? depth - k : kLanes;
      Vec block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        const float* from = b + (j + i) * column_stride + k;
        block[i] = j + i >= columns ? Vec{} : n < kLanes ? LoadSome(from, n) : Load(from);
        if (scale != nullptr && j + i < columns) block[i] *= scale[j + i];
      }
      ExchangeBlocks<kLanes / 2>(block);
      for (int64_t i = 0; i < n; ++i) Store(panel + (k + i) * width + j, block[i]);
    }
  }
}

void Pack(const float* b, int64_t row_stride, int64_t column_stride, int64_t depth, int64_t columns,
          int64_t width, const float* scale, float* panel) {
  if (column_stride == 1) {
    for (int64_t k = 0; k < depth; ++k, panel += width, b += row_stride) {
      for (int64_t j = 0; j < width; j += kLanes) {
        const int64_t n = columns - j;
        Vec v = n < kLanes ? LoadSome(b + j, n) : Load(b + j);
        if (scale != nullptr) v *= n < kLanes ? LoadSome(scale + j, n) : Load(scale + j);
        Store(panel + j, v);
      }
    }
    return;
  }
  if (row_stride == 1) return PackColumns(b, column_stride, depth, columns, width, scale, panel);
  for (int64_t j = 0; j < width; ++j) {
    const float factor = scale == nullptr || j >= columns ? 1 : scale[j];
    for (int64_t k = 0; k < depth; ++k) {
      panel[k * width + j] = j < columns ? factor * b[k * row_stride + j * column_stride] : 0;
    }
  }
}

}  // namespace
}  // namespace savedmodel
