// Products of numbers of 8 bits, four to a word, added in int32: those of A unsigned, with a scale
// and a zero of each row; those of B signed, with a scale of each column.
#pragma once

#include <cstring>

#include "src/kernels/isa/level/reduced.h"

namespace savedmodel {
namespace {

constexpr int kGroup = 4;
constexpr int64_t kMostOfA = 255, kMostOfB = 127;
// Scales below this would have no finite inverse; what they would scale counts as 0.
constexpr float kLeastScale = 0x1p-126f;

// Lanes as bytes, 255 for what is above; none is negative.
#if SM_LANES == 16
inline __m128i Bytes(IntVec v) { return _mm512_cvtusepi32_epi8(reinterpret_cast<__m512i>(v)); }
inline void StoreBytes(uint8_t* p, IntVec v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), Bytes(v));
}
// Nearest integers, ties to even.
inline IntVec Nearest(Vec x) { return reinterpret_cast<IntVec>(_mm512_cvtps_epi32(x)); }
// Of a pair with NaN for x: y.
inline Vec Smaller(Vec x, Vec y) { return _mm512_min_ps(x, y); }
inline Vec Larger(Vec x, Vec y) { return _mm512_max_ps(x, y); }
#define SM_DOT "vpdpbusd"
#else
inline __m128i Bytes(IntVec v) {
  const __m256i all = reinterpret_cast<__m256i>(v);
  const __m128i words =
      _mm_packus_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  return _mm_packus_epi16(words, words);
}
inline void StoreBytes(uint8_t* p, IntVec v) { _mm_storeu_si64(p, Bytes(v)); }
inline IntVec Nearest(Vec x) { return reinterpret_cast<IntVec>(_mm256_cvtps_epi32(x)); }
inline Vec Smaller(Vec x, Vec y) { return _mm256_min_ps(x, y); }
inline Vec Larger(Vec x, Vec y) { return _mm256_max_ps(x, y); }
#define SM_DOT "%{vex%} vpdpbusd"
#endif
inline void StoreSomeBytes(uint8_t* p, IntVec v, int64_t n) {
  const __m128i bytes = Bytes(v);
  std::memcpy(p, &bytes, static_cast<size_t>(n));
}

struct Int8 {
  using Sums = IntVec;

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
  const float scale = high / kMostOfA - low / kMostOfA;
  if (scale < kLeastScale) return {};
  return {scale, Nearest(Splat(low * (-1 / scale)))[0]};
}

// Calls whole(i, x) and rest(i, x, n) with all vectors x of a run of `depth` floats.
template <class Whole, class Rest>
inline __attribute__((always_inline)) void EachVector(const float* run, int64_t depth,
                                                      Whole&& whole, Rest&& rest) {
  int64_t i = 0;
  for (; i + kLanes <= depth; i += kLanes) whole(i, Load(run + i));
  if (i < depth) rest(i, LoadSome(run + i, depth - i), depth - i);
}

// The scale of a row, which is NaN, and so are the row's products, where a value is not finite.
RowScale ScaleOfRow(const float* const* runs, int64_t taps, int64_t depth) {
  Vec low{}, high{}, zeros{};
  const auto look_at = [&](Vec x) __attribute__((always_inline)) {
    low = Smaller(x, low);
    high = Larger(x, high);
    zeros += x * 0.0f;
  };
  for (int64_t t = 0; t < taps; ++t) {
    EachVector(
        runs[t], depth, [&](int64_t, Vec x) { look_at(x); },
        [&](int64_t, Vec x, int64_t) { look_at(x); });
  }
  if (Sum(zeros) != 0) return {__builtin_nanf(""), 0};
  return ScaleOf(Reduce(low, Smaller), Reduce(high, Larger));
}

void ReduceRow(const float* const* runs, int64_t taps, int64_t depth, int32_t* words,
               RowScale* scale) {
  const RowScale s = ScaleOfRow(runs, taps, depth);
  const Vec inverse = Splat(s.scale == 0 ? 0 : 1 / s.scale);
  const auto quantize = [&](Vec x) { return Nearest(x * inverse) + s.zero; };
  uint8_t* numbers = reinterpret_cast<uint8_t*>(words);
  for (int64_t t = 0; t < taps; ++t, numbers += depth) {
    EachVector(
        runs[t], depth, [&](int64_t i, Vec x) { StoreBytes(numbers + i, quantize(x)); },
        [&](int64_t i, Vec x, int64_t n) { StoreSomeBytes(numbers + i, quantize(x), n); });
  }
  const int64_t over = taps * depth % kGroup;
  if (over != 0) std::memset(numbers, 0, static_cast<size_t>(kGroup - over));
  *scale = s;
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
    Store(column_scales + j, scale);
    StoreWords(column_sums + j, sum);
  }
}

constexpr ReducedCode kInt8Code = {.group = kGroup,
                                   .max_depth = INT32_MAX / (kMostOfA * kMostOfB),
                                   .panel = ReducedPanel<Int8>,
                                   .reduce = ReduceRow,
                                   .pack = PackQuads};

}  // namespace
}  // namespace savedmodel
