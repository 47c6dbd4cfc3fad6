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
  if constexpr (std::is_same_v<T, int32_t>) {
    // In double, where the rounded quotient is never beyond the next integer: in vectors, too.
    const int32_t dividend = b == -1 ? WrapNeg(a) : a, divisor = b == -1 ? 1 : b;
    return static_cast<int32_t>(static_cast<double>(dividend) / static_cast<double>(divisor));
  } else {
    if constexpr (std::is_integral_v<T> && sizeof(T) == 8) {
      // Twice as quick, where it suffices.
      if (((static_cast<uint64_t>(a) | static_cast<uint64_t>(b)) >> 32) == 0) {
        return static_cast<T>(static_cast<uint32_t>(a) / static_cast<uint32_t>(b));
      }
    }
    if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
      if (b == T(-1)) return WrapNeg(a);
    }
    return static_cast<T>(a / b);
  }
}

// The remainder of WrapDiv.
template <class T>
T WrapMod(const T& a, const T& b) {
  return WrapSub(a, WrapMul(WrapDiv(a, b), b));
}

}  // namespace savedmodel
