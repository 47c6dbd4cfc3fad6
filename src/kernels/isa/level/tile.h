// What tiles of products have in common, whatever their numbers: sizes, and what follows the sums.
#pragma once

#include <type_traits>

#include "src/kernels/isa/level/math.h"
#include "src/kernels/isa/level/vectors.h"
#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

// Accumulators of a full tile: what the registers hold beside a row of B and an element of A.
#if SM_LANES == 16
constexpr int kMaxVectors = 4;
constexpr int kAccumulators = 24;
#elif SM_LANES == 8
constexpr int kMaxVectors = 3;
constexpr int kAccumulators = 12;
#else
constexpr int kMaxVectors = 2;
constexpr int kAccumulators = 12;
#endif
constexpr int kLine = 64 / sizeof(float);  // floats in a cache line
constexpr int MaxRows(int vectors) {
  return kAccumulators / vectors < 8 ? kAccumulators / vectors : 8;  // more need too many pointers
}

// Of short rows: where registers are many, half of the sums, which are enough to hide the latency
// of an addition. The processor then has the next tile in flight before it has written this one.
constexpr int RowsOfShort(int vectors) {
  return kLanes == 16 && vectors > 2 ? MaxRows(vectors) / 2 : MaxRows(vectors);
}

// sum += x * y, of a tile of kSums. Where they fill the 16 registers that AVX2 has, GCC would
// choose forms of the instruction that move sums about and keep some in memory.
template <int kSums>
inline __attribute__((always_inline)) void AddProduct(Vec* sum, Vec x, Vec y) {
#if SM_LANES == 8
  if constexpr (kSums > 8) {
    asm("vfmadd231ps %2, %1, %0" : "+x"(*sum) : "x"(x), "x"(y));
  } else {
    *sum = _mm256_fmadd_ps(x, y, *sum);  // as exact, whatever the compiler makes of * and +
  }
#else
  *sum += x * y;
#endif
}

// Adds to the sums of some rows of A what number k of each gives with a row of a panel of B.
template <int kRows, int kVectors>
inline __attribute__((always_inline)) void AddRowOfPanel(const float* const (&rows)[kRows],
                                                         int64_t k, const float* b,
                                                         Vec (&sums)[kRows][kVectors]) {
  Vec row_b[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) row_b[v] = Load(b + v * kLanes);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const Vec x = Splat(rows[r][k]);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) AddProduct<kRows * kVectors>(&sums[r][v], x, row_b[v]);
  }
}

// Calls fn(vectors, is_paired), constants both, for the width of a panel.
template <class F>
inline void VisitWidth(const PanelArgs& p, F&& fn) {
  const auto call = [&](auto vectors) {
    if constexpr (kLanes == 16 && (vectors() == 2 || vectors() == 3)) {  // others gain little
      if (p.columns <= (vectors() - 1) * kLanes + kLanes / 2) {
        return fn(vectors, std::true_type());
      }
    }
    fn(vectors, std::false_type());
  };
  switch (p.vectors) {
    case 1:
      return call(std::integral_constant<int, 1>());
    case 2:
      return call(std::integral_constant<int, 2>());
#if SM_LANES >= 8
    case 3:
      return call(std::integral_constant<int, 3>());
#endif
#if SM_LANES == 16
    case 4:
      return call(std::integral_constant<int, 4>());
#endif
  }
}

// Vector v of a row of `columns` floats; the last may be narrower than the others.
template <int kVectors>
inline __attribute__((always_inline)) Vec LoadOfRow(const float* row, int v, int64_t columns) {
  const int64_t tail = columns - v * kLanes;
  return v == kVectors - 1 && tail < kLanes ? LoadSome(row + v * kLanes, tail)
                                            : Load(row + v * kLanes);
}

template <int kVectors>
inline __attribute__((always_inline)) void StoreOfRow(float* row, int v, Vec x, int64_t columns) {
  const int64_t tail = columns - v * kLanes;
  if (v == kVectors - 1 && tail < kLanes) {
    StoreSome(row + v * kLanes, x, tail);
  } else {
    Store(row + v * kLanes, x);
  }
}

// Writes a tile from c on, within [low, high]. Sums are of their own type: GCC would move them to
// memory to see them as another.
template <int kRows, int kVectors, class Sums>
inline __attribute__((always_inline)) void StoreWithin(float low, float high,
                                                       const Sums (&sums)[kRows][kVectors],
                                                       float* c, int64_t c_stride,
                                                       int64_t columns) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r, c += c_stride) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      StoreOfRow<kVectors>(c, v, AtMost(AtLeast(sums[r][v], low), high), columns);
    }
  }
}

