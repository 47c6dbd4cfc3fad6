// Fourier transforms of all kinds of lengths against the sums that define them: products of the
// small radices and of others, primes that are convolved, one line alone and several together.
#include "src/kernels/math/fft.h"

#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <vector>

#include "src/base/aligned_vector.h"
#include "src/kernels/isa/vector_code.h"
#include "tests/kernels/random_floats.h"

namespace savedmodel {
namespace {

using Numbers = std::vector<std::complex<double>>;

// sum_j x[j] e^(+-2 pi i j k / n) for each k.
Numbers Transform(const Numbers& x, double sign) {
  const int64_t n = static_cast<int64_t>(x.size());
  Numbers y(x.size());
  for (int64_t k = 0; k < n; ++k) {
    for (int64_t j = 0; j < n; ++j) {
      const double turns = static_cast<double>(j * k % n) / static_cast<double>(n);
      y[k] += x[j] * std::polar(1.0, sign * 2 * M_PI * turns);
    }
  }
  return y;
}

class FftTest : public testing::TestWithParam<int64_t> {
 protected:
  // `in` and what it becomes, both of pairs, for `lanes` different multiples of the line.
  template <class T>
  void ExpectTransformed(const FftPlan<T>& plan, int lanes, const Numbers& in, const Numbers& out) {
    AlignedVector<T> x(2 * plan.most_pairs() * lanes), y(x.size());
    for (size_t k = 0; k < in.size(); ++k) {
      for (int l = 0; l < lanes; ++l) {
        x[2 * k * lanes + l] = static_cast<T>(in[k].real() * (l + 1));
        x[(2 * k + 1) * lanes + l] = static_cast<T>(in[k].imag() * (l + 1));
      }
    }
    const T* result = plan.Run(lanes, x.data(), y.data());
    double norm = 0;
    for (const auto& v : out) norm += std::norm(v);
    const double tolerance = std::sqrt(norm) * (std::is_same_v<T, float> ? 1e-6 : 1e-14) + 1e-30;
    for (size_t k = 0; k < out.size(); ++k) {
      for (int l = 0; l < lanes; ++l) {
        const double re = result[2 * k * lanes + l], im = result[(2 * k + 1) * lanes + l];
        EXPECT_NEAR(re / (l + 1), out[k].real(), tolerance) << k << " of lane " << l;
        EXPECT_NEAR(im / (l + 1), out[k].imag(), tolerance) << k << " of lane " << l;
      }
    }
  }
  void ExpectTransformed(FftKind kind, const Numbers& in, const Numbers& out) {
    for (const int lanes : {1, Vectors().lanes}) {
      ExpectTransformed(FftPlan<float>(GetParam(), kind), lanes, in, out);
    }
    ExpectTransformed(FftPlan<double>(GetParam(), kind), 2, in, out);
  }
};

TEST_P(FftTest, OfComplexNumbers) {
  const int64_t n = GetParam();
  const std::vector<float> parts = Random(2 * n, 3);
  Numbers x;
  for (int64_t k = 0; k < n; ++k) x.emplace_back(parts[2 * k], parts[2 * k + 1]);
  ExpectTransformed(FftKind::kForward, x, Transform(x, -1));
  ExpectTransformed(FftKind::kInverse, x, Transform(x, 1));
}

TEST_P(FftTest, OfRealNumbers) {
  const int64_t n = GetParam();
  Numbers x;
  for (const float v : Random(n, 5)) x.emplace_back(v);
  Numbers y = Transform(x, -1);
  y.resize(n / 2 + 1);
  // Those of an even length as pairs of neighbours.
  const auto as_taken = [n](const Numbers& reals, double scale) {
    Numbers pairs;
    for (int64_t k = 0; k < n; k += 2 - n % 2) {
      pairs.emplace_back(reals[k].real() * scale, n % 2 == 0 ? reals[k + 1].real() * scale : 0);
    }
    return pairs;
  };
  ExpectTransformed(FftKind::kRealForward, as_taken(x, 1), y);
  // Imaginary parts that no transform of real numbers has are not read.
  Numbers back = y;
  back[0] += std::complex<double>(0, 5);
  if (n % 2 == 0) back[n / 2] += std::complex<double>(0, 7);
  ExpectTransformed(FftKind::kRealInverse, back, as_taken(x, static_cast<double>(n)));
}

INSTANTIATE_TEST_SUITE_P(Lengths, FftTest,
                         testing::Values(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 16, 23, 29, 32, 58,
                                         77, 100, 127, 128, 256, 360, 437, 512));

}  // namespace
}  // namespace savedmodel
