// Elementary functions of vectors, within a few units in the last place. NaN gives NaN.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "src/kernels/isa/level/vectors.h"

namespace savedmodel {
namespace {

inline IntVec Bits(Vec x) { return reinterpret_cast<IntVec>(x); }
inline Vec FromBits(IntVec x) { return reinterpret_cast<Vec>(x); }
inline Vec Abs(Vec x) { return FromBits(Bits(x) & 0x7fffffff); }
inline Vec SignOf(Vec x) { return FromBits(Bits(x) & static_cast<int32_t>(0x80000000)); }
// NaN in x passes through both: the instructions give their second operand where one is NaN.
#if SM_LANES == 16
inline Vec AtLeast(Vec x, Vec low) { return _mm512_max_ps(low, x); }
inline Vec AtMost(Vec x, Vec high) { return _mm512_min_ps(high, x); }
#elif SM_LANES == 8
inline Vec AtLeast(Vec x, Vec low) { return _mm256_max_ps(low, x); }
inline Vec AtMost(Vec x, Vec high) { return _mm256_min_ps(high, x); }
#else
inline Vec AtLeast(Vec x, Vec low) { return x < low ? low : x; }
inline Vec AtMost(Vec x, Vec high) { return x > high ? high : x; }
#endif
inline Vec AtLeast(Vec x, float low) { return AtLeast(x, Splat(low)); }
inline Vec AtMost(Vec x, float high) { return AtMost(x, Splat(high)); }
// Nearest integer, ties to even, for |x| < 2^22.
#if SM_LANES == 16
inline Vec RoundSmall(Vec x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT); }
#else
inline Vec RoundSmall(Vec x) { return (x + 12582912.0f) - 12582912.0f; }
#endif
// 1 / x within two units in the last place, for normal x of normal inverse.
#if SM_LANES == 16
inline Vec Inverse(Vec x) {
  const Vec y = _mm512_rcp14_ps(x);
  return y * (2.0f - x * y);
}
#else
inline Vec Inverse(Vec x) { return 1.0f / x; }
#endif

// Whether a condition holds in all lanes.
inline bool All(IntVec condition) {
#if SM_LANES == 16
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(condition)) == 0xffff;
#elif SM_LANES == 8
  return _mm256_movemask_ps(reinterpret_cast<__m256>(condition)) == 0xff;
#elif defined(__SSE2__)
  return _mm_movemask_ps(reinterpret_cast<__m128>(condition)) == 0xf;
#else
  return (condition[0] & condition[1] & condition[2] & condition[3]) != 0;
#endif
}

// A lane at a time, for functions that are rare in the middle of a model.
template <class F>
inline Vec EachLane(Vec x, F&& f) {
  Vec y = x;
  for (int i = 0; i < kLanes; ++i) y[i] = f(x[i]);
  return y;
}

// What the hardware does itself.
#if SM_LANES == 16
inline Vec Sqrt(Vec x) { return _mm512_sqrt_ps(x); }
inline Vec Floor(Vec x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEG_INF); }
inline Vec Ceil(Vec x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_POS_INF); }
inline Vec Rint(Vec x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT); }
#elif SM_LANES == 8
inline Vec Sqrt(Vec x) { return _mm256_sqrt_ps(x); }
inline Vec Floor(Vec x) { return _mm256_floor_ps(x); }
inline Vec Ceil(Vec x) { return _mm256_ceil_ps(x); }
inline Vec Rint(Vec x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT); }
#else
#if defined(__SSE2__)
inline Vec Sqrt(Vec x) { return _mm_sqrt_ps(x); }
#else
inline Vec Sqrt(Vec x) {
  return EachLane(x, [](float v) { return __builtin_sqrtf(v); });
}
#endif
inline Vec Rint(Vec x) {
  return EachLane(x, [](float v) { return __builtin_rintf(v); });
}
inline Vec Floor(Vec x) {
  return EachLane(x, [](float v) { return __builtin_floorf(v); });
}
inline Vec Ceil(Vec x) {
  return EachLane(x, [](float v) { return __builtin_ceilf(v); });
}
#endif

