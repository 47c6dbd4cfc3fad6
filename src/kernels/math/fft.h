// Fast Fourier transforms of any length.
#pragma once

#include <cstdint>
#include <vector>

#include "src/kernels/isa/fft_stage.h"

namespace savedmodel {

enum class FftKind {
  kForward,
  kInverse,
  // The n / 2 + 1 first numbers of the transform of n real ones, and back. An even n goes through
  // the complex transform of half the length, of pairs of neighbours.
  kRealForward,
  kRealInverse,
};

// A transform of one length, prepared: y[k] = sum_j x[j] e^(-2 pi i j k / n), or with +i (unscaled)
// for an inverse. Lengths made of small primes are transformed by factors (Stockham's order, which
// needs no bit reversal); others as a convolution of a length that is (Bluestein). Immutable.
template <class T>
class FftPlan {
 public:
  FftPlan(int64_t n, FftKind kind);

  // Complex numbers that a line has at most before, between and after the stages.
  int64_t most_pairs() const { return most_pairs_; }
  // How many lines are best transformed at once when there are `count`.
  int Lanes(int64_t count) const;
  // Transforms `lanes` lines: number k of line l at [2 * k * lanes + l], its imaginary part `lanes`
  // behind. Returns where the result is: x, aligned to 64 bytes, or y, as x.
  T* Run(int lanes, T* x, T* y) const;

 private:
  using Stage = FftStage<T>;
  void Add(const Stage& stage, std::vector<T> roots);
  void AddReal(typename Stage::Kind kind, int64_t half);
  void AddTransform(int64_t n, T sign);
  void AddFactors(int64_t n, T sign);
  void AddConvolution(int64_t n, T sign);

  int64_t most_pairs_;
  std::vector<Stage> stages_;
  std::vector<std::vector<T>> tables_;
};

extern template class FftPlan<float>;
extern template class FftPlan<double>;

}  // namespace savedmodel
