// Fast Fourier transforms of any length.
#pragma once

#include <complex>
#include <cstdint>
#include <memory>
#include <vector>

namespace savedmodel {

// A transform of one length, prepared: y[k] = sum_j x[j] e^(-2 pi i j k / n), or with +i (unscaled)
// for the inverse. Lengths made of small primes are transformed by factors (Stockham's order, which
// needs no bit reversal); others as a convolution of a length that is (Bluestein). Immutable.
template <class T>
class FftPlan {
 public:
  using Complex = std::complex<T>;
  FftPlan(int64_t n, bool inverse);

  int64_t size() const { return n_; }
  // Elements of scratch that Run needs.
  int64_t scratch_size() const;
  // Transforms `data` in place.
  void Run(Complex* data, Complex* scratch) const;

 private:
  void RunFactors(Complex* data, Complex* scratch) const;
  void RunBluestein(Complex* data, Complex* scratch) const;

  int64_t n_;
  std::vector<int64_t> factors_;
  std::vector<Complex> roots_;  // e^(-+2 pi i k / n)
  // Bluestein's: e^(-+pi i k^2 / n), and the transform of its conjugate with the scale included.
  std::vector<Complex> chirp_;
  std::vector<Complex> chirp_transform_;
  std::unique_ptr<FftPlan> forward_;
  std::unique_ptr<FftPlan> backward_;
};

extern template class FftPlan<float>;
extern template class FftPlan<double>;

}  // namespace savedmodel
