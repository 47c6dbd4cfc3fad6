// Convert<To>(x): one number as another element type, as TensorFlow's casts do on x86.
#pragma once

#include <complex>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "savedmodel/float16.h"

namespace savedmodel {

// A real number as an integer, rounded to zero. What the target cannot hold (NaN too) becomes what
// x86 conversions make of it: narrow types take the low bits of the int32 or int64 result.
template <class To, class From>
To FloatToInteger(From x) {
  constexpr From kTwo63 = static_cast<From>(9223372036854775808.0);
  if constexpr (std::is_same_v<To, uint64_t>) {
    if (x >= kTwo63 && x < 2 * kTwo63) return static_cast<uint64_t>(x);
  }
  if constexpr (sizeof(To) < 4 || std::is_same_v<To, int32_t>) {
    constexpr From kTwo31 = static_cast<From>(2147483648.0);
    const bool fits =
        std::is_same_v<From, float> ? x >= -kTwo31 && x < kTwo31 : x > -kTwo31 - 1 && x < kTwo31;
    return static_cast<To>(fits ? static_cast<int32_t>(x) : std::numeric_limits<int32_t>::min());
  } else {
    const bool fits = x >= -kTwo63 && x < kTwo63;
    return static_cast<To>(fits ? static_cast<int64_t>(x) : std::numeric_limits<int64_t>::min());
  }
}

template <class T>
struct IsComplexType : std::false_type {};
template <class T>
struct IsComplexType<std::complex<T>> : std::true_type {};

template <class To, class From>
[[gnu::always_inline]] inline To Convert(const From& x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else if constexpr (std::is_same_v<From, half> || std::is_same_v<From, bfloat16>) {
    return Convert<To>(static_cast<float>(x));
  } else if constexpr (IsComplexType<From>::value && IsComplexType<To>::value) {
    return To(static_cast<typename To::value_type>(x.real()),
              static_cast<typename To::value_type>(x.imag()));
  } else if constexpr (IsComplexType<From>::value) {
    return Convert<To>(x.real());
  } else if constexpr (IsComplexType<To>::value) {
    return To(Convert<typename To::value_type>(x));
  } else if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    return FloatToInteger<To>(x);
  } else {
    return static_cast<To>(x);
  }
}

}  // namespace savedmodel
