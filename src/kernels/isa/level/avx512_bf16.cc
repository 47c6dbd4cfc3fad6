// Products of bfloat16, added in float.
#include <immintrin.h>

#include "src/kernels/isa/level/reduced.h"

namespace savedmodel {
namespace {

constexpr int kGroup = 2;

// Pairs of numbers. Sums are of the instruction's own type: GCC keeps others in memory.
struct BFloat16 {
  using Sums = __m512;
  static constexpr int64_t kShortRows = 24;

  // The bits of a vector as the type that the instruction takes.
  static __m512bh Pairs(IntVec v) { return reinterpret_cast<__m512bh>(v); }

  static __attribute__((always_inline)) void Add(Sums* sums, IntVec a, IntVec b) {
    *sums = _mm512_dpbf16_ps(*sums, Pairs(a), Pairs(b));
  }

  template <int kRows, int kVectors>
  static __attribute__((always_inline)) void Finish(const ReducedCode::PanelArgs& p,
                                                    Sums (&sums)[kRows][kVectors], int64_t,
                                                    int64_t row) {
    Vec results[kRows][kVectors];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) results[r][v] = sums[r][v];
    }
    savedmodel::Finish<kRows, kVectors>(p.out, results, row);
  }
};

// Rounds to nearest, ties to even.
inline __attribute__((always_inline)) void Round(const float* x, uint16_t* y, int64_t n) {
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const __m512bh v = _mm512_cvtne2ps_pbh(Load(x + i + kLanes), Load(x + i));
    _mm512_storeu_si512(y + i, reinterpret_cast<__m512i>(v));
  }
  for (; i < n; i += kLanes) {
    const bool is_whole = n - i >= kLanes;
    const __m256bh v = _mm512_cvtneps_pbh(is_whole ? Load(x + i) : LoadSome(x + i, n - i));
    if (is_whole) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i), reinterpret_cast<__m256i>(v));
    } else {
      _mm256_mask_storeu_epi16(y + i, FirstLanes(n - i), reinterpret_cast<__m256i>(v));
    }
  }
}

// What a last vector writes too much, the next run overwrites.
inline __attribute__((always_inline)) void Copy(const uint16_t* x, uint16_t* y, int64_t n) {
  for (int64_t i = 0; i < n; i += 2 * kLanes) {
    _mm512_storeu_si512(y + i, _mm512_loadu_si512(x + i));
  }
}

void ReduceRows(const float* const* runs, int64_t rows, int64_t taps, int64_t depth,
                const RoundedFloats& rounded, int32_t* words, int64_t stride, RowScale*) {
  const bool is_odd = taps * depth % kGroup != 0;
  for (int64_t row = 0; row < rows; ++row, runs += taps, words += stride) {
    uint16_t* numbers = reinterpret_cast<uint16_t*>(words);
    for (int64_t t = 0; t < taps; ++t, numbers += depth) {
      if (const uint16_t* from = rounded.Find(runs[t])) {
        Copy(from, numbers, depth);
      } else {
        Round(runs[t], numbers, depth);
      }
    }
    if (is_odd) *numbers = 0;
  }
}

void PackPairs(const float* panel, int64_t depth, int64_t width, int32_t* words, float*, int32_t*) {
  // Element i of the first row, then of the second, for each i.
  alignas(64) uint16_t order[2 * kLanes];
  for (int i = 0; i < kLanes; ++i) {
    order[2 * i] = static_cast<uint16_t>(i);
    order[2 * i + 1] = static_cast<uint16_t>(kLanes + i);
  }
  const __m512i interleave = _mm512_load_si512(order);
  for (int64_t k = 0; k < depth; k += kGroup, panel += kGroup * width) {
    for (int64_t j = 0; j < width; j += kLanes, words += kLanes) {
      const Vec first = Load(panel + j), second = k + 1 < depth ? Load(panel + width + j) : Vec{};
      const __m512bh both = _mm512_cvtne2ps_pbh(second, first);
      _mm512_storeu_si512(words,
                          _mm512_permutexvar_epi16(interleave, reinterpret_cast<__m512i>(both)));
    }
  }
}

}  // namespace
}  // namespace savedmodel

extern "C" const savedmodel::ReducedCode* savedmodel_vector_code_avx512_bf16() {
  using namespace savedmodel;
  static constexpr ReducedCode kCode = {.group = kGroup,
                                        .max_depth = INT64_MAX,
                                        .panel = ReducedPanel<BFloat16>,
                                        .reduce = ReduceRows,
                                        .pack = PackPairs};
  return &kCode;
}
