// Trigonometric and hyperbolic functions of vectors and their inverses, within four units in the
// last place.
#pragma once

#include "src/kernels/isa/level/math.h"

namespace savedmodel {
namespace {

constexpr float kHalfPi = 1.57079632679489662f;

inline Vec WithSignOf(Vec x, Vec sign) { return FromBits(Bits(x) | Bits(SignOf(sign))); }

// x = turns * pi / 2 + rest, |rest| <= pi / 4, for |x| < 2^28.
struct Angle {
  Vec rest;
  IntVec turns;
};
// Half of a vector in double; the other way round, of floats and of whole numbers.
#if SM_LANES == 16
typedef __m512d HalfWide;
inline HalfWide LowHalf(Vec x) { return _mm512_cvtps_pd(_mm512_castps512_ps256(x)); }
inline HalfWide HighHalf(Vec x) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)); }
inline Vec JoinHalves(HalfWide low, HalfWide high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
}
inline IntVec JoinWholes(HalfWide low, HalfWide high) {
  return reinterpret_cast<IntVec>(_mm512_inserti32x8(
      _mm512_castsi256_si512(_mm512_cvtpd_epi32(low)), _mm512_cvtpd_epi32(high), 1));
}
#elif SM_LANES == 8
typedef __m256d HalfWide;
inline HalfWide LowHalf(Vec x) { return _mm256_cvtps_pd(_mm256_castps256_ps128(x)); }
inline HalfWide HighHalf(Vec x) { return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)); }
inline Vec JoinHalves(HalfWide low, HalfWide high) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(low)), _mm256_cvtpd_ps(high),
                              1);
}
inline IntVec JoinWholes(HalfWide low, HalfWide high) {
  return reinterpret_cast<IntVec>(_mm256_inserti128_si256(
      _mm256_castsi128_si256(_mm256_cvtpd_epi32(low)), _mm256_cvtpd_epi32(high), 1));
}
#else
typedef double HalfWide __attribute__((vector_size(16)));
inline HalfWide LowHalf(Vec x) { return HalfWide{x[0], x[1]}; }
inline HalfWide HighHalf(Vec x) { return HalfWide{x[2], x[3]}; }
inline Vec JoinHalves(HalfWide low, HalfWide high) {
  return Vec{static_cast<float>(low[0]), static_cast<float>(low[1]), static_cast<float>(high[0]),
             static_cast<float>(high[1])};
}
inline IntVec JoinWholes(HalfWide low, HalfWide high) {
  return IntVec{static_cast<int32_t>(low[0]), static_cast<int32_t>(low[1]),
                static_cast<int32_t>(high[0]), static_cast<int32_t>(high[1])};
}
#endif

inline Angle SplitAngle(Vec x) {
  // In double: pi / 2 in two parts, of which the first times a number of turns is exact.
  constexpr double kShift = 6755399441055744.0;  // 1.5 * 2^52: its last bit is a turn
  const auto turns_of = [](HalfWide v) { return v * 0.636619772367581343 + kShift - kShift; };
  const auto rest_of = [](HalfWide v, HalfWide n) {
    return v - n * 1.57079631090164184570 - n * 1.58932547735281966916e-8;
  };
  const HalfWide low = LowHalf(x), high = HighHalf(x);
  const HalfWide low_turns = turns_of(low), high_turns = turns_of(high);
  return {JoinHalves(rest_of(low, low_turns), rest_of(high, high_turns)),
          JoinWholes(low_turns, high_turns)};
}

// The sine and cosine of |x| <= pi / 4.
inline Vec SmallSin(Vec x) {
  const Vec z = x * x;
  Vec p = Splat(-1.9515295891e-4f);
  p = p * z + 8.3321608736e-3f;
  p = p * z - 1.6666654611e-1f;
  return p * z * x + x;
}
inline Vec SmallCos(Vec x) {
  const Vec z = x * x;
  Vec p = Splat(2.443315711809948e-5f);
  p = p * z - 1.388731625493765e-3f;
  p = p * z + 4.166664568298827e-2f;
  return p * z * z - 0.5f * z + 1.0f;
}

// f(x), but a lane at a time by `each` where the angle is too large to be split.
template <class F, class Each>
inline Vec OfAngle(Vec x, F&& f, Each&& each) {
  const Vec a = Abs(x);
  // Infinities and NaN give NaN.
  if (!All((a < Splat(268435456.0f)) | (a == Splat(__builtin_inff())) | (x != x))) {
    return EachLane(x, each);
  }
  return f(SplitAngle(x));
}

// The sine of an angle and as many turns more.
inline Vec SinOfTurned(const Angle& angle, int more) {
  const IntVec turns = angle.turns + more;
  const Vec y = (turns & 1) != 0 ? SmallCos(angle.rest) : SmallSin(angle.rest);
  return FromBits(Bits(y) ^ ((turns & 2) << 30));
}
inline Vec Sin(Vec x) {
  return OfAngle(
      x, [&](const Angle& angle) { return Abs(x) < Splat(1e-4f) ? x : SinOfTurned(angle, 0); },
      [](float v) { return __builtin_sinf(v); });
}
inline Vec Cos(Vec x) {
  return OfAngle(
      x, [](const Angle& angle) { return SinOfTurned(angle, 1); },
      [](float v) { return __builtin_cosf(v); });
}
inline Vec Tan(Vec x) {
  return OfAngle(
      x,
      [&](const Angle& angle) {
        const Vec r = angle.rest, z = r * r;
        Vec p = Splat(9.38540185543e-3f);
        p = p * z + 3.11992232697e-3f;
        p = p * z + 2.44301354525e-2f;
        p = p * z + 5.34112807005e-2f;
        p = p * z + 1.33387994085e-1f;
        p = p * z + 3.33331568548e-1f;
        const Vec y = p * z * r + r;
        const Vec turned = (angle.turns & 1) != 0 ? -1.0f / y : y;
        return Abs(x) < Splat(1e-4f) ? x : turned;
      },
      [](float v) { return __builtin_tanf(v); });
}