// x - n * ln 2, where n is a multiple of 2^-5 below 2^8: within a rounding of x, or only within
// 2^-22.
template <bool kIsExact>
inline Vec WithoutPowers(Vec x, Vec n) {
  if (!kIsExact) return x - n * 0.69314718055994531f;
  return x - n * 0.693359375f + n * 2.12194440e-4f;
}

// e^x = mantissa * Scale(1, exponent), for |x| < 128.
struct ExpParts {
  Vec mantissa, exponent;
};
#if SM_LANES == 16
// The exponent in parts of 32: their powers come from a table that fits two registers, and so
// little is left that two terms suffice. Scale() takes the whole part.
template <bool kIsExact = true>
inline ExpParts SplitExp(Vec x) {
  const Vec low_powers = {1.0f,         1.021897149f, 1.044273782f, 1.067140401f,
                          1.090507733f, 1.114386743f, 1.138788635f, 1.163724859f,
                          1.189207115f, 1.215247360f, 1.241857812f, 1.269050957f,
                          1.296839555f, 1.325236643f, 1.354255547f, 1.383909882f};
  const Vec high_powers = {1.414213562f, 1.445180807f, 1.476826146f, 1.509164428f,
                           1.542210825f, 1.575980845f, 1.610490332f, 1.645755478f,
                           1.681792831f, 1.718619298f, 1.756252160f, 1.794709075f,
                           1.834008086f, 1.874167634f, 1.915206561f, 1.957144124f};
  constexpr float kParts = 393216.0f;  // the last bit of which is a part
  const Vec shifted = x * 1.44269504088896341f + kParts;
  const Vec n = shifted - kParts;
  const Vec r = WithoutPowers<kIsExact>(x, n);
  const Vec p = (r * 0.5f + 1.00001466f) * r;  // e^r - 1
  const Vec power =
      _mm512_permutex2var_ps(low_powers, reinterpret_cast<__m512i>(shifted), high_powers);
  return {power * p + power, n};
}
#else
// e^r for |r| <= ln 2 / 2, in terms that do not wait for each other.
inline Vec ExpOfRest(Vec r) {
  const Vec square = r * r;
  const Vec high = r * 1.9875691500e-4f + 1.3981999507e-3f;
  const Vec middle = r * 8.3334519073e-3f + 4.1665795894e-2f;
  const Vec low = r * 1.6666665459e-1f + 5.0000001201e-1f;
  return ((high * square + middle) * square + low) * square + r + 1.0f;
}
template <bool kIsExact = true>
inline ExpParts SplitExp(Vec x) {
  const Vec n = RoundSmall(x * 1.44269504088896341f);
  const Vec r = WithoutPowers<kIsExact>(x, n);
  return {ExpOfRest(r), n};
}
#endif

// x * 2^n; `Small` where the result is a normal number.
#if SM_LANES == 16
inline Vec Scale(Vec x, Vec n) { return _mm512_scalef_ps(x, n); }
inline Vec ScaleSmall(Vec x, Vec n) { return Scale(x, n); }
#else
inline Vec PowerOfTwo(IntVec n) { return FromBits((n + 127) << 23); }
inline Vec Scale(Vec x, Vec n) {
  // In two factors, so that results beyond the normal range come out right.
  const IntVec exponent = __builtin_convertvector(n, IntVec), half = exponent >> 1;
  return x * PowerOfTwo(half) * PowerOfTwo(exponent - half);
}
inline Vec ScaleSmall(Vec x, Vec n) { return x * PowerOfTwo(__builtin_convertvector(n, IntVec)); }
#endif

inline Vec Exp(Vec x) {
  const ExpParts e = SplitExp(AtMost(AtLeast(x, -104.0f), 89.0f));
  return Scale(e.mantissa, e.exponent);
}

// exp(x) - 1 without cancellation near 0.
inline Vec Expm1(Vec x) {
  Vec p = Splat(1.0f / 5040);
  p = p * x + 1.0f / 720;
  p = p * x + 1.0f / 120;
  p = p * x + 1.0f / 24;
  p = p * x + 1.0f / 6;
  p = p * x + 0.5f;
  p = p * (x * x) + x;
  return Abs(x) < Splat(0.35f) ? p : Exp(x) - 1.0f;
}

