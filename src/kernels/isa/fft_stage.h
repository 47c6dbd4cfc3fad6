// Steps of Fourier transforms.
#pragma once

#include <cstdint>

namespace savedmodel {

// One step of the transform of a line of complex numbers, from one buffer to another. Numbers are
// pairs of vectors, real and imaginary parts, whose lanes are those of as many lines.
template <class T>
struct FftStage {
  enum class Kind {
    // Stockham's: `radix` inputs m * s apart become neighbours s apart, for each p < m and q < s.
    kRadix,
    // y[k] = x[k] * roots[k] for k < m, and 0 for k in [m, s).
    kMultiply,
    // From the transform of the m pairs of neighbours among real numbers to the m + 1 numbers of
    // theirs, and back; roots[k] is e^(-+pi i k / m) for k <= m / 2.
    kUnpackReal,
    kPackReal,
    // The m numbers of a transform of real numbers from its m / 2 + 1 first; m is odd.
    kMirror,
  };
  Kind kind = Kind::kRadix;
  int radix = 0;
  int64_t m = 0, s = 0;
  T sign = 0;  // of the exponents
  // Of a radix, e^(+-2 pi i p t / (radix * m)) for each p and t in [1, radix).
  const T* roots = nullptr;
  const T* unit_roots = nullptr;  // of an odd radix: e^(2 pi i t / radix) for each t
};

inline constexpr int kLargestFftRadix = 23;

}  // namespace savedmodel