// The angle of the point (x, y).
inline Vec Atan2(Vec y, Vec x) {
  const Vec infinity = Splat(__builtin_inff());
  const IntVec steep = Abs(y) > Abs(x);
  Vec large = steep ? Abs(y) : Abs(x), small = steep ? Abs(x) : Abs(y);
  // Sums and differences of the two are finite and have all their digits, the quotient of
  // infinities is 1 and that of zeros 0.
  Vec scale = large > Splat(1e38f) ? Splat(0.25f) : Splat(1);
  scale = large < Splat(1e-30f) ? Splat(1.152921504606846976e18f) : scale;  // 2^60
  large = small == infinity ? Splat(1) : large * scale;
  small = small == infinity ? Splat(1) : small * scale;
  large = large == Splat(0) ? Splat(1) : large;
  // Above the tangent of pi / 8, from pi / 4.
  const IntVec wide = small > large * 0.41421356237309504f;
  const Vec t = (wide ? small - large : small) / (wide ? small + large : large);
  const Vec z = t * t;
  Vec p = Splat(8.05374449538e-2f);
  p = p * z - 1.38776856032e-1f;
  p = p * z + 1.99777106478e-1f;
  p = p * z - 3.33329491539e-1f;
  Vec angle = p * z * t + t;
  angle = wide ? angle + 0.5f * kHalfPi : angle;
  angle = steep ? kHalfPi - angle : angle;
  angle = Bits(x) < 0 ? 2 * kHalfPi - angle : angle;
  return x != x || y != y ? x + y : WithSignOf(angle, y);
}
inline Vec Atan(Vec x) {
  const Vec y = Atan2(x, Splat(1));
  return Abs(x) < Splat(1e-4f) ? x : y;
}

// The arcsine of 0 <= x <= 0.5, whose square is given.
inline Vec SmallAsin(Vec x, Vec square) {
  Vec p = Splat(4.2163199048e-2f);
  p = p * square + 2.4181311049e-2f;
  p = p * square + 4.5470025998e-2f;
  p = p * square + 7.4953002686e-2f;
  p = p * square + 1.6666752422e-1f;
  return p * square * x + x;
}
// Beyond 0.5, by half of the angle to 1.
inline Vec Asin(Vec x) {
  const Vec a = Abs(x);
  const IntVec beyond = a > Splat(0.5f);
  const Vec square = beyond ? 0.5f - 0.5f * a : a * a;
  const Vec y = SmallAsin(beyond ? Sqrt(square) : a, square);
  return WithSignOf(beyond ? kHalfPi - 2.0f * y : y, x);
}
inline Vec Acos(Vec x) {
  const Vec a = Abs(x);
  const IntVec beyond = a > Splat(0.5f);
  const Vec square = beyond ? 0.5f - 0.5f * a : a * a;
  const Vec y = SmallAsin(beyond ? Sqrt(square) : a, square);
  const Vec from_end = Bits(x) < 0 ? 2 * kHalfPi - 2.0f * y : 2.0f * y;
  return beyond ? from_end : kHalfPi - WithSignOf(y, x);
}

// e^x / 2, which is finite somewhat longer than e^x.
inline Vec HalfExp(Vec x) {
  const ExpParts e = SplitExp(AtMost(AtLeast(x, -104.0f), 90.0f));
  return Scale(e.mantissa, e.exponent - 1.0f);
}
inline Vec Sinh(Vec x) {
  const Vec z = x * x;
  Vec p = Splat(2.03721912945e-4f);
  p = p * z + 8.33028376239e-3f;
  p = p * z + 1.66667160211e-1f;
  const Vec half = HalfExp(Abs(x));
  const Vec y = WithSignOf(half - 0.25f / half, x);
  return Abs(x) < Splat(1) ? p * z * x + x : y;
}
inline Vec Cosh(Vec x) {
  const Vec half = HalfExp(Abs(x));
  return half + 0.25f / half;
}
// Of a large number, log(2 x); otherwise log(1 + x), where that is what `near` is.
inline Vec InverseOfHyperbolic(Vec x, Vec near) {
  const IntVec large = x > Splat(1e9f);
  const Vec y = Log1p(large ? x : near);
  return large ? y + 0.69314718055994531f : y;
}
inline Vec Asinh(Vec x) {
  const Vec a = Abs(x), z = a * a;
  return WithSignOf(InverseOfHyperbolic(a, a + z / (1.0f + Sqrt(z + 1.0f))), x);
}
inline Vec Acosh(Vec x) {
  const Vec t = x - 1.0f;
  const Vec y = InverseOfHyperbolic(x, t + Sqrt(t + t + t * t));
  return x < Splat(1) ? Splat(__builtin_nanf("")) : y;
}
inline Vec Atanh(Vec x) {
  const Vec a = Abs(x);
  return WithSignOf(0.5f * Log1p((a + a) / (1.0f - a)), x);
}

}  // namespace
}  // namespace savedmodel
