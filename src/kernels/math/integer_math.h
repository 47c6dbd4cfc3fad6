// Integer arithmetic that wraps around instead of overflowing; other types pass through.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

namespace savedmodel {

// bool has no arithmetic.
template <class T>
inline constexpr bool kIsInteger = std::is_integral_v<T> && !std::is_same_v<T, bool>;

// An unsigned type at least as wide as T and int, so that operands are not promoted to int.
template <class T>
using WrapType = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <class T>
T WrapAdd(const T& a, const T& b) {
  if constexpr (kIsInteger<T>) {
    return static_cast<T>(static_cast<WrapType<T>>(a) + static_cast<WrapType<T>>(b));
  } else {
    return a + b;
  }
}

template <class T>
T WrapSub(const T& a, const T& b) {
  if constexpr (kIsInteger<T>) {
    return static_cast<T>(static_cast<WrapType<T>>(a) - static_cast<WrapType<T>>(b));
  } else {
    return a - b;
  }
}

template <class T>
T WrapMul(const T& a, const T& b) {
  if constexpr (kIsInteger<T>) {
    return static_cast<T>(static_cast<WrapType<T>>(a) * static_cast<WrapType<T>>(b));
  } else {
    return a * b;
  }
}

template <class T>
T WrapNeg(const T& a) {
  if constexpr (kIsInteger<T>) {
    return static_cast<T>(WrapType<T>{0} - static_cast<WrapType<T>>(a));
  } else {
    return -a;
  }
}

// Division that rounds to zero, of b != 0; the quotient of the least integer and -1 wraps.
template <class T>
T WrapDiv(const T& a, const T& b) {
  if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
    if (b == T(-1)) return WrapNeg(a);
  }
  return static_cast<T>(a / b);
}

// The remainder of WrapDiv.
template <class T>
T WrapMod(const T& a, const T& b) {
  if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
    if (b == T(-1)) return 0;
  }
  return static_cast<T>(a % b);
}

}  // namespace savedmodel
