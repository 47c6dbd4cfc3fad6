/// 16-bit floating point types with float arithmetic: IEEE half and bfloat16.
///
/// Every operation converts to float, computes, and rounds to nearest even, as TensorFlow's Eigen
/// types do.
#pragma once

#include <cstdint>
#include <cstring>

namespace savedmodel {
namespace internal {

inline uint32_t FloatBits(float f) {
  uint32_t u;
  std::memcpy(&u, &f, 4);
  return u;
}
inline float FloatFromBits(uint32_t u) {
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}

/// Rounds to nearest even; overflow gives infinity, NaN stays NaN.
inline uint16_t HalfBitsFromFloat(float f) {
  const uint32_t u = FloatBits(f);
  const uint32_t sign = (u >> 16) & 0x8000u;
  const uint32_t magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);   // NaN
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // overflows
  if (magnitude < 0x38800000u) {  // subnormal half: let float addition do the rounding
    const float shifted = FloatFromBits(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (FloatBits(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

inline float FloatFromHalfBits(uint16_t h) {
  const uint32_t sign = (h & 0x8000u) << 16;
  const uint32_t exponent = (h >> 10) & 0x1fu;
  const uint32_t mantissa = h & 0x3ffu;
  if (exponent == 31) return FloatFromBits(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    const float f = static_cast<float>(mantissa) * 5.9604644775390625e-8f;  // 2^-24
    return FloatFromBits(sign | FloatBits(f));
  }
  return FloatFromBits(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

/// Rounds to nearest even; NaN becomes the quiet NaN 0x7fc0 with the sign kept.
inline uint16_t BFloat16BitsFromFloat(float f) {
  const uint32_t u = FloatBits(f);
  if ((u & 0x7fffffffu) > 0x7f800000u)
    return static_cast<uint16_t>(((u >> 16) & 0x8000u) | 0x7fc0u);
  return static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

}  // namespace internal

#define SAVEDMODEL_FLOAT16_OPERATORS(type)                                    \
  friend type operator+(type a, type b) { return type(float(a) + float(b)); } \
  friend type operator-(type a, type b) { return type(float(a) - float(b)); } \
  friend type operator*(type a, type b) { return type(float(a) * float(b)); } \
  friend type operator/(type a, type b) { return type(float(a) / float(b)); } \
  friend type operator-(type a) { return type(-float(a)); }                   \
  type& operator+=(type b) { return *this = *this + b; }                      \
  type& operator-=(type b) { return *this = *this - b; }                      \
  type& operator*=(type b) { return *this = *this * b; }                      \
  type& operator/=(type b) { return *this = *this / b; }                      \
  friend bool operator==(type a, type b) { return float(a) == float(b); }     \
  friend bool operator!=(type a, type b) { return float(a) != float(b); }     \
  friend bool operator<(type a, type b) { return float(a) < float(b); }       \
  friend bool operator<=(type a, type b) { return float(a) <= float(b); }     \
  friend bool operator>(type a, type b) { return float(a) > float(b); }       \
  friend bool operator>=(type a, type b) { return float(a) >= float(b); }

/// IEEE 754 binary16.
struct half {
  uint16_t bits = 0;

  half() = default;
  template <class T>
  explicit half(T value) : bits(internal::HalfBitsFromFloat(static_cast<float>(value))) {}
  operator float() const { return internal::FloatFromHalfBits(bits); }  // NOLINT: widening
  static half FromBits(uint16_t b) {
    half h;
    h.bits = b;
    return h;
  }
  SAVEDMODEL_FLOAT16_OPERATORS(half)
};

/// The upper half of an IEEE binary32.
struct bfloat16 {
  uint16_t bits = 0;

  bfloat16() = default;
  template <class T>
  explicit bfloat16(T value) : bits(internal::BFloat16BitsFromFloat(static_cast<float>(value))) {}
  operator float() const {  // NOLINT: widening
    return internal::FloatFromBits(static_cast<uint32_t>(bits) << 16);
  }
  static bfloat16 FromBits(uint16_t b) {
    bfloat16 h;
    h.bits = b;
    return h;
  }
  SAVEDMODEL_FLOAT16_OPERATORS(bfloat16)
};

#undef SAVEDMODEL_FLOAT16_OPERATORS

}  // namespace savedmodel