inline Vec Log(Vec x) {
  const Vec infinity = Splat(__builtin_inff()), nan = Splat(__builtin_nanf(""));
  const Vec input = x;
  const IntVec subnormal = x < Splat(1.17549435e-38f);
  x = subnormal ? x * 8388608.0f : x;
  IntVec exponent = ((Bits(x) >> 23) & 0xff) - 126;
  exponent = subnormal ? exponent - 23 : exponent;
  Vec m = FromBits((Bits(x) & 0x007fffff) | 0x3f000000);  // in [0.5, 1)
  const IntVec low = m < Splat(0.707106781186547524f);
  Vec e = __builtin_convertvector(exponent, Vec);
  e = low ? e - 1.0f : e;
  m = low ? m + m - 1.0f : m - 1.0f;
  const Vec z = m * m;
  Vec p = Splat(7.0376836292e-2f);
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  Vec y = p * m * z;
  y = y + e * -2.12194440e-4f - 0.5f * z;
  y = m + y + e * 0.693359375f;
  y = input == infinity ? infinity : y;
  y = input == Splat(0) ? -infinity : y;
  return input >= Splat(0) ? y : nan;
}

// log(1 + x) without cancellation near 0.
inline Vec Log1p(Vec x) {
  const Vec u = x + 1.0f;
  const Vec corrected = Log(u) * (x / (u - 1.0f));
  const Vec result = u == Splat(1) ? x : corrected;
  return u == Splat(__builtin_inff()) ? u : result;
}

// The hyperbolic tangent in two parts of a quotient, the lower in [0.0048, 1].
struct Quotient {
  Vec above, below;
};
inline __attribute__((always_inline)) Quotient TanhQuotient(Vec x) {
  const Vec c = AtMost(AtLeast(x, -7.90531110763549805f), 7.90531110763549805f);
  const Vec z = c * c;
  Vec p = Splat(-2.76076847742355e-16f);
  p = p * z + 2.00018790482477e-13f;
  p = p * z - 8.60467152213735e-11f;
  p = p * z + 5.12229709037114e-08f;
  p = p * z + 1.48572235717979e-05f;
  p = p * z + 6.37261928875436e-04f;
  p = p * z + 4.89352455891786e-03f;
  Vec q = Splat(1.19825839466702e-06f);
  q = q * z + 1.18534705686654e-04f;
  q = q * z + 2.26843463243900e-03f;
  q = q * z + 4.89352518554385e-03f;
  return {c * p, q};
}
inline Vec Tanh(Vec x) {
  const Quotient tanh = TanhQuotient(x);
  const Vec y = tanh.above * Inverse(tanh.below);
  return Abs(x) < Splat(0.0004f) ? x : y;
}

// e^-x for |x| <= 87, beyond which a sigmoid is 1, or too small for a normal number.
inline __attribute__((always_inline)) Vec SmallDecay(Vec x) {
#if SM_LANES == 16
  const ExpParts e = SplitExp<false>(-x);
  return ScaleSmall(e.mantissa, e.exponent);
#else
  constexpr float kShift = 12582912.0f + 127;  // a sum's last bits are a power's exponent
  const Vec shifted = kShift - x * 1.44269504088896341f;
  const Vec rest = WithoutPowers<false>(-x, shifted - kShift);
  return ExpOfRest(rest) * FromBits(reinterpret_cast<IntVec>(shifted) << 23);
#endif
}
inline Vec Decay(Vec x) { return SmallDecay(AtMost(AtLeast(x, -87.0f), 87.0f)); }
inline Vec SmallSigmoid(Vec x) { return Inverse(1.0f + SmallDecay(x)); }
inline Vec Sigmoid(Vec x) { return Inverse(1.0f + Decay(x)); }

inline Vec HardSigmoid(Vec x) { return AtMost(AtLeast(x + 3.0f, 0.0f), 6.0f) * (1 / 6.0f); }

inline Vec Swish(Vec x) {
#if SM_LANES == 16
  return x * SmallSigmoid(_mm512_range_ps(x, Splat(87), 2));  // the smaller magnitude, x's sign
#else
  return x / (1.0f + Decay(x));
#endif
}

