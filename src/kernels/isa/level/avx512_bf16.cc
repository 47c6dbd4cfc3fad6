// Products of bfloat16.
#include <immintrin.h>

#include "src/kernels/isa/level/gemm.h"

namespace savedmodel {
namespace {

// The bits of a vector as the type that the instructions take.
inline __m512bh Pairs(__m512i v) { return reinterpret_cast<__m512bh>(v); }

template <int kRows, int kVectors>
void BFloat16Tile(const BFloat16Code::PanelArgs& p, const uint16_t* a, int64_t row, Ahead ahead) {
  __m512 sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[r][v] = _mm512_setzero_ps();
  }
  const uint16_t* b = p.b;
  const uint16_t* rows[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) rows[r] = a + r * p.a_stride;
  for (int64_t k = 0; k < p.pairs; ++k, b += 2 * kVectors * kLanes) {
    if (k % 4 == 0) {
      for (int i = 0; i < ahead.lines; ++i, ahead.from += kLine) {
        __builtin_prefetch(ahead.from, 0, 2);
      }
    }
    __m512i row_b[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) row_b[v] = _mm512_loadu_si512(b + 2 * v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      int32_t pair;
      __builtin_memcpy(&pair, rows[r] + 2 * k, sizeof(pair));
      const __m512i x = _mm512_set1_epi32(pair);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = _mm512_dpbf16_ps(sums[r][v], Pairs(x), Pairs(row_b[v]));
      }
    }
  }
  Vec results[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) results[r][v] = sums[r][v];
  }
  Finish<kRows, kVectors>(p.out, results, row);
}

template <int kRows, int kVectors>
void CallBFloat16Tile(int rows, const BFloat16Code::PanelArgs& p, const uint16_t* a, int64_t row,
                      Ahead ahead) {
  if (rows == kRows) {
    BFloat16Tile<kRows, kVectors>(p, a, row, ahead);
  } else if constexpr (kRows > 1) {
    CallBFloat16Tile<kRows - 1, kVectors>(rows, p, a, row, ahead);
  }
}

template <int kVectors>
void BFloat16PanelOf(const BFloat16Code::PanelArgs& p) {
  const int64_t rows = p.out.row_end - p.out.row_begin;
  TileRows<kVectors>(rows, p.pairs, p.out.next, [&](int64_t done, int n, Ahead ahead) {
    CallBFloat16Tile<MaxRows(kVectors), kVectors>(n, p, p.a + done * p.a_stride,
                                                  p.out.row_begin + done, ahead);
  });
}

void BFloat16Panel(const BFloat16Code::PanelArgs& p) {
  switch (p.out.vectors) {
    case 1:
      return BFloat16PanelOf<1>(p);
    case 2:
      return BFloat16PanelOf<2>(p);
    case 3:
      return BFloat16PanelOf<3>(p);
    case 4:
      return BFloat16PanelOf<4>(p);
  }
}

void Round(const float* x, uint16_t* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const __m256bh v = _mm512_cvtneps_pbh(Load(x + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i), reinterpret_cast<__m256i>(v));
  }
  if (i == n) return;
  const __m256bh v = _mm512_cvtneps_pbh(LoadSome(x + i, n - i));
  _mm256_mask_storeu_epi16(y + i, FirstLanes(n - i), reinterpret_cast<__m256i>(v));
}

void PackPairs(const float* panel, int64_t depth, int64_t width, uint16_t* pairs) {
  // Element i of the first row, then of the second, for each i.
  alignas(64) uint16_t order[2 * kLanes];
  for (int i = 0; i < kLanes; ++i) {
    order[2 * i] = static_cast<uint16_t>(i);
    order[2 * i + 1] = static_cast<uint16_t>(kLanes + i);
  }
  const __m512i interleave = _mm512_load_si512(order);
  for (int64_t k = 0; k < depth; k += 2, panel += 2 * width) {
    for (int64_t j = 0; j < width; j += kLanes, pairs += 2 * kLanes) {
      const Vec first = Load(panel + j), second = k + 1 < depth ? Load(panel + width + j) : Vec{};
      const __m512bh both = _mm512_cvtne2ps_pbh(second, first);
      _mm512_storeu_si512(pairs,
                          _mm512_permutexvar_epi16(interleave, reinterpret_cast<__m512i>(both)));
    }
  }
}

}  // namespace
}  // namespace savedmodel

extern "C" const savedmodel::BFloat16Code* savedmodel_vector_code_avx512_bf16() {
  using namespace savedmodel;
  static constexpr BFloat16Code kCode = {.panel = BFloat16Panel, .round = Round, .pack = PackPairs};
  return &kCode;
}
