// Products of numbers of 8 bits, four to a word, added in int32: those of A unsigned, with a scale
// and a zero of each row; those of B signed, with a scale of each column.
#pragma once

#include "src/kernels/isa/level/reduced.h"

namespace savedmodel {
namespace {

constexpr int kGroup = 4;
constexpr int64_t kMostOfA = 255, kMostOfB = 127;
// Scales below this would have no finite inverse; what they would scale counts as 0.
constexpr float kLeastScale = 0x1p-126f;

// Lanes as bytes, 255 for what is above; none is negative.
#if SM_LANES == 16
inline void StoreBytes(uint8_t* p, IntVec v) {
  const __m128i bytes = _mm512_cvtusepi32_epi8(reinterpret_cast<__m512i>(v));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}
// Nearest integers, ties to even.
inline IntVec Nearest(Vec x) { return reinterpret_cast<IntVec>(_mm512_cvtps_epi32(x)); }
// Of a pair with NaN for x: y.
inline Vec Smaller(Vec x, Vec y) { return _mm512_min_ps(x, y); }
inline Vec Larger(Vec x, Vec y) { return _mm512_max_ps(x, y); }
inline bool HasNaN(Vec x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q) != 0; }
#define SM_DOT "vpdpbusd"
#else
inline void StoreBytes(uint8_t* p, IntVec v) {
  const __m256i all = reinterpret_cast<__m256i>(v);
  const __m128i words =
      _mm_packus_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  _mm_storeu_si64(p, _mm_packus_epi16(words, words));
}
inline IntVec Nearest(Vec x) { return reinterpret_cast<IntVec>(_mm256_cvtps_epi32(x)); }
inline Vec Smaller(Vec x, Vec y) { return _mm256_min_ps(x, y); }
inline Vec Larger(Vec x, Vec y) { return _mm256_max_ps(x, y); }
inline bool HasNaN(Vec x) { return _mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)) != 0; }
#define SM_DOT "%{vex%} vpdpbusd"
#endif

struct Int8 {
  using Sums = IntVec;
  static constexpr int64_t kShortRows = 0;

  // No intrinsic: GCC copies its sums from register to register.
  static __attribute__((always_inline)) void Add(Sums* sums, IntVec a, IntVec b) {
    asm(SM_DOT " %2, %1, %0" : "+v"(*sums) : "v"(a), "v"(b));
  }

  template <int kRows, int kVectors>
  static __attribute__((always_inline)) void Finish(const ReducedCode::PanelArgs& p,
                                                    Sums (&sums)[kRows][kVectors], int64_t first,
                                                    int64_t row) {
    Vec results[kRows][kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      if (p.row_scales == nullptr) {
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) results[r][v] = FromBits(sums[r][v]);
        continue;
      }
      const Vec scale = Load(p.column_scales + v * kLanes);
      const IntVec sum_of_b = LoadWords(p.column_sums + v * kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const RowScale& a = p.row_scales[first + r];
        const IntVec sum = sums[r][v] - a.zero * sum_of_b;
        results[r][v] = __builtin_convertvector(sum, Vec) * a.scale * scale;
      }
    }
    savedmodel::Finish<kRows, kVectors>(p.out, results, row);
  }
};

// Of values from `low` <= 0 to `high` >= 0.
RowScale ScaleOf(float low, float high) {
  const float scale = (high / 2 - low / 2) * (2.0f / kMostOfA);  // halves cannot overflow
  if (scale < kLeastScale) return {};
  return {scale, Nearest(Splat(low * (-1 / scale)))[0]};
}

// Calls f(i, x) with each vector x of a run of `depth` floats; the last may end in zeros.
template <class F>
inline __attribute__((always_inline)) void EachVector(const float* run, int64_t depth, F&& f) {
  int64_t i = 0;
  for (; i + kLanes <= depth; i += kLanes) f(i, Load(run + i));
  if (i < depth) f(i, LoadSome(run + i, depth - i));
}

// The scale of a row, which is NaN, and so are the row's products, where a value is not finite.
RowScale ScaleOfRow(const float* const* runs, int64_t taps, int64_t depth) {
  Vec low{}, high{};
  IntVec zeros{};  // bits of 0 * x, which is NaN where x is not finite
  for (int64_t t = 0; t < taps; ++t) {
    EachVector(
        runs[t], depth, [&](int64_t, Vec x) __attribute__((always_inline)) {
          low = Smaller(x, low);
          high = Larger(x, high);
          zeros |= Bits(x * 0.0f);
        });
  }
  if (HasNaN(FromBits(zeros))) return {__builtin_nanf(""), 0};
  return ScaleOf(Reduce(low, Smaller), Reduce(high, Larger));
}

void ReduceRow(const float* const* runs, int64_t taps, int64_t depth, int32_t* words,
               RowScale* scale) {
  const RowScale s = ScaleOfRow(runs, taps, depth);
  const Vec inverse = Splat(s.scale == 0 ? 0 : 1 / s.scale);
  uint8_t* numbers = reinterpret_cast<uint8_t*>(words);
  for (int64_t t = 0; t < taps; ++t, numbers += depth) {
    // What a last vector writes too much, the next run overwrites.
    EachVector(
        runs[t], depth, [&](int64_t i, Vec x) __attribute__((always_inline)) {
          StoreBytes(numbers + i, Nearest(x * inverse) + s.zero);
        });
  }
  *scale = s;
}

void ReduceRows(const float* const* runs, int64_t rows, int64_t taps, int64_t depth,
                const RoundedFloats&, int32_t* words, int64_t stride, RowScale* scales) {
  for (int64_t row = 0; row < rows; ++row, runs += taps, words += stride) {
    ReduceRow(runs, taps, depth, words, &scales[row]);
  }
}

void PackQuads(const float* panel, int64_t depth, int64_t width, int32_t* words,
               float* column_scales, int32_t* column_sums) {
  for (int64_t j = 0; j < width; j += kLanes) {
    IntVec largest{};  // of the bits, whose order is that of the values, NaN last
    for (int64_t k = 0; k < depth; ++k) {
      const IntVec bits = Bits(Abs(Load(panel + k * width + j)));
      largest = bits > largest ? bits : largest;
    }
    Vec scale = FromBits(largest) / static_cast<float>(kMostOfB);
    scale = scale < Splat(kLeastScale) ? Vec{} : scale;
    Store(column_scales + j, scale);
    if (HasNaN(scale * 0.0f)) return;  // no numbers are of use
    const Vec inverse = scale == Vec{} ? Vec{} : 1.0f / scale;
    IntVec sum{};
    for (int64_t k = 0; k < depth; k += kGroup) {
      IntVec word{};
      for (int i = 0; i < kGroup && k + i < depth; ++i) {
        const IntVec number = Nearest(Load(panel + (k + i) * width + j) * inverse);
        sum += number;
        word |= (number & 255) << (8 * i);
      }
      StoreWords(words + k / kGroup * width + j, word);
    }
    StoreWords(column_sums + j, sum);
  }
}

constexpr ReducedCode kInt8Code = {.group = kGroup,
                                   .max_depth = INT32_MAX / (kMostOfA * kMostOfB),
                                   .panel = ReducedPanel<Int8>,
                                   .reduce = ReduceRows,
                                   .pack = PackQuads};

}  // namespace
}  // namespace savedmodel
