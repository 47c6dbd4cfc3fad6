// Elementary functions of vectors of doubles, within a few units in the last place: by Cephes'
// rational functions. NaN gives NaN.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "savedmodel/op.h"
#include "src/kernels/isa/level/vectors.h"

namespace savedmodel {
namespace {

constexpr int kWideLanes = kLanes / 2;
typedef double WideVec __attribute__((vector_size(SM_LANES * 4)));
typedef int64_t WideBits __attribute__((vector_size(SM_LANES * 4)));
typedef double UnalignedWideVec __attribute__((vector_size(SM_LANES * 4), aligned(8)));

inline WideVec WideSplat(double x) { return x - WideVec{}; }
inline WideVec WideAbs(WideVec x) {
  return reinterpret_cast<WideVec>(reinterpret_cast<WideBits>(x) & INT64_MAX);
}

inline WideVec WideSqrt(WideVec x) {
#if SM_LANES == 16
  return _mm512_sqrt_pd(x);
#elif SM_LANES == 8
  return _mm256_sqrt_pd(x);
#elif defined(__SSE2__)
  return _mm_sqrt_pd(x);
#else
  for (int i = 0; i < kWideLanes; ++i) x[i] = __builtin_sqrt(x[i]);
  return x;
#endif
}

inline WideVec WideExp(WideVec x) {
  x = x < WideSplat(-746) ? WideSplat(-746) : x;  // gives 0
  x = x > WideSplat(710) ? WideSplat(710) : x;    // gives infinity
  constexpr double kShift = 6755399441055744.0;   // 1.5 * 2^52: its last bit is 1
  const WideVec shifted = x * 1.44269504088896340736 + kShift;
  const WideVec n = shifted - kShift;
  const WideVec r = x - n * 6.93145751953125e-1 - n * 1.42860682030941723212e-6;
  const WideVec z = r * r;
  WideVec p = z * 1.26177193074810590878e-4 + 3.02994407707441961300e-2;
  p = (p * z + 9.99999999999999999910e-1) * r;
  WideVec q = z * 3.00198505138664455042e-6 + 2.52448340349684104192e-3;
  q = q * z + 2.27265548208155028766e-1;
  q = q * z + 2.00000000000000000005;
  const WideVec y = 1.0 + 2.0 * (p / (q - p));
  // In two factors, so that results beyond the normal range come out right.
  const WideBits exponent = reinterpret_cast<WideBits>(shifted) + 2048;
  const WideBits half = (exponent & 4095) >> 1;  // of n + 2048, which is positive
  const WideBits rest = (exponent & 4095) - half;
  return y * reinterpret_cast<WideVec>((half - 1) << 52) *
         reinterpret_cast<WideVec>((rest - 1) << 52);
}

inline WideVec WideLog(WideVec x) {
  const WideVec infinity = WideSplat(__builtin_inf()), input = x;
  const WideBits subnormal = x < WideSplat(2.2250738585072014e-308);
  x = subnormal ? x * 18014398509481984.0 : x;  // 2^54
  const WideBits bits = reinterpret_cast<WideBits>(x);
  // The biased exponent as a number: as the last bits of 2^52, without a conversion.
  const WideBits biased = (bits >> 52) & 2047;
  WideVec e = reinterpret_cast<WideVec>(biased | 0x4330000000000000) - (4503599627370496.0 + 1022);
  e = subnormal ? e - 54.0 : e;
  WideVec m = reinterpret_cast<WideVec>((bits & 0xfffffffffffff) | 0x3fe0000000000000);
  const WideBits low = m < WideSplat(0.70710678118654752440);
  e = low ? e - 1.0 : e;
  m = low ? m + m - 1.0 : m - 1.0;
  const WideVec z = m * m;
  WideVec p = m * 1.01875663804580931796e-4 + 4.97494994976747001425e-1;
  p = p * m + 4.70579119878881725854;
  p = p * m + 1.44989225341610930846e1;
  p = p * m + 1.79368678507819816313e1;
  p = p * m + 7.70838733755885391666;
  WideVec q = m + 1.12873587189167450590e1;
  q = q * m + 4.52279145837532221105e1;
  q = q * m + 8.29875266912776603211e1;
  q = q * m + 7.11544750618563894466e1;
  q = q * m + 2.31251620126765340583e1;
  WideVec y = m * (z * p / q);
  y = y - e * 2.121944400546905827679e-4 - 0.5 * z;
  y = m + y + e * 0.693359375;
  y = input == infinity ? infinity : y;
  y = input == WideSplat(0) ? -infinity : y;
  return input >= WideSplat(0) ? y : WideSplat(__builtin_nan(""));
}

inline WideVec WideTanh(WideVec x) {
  const WideVec a = WideAbs(x), z = x * x;
  WideVec p = z * -9.64399179425052238628e-1 - 9.92877231001918586564e1;
  p = p * z - 1.61468768441708447952e3;
  WideVec q = z + 1.12811678491632931402e2;
  q = q * z + 2.23548839060100448583e3;
  q = q * z + 4.84406305325125486048e3;
  const WideVec near = x * z * (p / q) + x;
  const WideVec far = 1.0 - 2.0 / (WideExp(a + a) + 1.0);
  return x != x ? x : a < WideSplat(0.625) ? near : x < WideSplat(0) ? -far : far;
}

template <class F>
inline bool MapWide(const double* x, double* y, int64_t n, F&& f) {
  int64_t i = 0;
  for (; i + kWideLanes <= n; i += kWideLanes) {
    *reinterpret_cast<UnalignedWideVec*>(y + i) =
        f(*reinterpret_cast<const UnalignedWideVec*>(x + i));
  }
  WideVec rest{};
  const auto bytes = static_cast<size_t>(n - i) * sizeof(double);
  __builtin_memcpy(&rest, x + i, bytes);
  rest = f(rest);
  __builtin_memcpy(y + i, &rest, bytes);
  return true;
}

bool MapDoubles(ScalarOp op, const double* x, double* y, int64_t n) {
  switch (op) {
    case ScalarOp::kSqrt:
      return MapWide(x, y, n, [](WideVec v) { return WideSqrt(v); });
    case ScalarOp::kExp:
      return MapWide(x, y, n, [](WideVec v) { return WideExp(v); });
    case ScalarOp::kLog:
      return MapWide(x, y, n, [](WideVec v) { return WideLog(v); });
    case ScalarOp::kTanh:
      return MapWide(x, y, n, [](WideVec v) { return WideTanh(v); });
    case ScalarOp::kSigmoid:
      return MapWide(x, y, n, [](WideVec v) { return 1.0 / (1.0 + WideExp(-v)); });
    default:
      return false;
  }
}

}  // namespace
}  // namespace savedmodel
