// Combining rows of elements: what scatters and segment reductions do.
#pragma once

#include <complex>
#include <limits>

#include "savedmodel/dtype.h"

namespace savedmodel {

// kMin and kMax keep what is there when either is NaN; kMinOrNew and kMaxOrNew take what comes.
enum class Combine { kAdd, kSub, kMul, kMin, kMax, kMinOrNew, kMaxOrNew };

template <class T>
inline constexpr bool kIsComplex =
    std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>;

// The unsigned type in which integers are combined, so that overflow wraps.
template <class T>
struct Wrapping {
  using type = T;
};
template <class T>
requires(std::is_integral_v<T> && !std::is_same_v<T, bool>) struct Wrapping<T> {
  using type = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
};

// out[i] = out[i] op in[i]. Booleans add by "or". Minimum and maximum of complex numbers and
// booleans are not asked for.
template <class T>
void CombineRow(Combine op, T* out, const T* in, int64_t n) {
  using W = typename Wrapping<T>::type;
  const auto each = [&](auto fn) {
    for (int64_t i = 0; i < n; ++i) out[i] = fn(out[i], in[i]);
  };
  if constexpr (std::is_same_v<T, bool>) {
    return each([](bool a, bool b) { return a || b; });
  } else {
    switch (op) {
      case Combine::kAdd:
        return each([](T a, T b) { return static_cast<T>(static_cast<W>(a) + static_cast<W>(b)); });
      case Combine::kSub:
        return each([](T a, T b) { return static_cast<T>(static_cast<W>(a) - static_cast<W>(b)); });
      case Combine::kMul:
        return each([](T a, T b) { return static_cast<T>(static_cast<W>(a) * static_cast<W>(b)); });
      default:
        break;
    }
    if constexpr (!kIsComplex<T>) {
      switch (op) {
        case Combine::kMin:
          return each([](T a, T b) { return b < a ? b : a; });
        case Combine::kMax:
          return each([](T a, T b) { return a < b ? b : a; });
        case Combine::kMinOrNew:
          return each([](T a, T b) { return a < b ? a : b; });
        case Combine::kMaxOrNew:
          return each([](T a, T b) { return b < a ? a : b; });
        default:
          return;
      }
    }
  }
}

// The smallest and the largest finite value.
template <class T>
T LowestOf() {
  if constexpr (std::is_same_v<T, half>)
    return half(-65504.0f);
  else if constexpr (std::is_same_v<T, bfloat16>)
    return bfloat16(-3.3895314e38f);
  else
    return std::numeric_limits<T>::lowest();
}
template <class T>
T HighestOf() {
  if constexpr (std::is_same_v<T, half>)
    return half(65504.0f);
  else if constexpr (std::is_same_v<T, bfloat16>)
    return bfloat16(3.3895314e38f);
  else
    return std::numeric_limits<T>::max();
}

}  // namespace savedmodel