// The bias of a panel's columns, 0 where there is none.
template <int kVectors>
inline __attribute__((always_inline)) void LoadBias(const PanelArgs& p, Vec (&bias)[kVectors]) {
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    bias[v] = p.bias == nullptr ? Vec{} : LoadOfRow<kVectors>(p.bias, v, p.columns);
  }
}

// Adds what follows a finished tile in registers, and writes it at row `row` of the output. Sums
// may have the bias already.
template <int kRows, int kVectors, bool kAddsBias = true>
inline __attribute__((always_inline)) void Finish(const PanelArgs& p, Vec (&sums)[kRows][kVectors],
                                                  int64_t row) {
  const auto load = [&](const float* from, int v) __attribute__((always_inline)) {
    return LoadOfRow<kVectors>(from, v, p.columns);
  };
  const auto add_rows = [&](const float* from, int64_t stride) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] += load(from + r * stride, v);
    }
  };
  float* c = p.c + row * p.c_stride;
  if (p.accumulate) add_rows(c, p.c_stride);
  if (kAddsBias && p.bias != nullptr) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const Vec bias = load(p.bias, v);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sums[r][v] += bias;
    }
  }
  if (p.residual != nullptr) add_rows(p.residual + row * p.residual_stride, p.residual_stride);
  if (p.low > -__builtin_inff()) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] = AtLeast(sums[r][v], p.low);
    }
  }
  if (p.high < __builtin_inff()) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] = AtMost(sums[r][v], p.high);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      StoreOfRow<kVectors>(c + r * p.c_stride, v, sums[r][v], p.columns);
    }
  }
}

constexpr int kMostLines = kLanes == 8 ? 2 : 8;
// The same of what the second cache level holds: more would only be in the way.
constexpr int kMostLinesOfSecondLevel = kLanes == 8 ? 2 : 4;
// Cache lines that a tile fetches for what comes after it, `lines` of them for every fourth k. They
// go into the first cache level: AMD drops what is for another one and on a page that it must look
// up.
struct Ahead {
  const float* from;
  int lines;
};
inline __attribute__((always_inline)) void FetchLines(Ahead* ahead) {
#if SM_LANES == 8  // no loop beside the few instructions of four steps
  __builtin_prefetch(ahead->from, 0, 3);
  __builtin_prefetch(ahead->from + kLine, 0, 3);
  ahead->from += ahead->lines * kLine;
#else
  for (int i = 0; i < ahead->lines; ++i, ahead->from += kLine) {
    __builtin_prefetch(ahead->from, 0, 3);
  }
#endif
}

// Has the processor look up the pages of what comes after a panel, which begins at b, while row k
// of it is read: what the processor fetches by itself waits at each that is new. For every fourth
// k; large matrices have wide panels.
template <int kVectors, class Number>
inline __attribute__((always_inline)) void LookUpPages(const PanelArgs& p, const Number* b,
                                                       int64_t k, const Number* row) {
  if constexpr (kVectors > kMaxVectors / 2) {
    constexpr int64_t kRows = kVectors * kLanes * sizeof(Number) > 128 ? 16 : 32;  // in a page
    if ((k & (kRows - 1)) == kRows - 4 && p.on_new_pages) {
      const intptr_t distance = reinterpret_cast<intptr_t>(p.next) - reinterpret_cast<intptr_t>(b);
      __builtin_prefetch(reinterpret_cast<const char*>(row) + distance, 0, 3);
    }
  }
}

// Calls tile(first row, rows, ahead) so that `rows` rows are spread evenly over tiles, which fetch
// what is `next` between them: as many lines for each of `depth` steps as they read of the panel. A
// panel that is read once the processor fetches fast enough itself.
template <int kVectors, int kMost = kMostLines, class F>
inline void TileRows(int64_t rows, int64_t depth, const float* next, F&& tile) {
  constexpr int kRows = MaxRows(kVectors);
  constexpr int kPanelLines = 4 * kVectors * kLanes / kLine;  // of four steps
  int64_t tiles = (rows + kRows - 1) / kRows;
  Ahead ahead{next, 0};
  if (tiles > 1) {
    const int64_t lines = (kPanelLines + tiles - 1) / tiles;
    ahead.lines = static_cast<int>(lines < kMost ? lines : kMost);
  }
  const float* const end = next + depth * kVectors * kLanes;
  for (int64_t done = 0; tiles > 0; --tiles) {
    const int64_t n = tiles == 1 ? rows - done : (rows - done + tiles - 1) / tiles;
    tile(done, static_cast<int>(n), ahead);
    ahead.from += depth / 4 * ahead.lines * kLine;
    if (ahead.from >= end) ahead = {next, 0};
    done += n;
  }
}

}  // namespace
}  // namespace savedmodel