inline __attribute__((always_inline)) Vec Erf(Vec x) {
  const Vec c = AtMost(AtLeast(x, -4.0f), 4.0f);
  const Vec z = c * c;
  Vec p = Splat(-2.72614225801306e-10f);
  p = p * z + 2.77068142495902e-08f;
  p = p * z - 2.10102402082508e-06f;
  p = p * z - 5.69250639462346e-05f;
  p = p * z - 7.34990630326855e-04f;
  p = p * z - 2.95459980854025e-03f;
  p = p * z - 1.60960333262415e-02f;
  Vec q = Splat(-1.45660718464996e-05f);
  q = q * z - 2.13374055278905e-04f;
  q = q * z - 1.68282697438203e-03f;
  q = q * z - 7.37332916720468e-03f;
  q = q * z - 1.42647390514189e-02f;
  return c * p * Inverse(q);
}

// 1 - erf(x) with the relative accuracy of a float in the tail too, where it is
// exp(-x^2) / x * p(1 / x^2) (Cephes, ndtrf.c).
inline Vec Erfc(Vec x) {
  const Vec a = AtLeast(Abs(x), 0.5f);
  const Vec square = a * a;
  // What rounding took from the square, found by splitting off half of the digits.
  const Vec head = FromBits(Bits(a) & ~0xfff);
  const Vec lost = (head * head - square) + (a - head) * (a + head);
  const Vec scale = Exp(-square) * (1.0f - lost);
  const Vec q = 1.0f / a;
  const Vec y = q * q;
  Vec near = Splat(2.326819970068386e-2f);
  near = near * y - 1.387039388740657e-1f;
  near = near * y + 3.687424674597105e-1f;
  near = near * y - 5.824733027278666e-1f;
  near = near * y + 6.210004621745983e-1f;
  near = near * y - 4.944515323274145e-1f;
  near = near * y + 3.404879937665872e-1f;
  near = near * y - 2.741127028184656e-1f;
  near = near * y + 5.638259427386472e-1f;
  Vec far = Splat(-1.047766399936249e+1f);
  far = far * y + 1.297719955372516e+1f;
  far = far * y - 7.495518717768503f;
  far = far * y + 2.921019019210786f;
  far = far * y - 1.015265279202700f;
  far = far * y + 4.218463358204948e-1f;
  far = far * y - 2.820767439740514e-1f;
  far = far * y + 5.641895067754075e-1f;
  Vec tail = scale * q * (a < Splat(2) ? near : far);
  tail = a > Splat(10.5f) ? Splat(0) : tail;  // below every float; 1 / x^2 of an infinity
  tail = x < Splat(0) ? 2.0f - tail : tail;
  const Vec result = Abs(x) > Splat(1) ? tail : 1.0f - Erf(x);
  return x != x ? x : result;
}

// x times the probability that a standard normal variable is below x.
inline Vec Gelu(Vec x) { return 0.5f * x * (1.0f + Erf(x * 0.70710678118654752f)); }

inline Vec GeluTanh(Vec x) {
  return 0.5f * x * (1.0f + Tanh(0.79788456080286536f * (x + 0.044715f * (x * x * x))));
}

// log(1 + exp(x)), written so that neither end overflows or cancels.
inline Vec Softplus(Vec x) {
  // log(1 + u) = 2 artanh(u / (2 + u)), of at most 1 / 3
  const Vec u = Exp(-Abs(x));
  const Vec s = u * Inverse(u + 2.0f);
  const Vec z = s * s;
  Vec p = Splat(2.802446186542511e-1f);
  p = p * z + 2.7999141812324524e-1f;
  p = p * z + 4.002169966697693e-1f;
  p = p * z + 6.666641235351562e-1f;
  return p * z * s + (s + s) + AtLeast(x, 0.0f);
}

// x * tanh(softplus(x)): the hyperbolic tangent of log(1 + e) is a quotient of polynomials in e.
inline Vec Mish(Vec x) {
  const Vec e = Exp(AtMost(x, 20.0f));
  const Vec n = e * (e + 2.0f);
  return x * (n * Inverse(n + 2.0f));
}

}  // namespace
}  // namespace savedmodel
