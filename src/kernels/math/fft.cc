#include "src/kernels/math/fft.h"

#include <algorithm>
#include <cmath>

#include "src/base/aligned_vector.h"
#include "src/kernels/isa/level/fft.h"
#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

// Two lines of doubles: what every processor has.
typedef double TwoDoubles __attribute__((vector_size(16)));
constexpr int kDoubleLanes = 2;

// Beyond this length several lines would take too much memory.
constexpr int64_t kLongestTogether = 1 << 17;

// Radices whose product is n, fours first; the last may be a large prime.
std::vector<int64_t> Factorize(int64_t n) {
  std::vector<int64_t> factors;
  for (int64_t p : {4, 2, 3}) {
    for (; n % p == 0 && n > 1; n /= p) factors.push_back(p);
  }
  for (int64_t p = 5; p * p <= n; p += 2) {
    for (; n % p == 0; n /= p) factors.push_back(p);
  }
  if (n > 1) factors.push_back(n);
  return factors;
}

// Appends e^(2 pi i turns).
template <class T>
void AppendRoot(double turns, std::vector<T>* roots) {
  roots->push_back(static_cast<T>(std::cos(2 * M_PI * turns)));
  roots->push_back(static_cast<T>(std::sin(2 * M_PI * turns)));
}

// k / n turns, for 0 <= k < n.
double Turns(int64_t k, int64_t n) { return static_cast<double>(k) / static_cast<double>(n); }

}  // namespace

template <class T>
FftPlan<T>::FftPlan(int64_t n, FftKind kind) : most_pairs_(n) {
  const bool inverse = kind == FftKind::kInverse || kind == FftKind::kRealInverse;
  const T sign = inverse ? T(1) : T(-1);
  if (kind == FftKind::kForward || kind == FftKind::kInverse) {
    AddTransform(n, sign);
  } else if (n % 2 == 0) {
    if (inverse) AddReal(Stage::Kind::kPackReal, n / 2);
    AddTransform(n / 2, sign);
    if (!inverse) AddReal(Stage::Kind::kUnpackReal, n / 2);
  } else {
    if (inverse) Add({.kind = Stage::Kind::kMirror, .m = n}, {});
    AddTransform(n, sign);
  }
}

template <class T>
void FftPlan<T>::Add(const Stage& stage, std::vector<T> roots) {
  tables_.push_back(std::move(roots));
  stages_.push_back(stage);
  stages_.back().roots = tables_.back().data();
}

template <class T>
void FftPlan<T>::AddReal(typename Stage::Kind kind, int64_t half) {
  const double sign = kind == Stage::Kind::kPackReal ? 1 : -1;
  std::vector<T> roots;
  for (int64_t k = 0; 2 * k <= half; ++k) AppendRoot(sign * Turns(k, 2 * half), &roots);
  Add({.kind = kind, .m = half}, std::move(roots));
  most_pairs_ = std::max(most_pairs_, half + 1);
}

template <class T>
void FftPlan<T>::AddTransform(int64_t n, T sign) {
  const std::vector<int64_t> factors = Factorize(n);
  const bool is_smooth = factors.empty() || factors.back() <= kLargestFftRadix;
  is_smooth ? AddFactors(n, sign) : AddConvolution(n, sign);
}

template <class T>
void FftPlan<T>::AddFactors(int64_t n, T sign) {
  Stage stage{.sign = sign};
  int64_t m = n, s = 1;
  for (const int64_t radix : Factorize(n)) {
    m /= radix;
    stage.radix = static_cast<int>(radix);
    stage.m = m;
    stage.s = s;
    if (radix % 2 != 0) {
      std::vector<T> unit_roots;
      for (int64_t t = 0; t < radix; ++t) AppendRoot(Turns(t, radix), &unit_roots);
      tables_.push_back(std::move(unit_roots));
      stage.unit_roots = tables_.back().data();
    }
    std::vector<T> roots;
    for (int64_t p = 0; p < m; ++p) {
      for (int64_t t = 1; t < radix; ++t) AppendRoot(sign * Turns(p * t, radix * m), &roots);
    }
    Add(stage, std::move(roots));
    s *= radix;
  }
}

template <class T>
void FftPlan<T>::AddConvolution(int64_t n, T sign) {
  int64_t length = 1;
  while (length < 2 * n - 1) length *= 2;
  // e^(-+pi i k^2 / n), and the transform of its conjugate, scaled.
  std::vector<T> chirp;
  AlignedVector<double> conjugate(2 * length * kDoubleLanes), scratch(conjugate.size());
  for (int64_t k = 0; k < n; ++k) {
    const int64_t square = static_cast<int64_t>(static_cast<__int128>(k) * k % (2 * n));
    const double angle = sign * 2 * M_PI * Turns(square, 2 * n);
    chirp.push_back(static_cast<T>(std::cos(angle)));
    chirp.push_back(static_cast<T>(std::sin(angle)));
    for (const int64_t at : {k, (length - k) % length}) {
      conjugate[2 * at * kDoubleLanes] = std::cos(angle) / static_cast<double>(length);
      conjugate[(2 * at + 1) * kDoubleLanes] = -std::sin(angle) / static_cast<double>(length);
    }
  }
  const double* transform = FftPlan<double>(length, FftKind::kForward)
                                .Run(kDoubleLanes, conjugate.data(), scratch.data());
  std::vector<T> factors;
  for (int64_t k = 0; k < 2 * length; ++k) {
    factors.push_back(static_cast<T>(transform[k * kDoubleLanes]));
  }
  Add({.kind = Stage::Kind::kMultiply, .m = n, .s = length}, chirp);
  AddFactors(length, T(-1));
  Add({.kind = Stage::Kind::kMultiply, .m = length, .s = length}, std::move(factors));
  AddFactors(length, T(1));
  Add({.kind = Stage::Kind::kMultiply, .m = n, .s = n}, std::move(chirp));
  most_pairs_ = std::max(most_pairs_, length);
}

template <class T>
int FftPlan<T>::Lanes(int64_t count) const {
  if (std::is_same_v<T, double>) return kDoubleLanes;
  const int lanes = Vectors().lanes;
  return count >= lanes / 4 && most_pairs_ <= kLongestTogether ? lanes : 1;
}

template <class T>
T* FftPlan<T>::Run([[maybe_unused]] int lanes, T* x, T* y) const {
  const int num_stages = static_cast<int>(stages_.size());
  if constexpr (std::is_same_v<T, double>) {
    return RunFftStages<TwoDoubles>(stages_.data(), num_stages, x, y);
  } else {
    const auto run = lanes == 1 ? RunFftStages<float, float> : Vectors().fft;
    return run(stages_.data(), num_stages, x, y);
  }
}

template class FftPlan<float>;
template class FftPlan<double>;

}  // namespace savedmodel
