// Float functions without branches or calls, so that loops over them vectorise. Accurate to a few
// units in the last place over the whole range; NaN and infinities as in <cmath>.
#pragma once

#include <cstdint>
#include <limits>

#include "savedmodel/float16.h"

namespace savedmodel::fast {

using internal::FloatBits;
using internal::FloatFromBits;

// 2^n for an integer -126 <= n <= 127.
[[gnu::always_inline]] inline float PowerOfTwo(int32_t n) {
  return FloatFromBits(static_cast<uint32_t>(n + 127) << 23);
}

// e^x = 2^n e^r with |r| <= ln(2)/2; 2^n is applied in two steps so that results may be subnormal.
[[gnu::always_inline]] inline float Exp(float x) {
  constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  float c = x > 89.0f ? 89.0f : x;
  c = c < -105.0f ? -105.0f : c;
  const float shifted = c * 1.44269504088896341f + kRounder;
  const int32_t n = static_cast<int32_t>(FloatBits(shifted) - FloatBits(kRounder));
  const float nf = shifted - kRounder;
  const float r = (c - nf * 0.693359375f) + nf * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const int32_t half_n = n >> 1;
  return p * PowerOfTwo(half_n) * PowerOfTwo(n - half_n);
}

// ln(x) = e ln(2) + ln(m) with sqrt(1/2) <= m < sqrt(2).
[[gnu::always_inline]] inline float Log(float x) {
  const float scaled = x < 1.17549435e-38f ? x * 8388608.0f : x;
  const float bias = x < 1.17549435e-38f ? 23.0f : 0.0f;
  // Subtracting the bits of sqrt(1/2) puts the exponent of x / sqrt(1/2) on top.
  const uint32_t offset = FloatBits(scaled) - 0x3f3504f3u;
  const float e = static_cast<float>(static_cast<int32_t>(offset) >> 23) - bias;
  const float m = FloatFromBits((offset & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  float p = 7.0376836292e-2f;
  p = p * m + -1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m + -1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m + -1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m + -2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  const float m2 = m * m;
  float y = p * m2 * m + e * -2.12194440e-4f - 0.5f * m2;
  y = m + y + e * 0.693359375f;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  y = x < kInfinity ? y : x;  // +infinity and NaN
  y = x == 0.0f ? -kInfinity : y;
  return x < 0.0f ? std::numeric_limits<float>::quiet_NaN() : y;
}

// A rational approximation on [-7.9, 7.9]; +-1 beyond.
[[gnu::always_inline]] inline float Tanh(float x) {
  float c = x > 7.90531110763549805f ? 7.90531110763549805f : x;
  c = c < -7.90531110763549805f ? -7.90531110763549805f : c;
  const float c2 = c * c;
  float p = -2.76076847742355e-16f;
  p = p * c2 + 2.00018790482477e-13f;
  p = p * c2 + -8.60467152213735e-11f;
  p = p * c2 + 5.12229709037114e-08f;
  p = p * c2 + 1.48572235717979e-05f;
  p = p * c2 + 6.37261928875436e-04f;
  p = p * c2 + 4.89352455891786e-03f;
  float q = 1.19825839466702e-06f;
  q = q * c2 + 1.18534705686654e-04f;
  q = q * c2 + 2.26843463243900e-03f;
  q = q * c2 + 4.89352518554385e-03f;
  const float y = c * p / q;
  return c2 < 1.6e-7f ? x : y;
}

[[gnu::always_inline]] inline float Sigmoid(float x) { return 1.0f / (1.0f + Exp(-x)); }

// A rational approximation on [-4, 4]; +-1 beyond.
[[gnu::always_inline]] inline float Erf(float x) {
  float c = x > 4.0f ? 4.0f : x;
  c = c < -4.0f ? -4.0f : c;
  const float c2 = c * c;
  float p = -2.72614225801306e-10f;
  p = p * c2 + 2.77068142495902e-08f;
  p = p * c2 + -2.10102402082508e-06f;
  p = p * c2 + -5.69250639462346e-05f;
  p = p * c2 + -7.34990630326855e-04f;
  p = p * c2 + -2.95459980854025e-03f;
  p = p * c2 + -1.60960333262415e-02f;
  float q = -1.45660718464996e-05f;
  q = q * c2 + -2.13374055278905e-04f;
  q = q * c2 + -1.68282697438203e-03f;
  q = q * c2 + -7.37332916720468e-03f;
  q = q * c2 + -1.42647390514189e-02f;
  return c * p / q;
}

}  // namespace savedmodel::fast
