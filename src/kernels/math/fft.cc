#include "src/kernels/math/fft.h"

#include <algorithm>
#include <cmath>

namespace savedmodel {
namespace {

// Lengths with a prime factor beyond this go the way of Bluestein.
constexpr int64_t kLargestFactor = 23;

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

template <class T>
std::complex<T> Root(double turns, bool inverse) {
  const double angle = (inverse ? 2 : -2) * M_PI * turns;
  return {static_cast<T>(std::cos(angle)), static_cast<T>(std::sin(angle))};
}

// std::complex's own product tests for infinities.
template <class T>
std::complex<T> Times(const std::complex<T>& a, const std::complex<T>& b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

// One stage of Stockham's transform: `radix` inputs `m * s` apart become neighbours `s` apart.
// roots[k * root_step] are the roots of the stage's length radix * m.
template <class T>
struct Stage {
  int64_t radix;
  int64_t m;
  int64_t s;
  const std::complex<T>* roots;
  int64_t root_step;
};

template <class T>
void RunRadix2(const Stage<T>& st, const std::complex<T>* x, std::complex<T>* y) {
  const int64_t m = st.m, s = st.s;
  for (int64_t p = 0; p < m; ++p) {
    const std::complex<T> w = st.roots[p * st.root_step];
    const std::complex<T>*x0 = x + s * p, *x1 = x0 + s * m;
    std::complex<T>*y0 = y + s * 2 * p, *y1 = y0 + s;
    for (int64_t q = 0; q < s; ++q) {
      const std::complex<T> a = x0[q], b = x1[q];
      y0[q] = a + b;
      y1[q] = Times(a - b, w);
    }
  }
}

template <class T>
void RunRadix4(const Stage<T>& st, const std::complex<T>* x, std::complex<T>* y, T sign) {
  const int64_t m = st.m, s = st.s;
  for (int64_t p = 0; p < m; ++p) {
    const std::complex<T> w1 = st.roots[p * st.root_step], w2 = Times(w1, w1), w3 = Times(w1, w2);
    const std::complex<T>* x0 = x + s * p;
    std::complex<T>* y0 = y + s * 4 * p;
    for (int64_t q = 0; q < s; ++q) {
      const std::complex<T> a = x0[q], b = x0[q + s * m], c = x0[q + 2 * s * m],
                            d = x0[q + 3 * s * m];
      const std::complex<T> even_sum = a + c, even_difference = a - c, odd_sum = b + d;
      const std::complex<T> t = b - d;
      const std::complex<T> turned = {-sign * t.imag(), sign * t.real()};  // +-i t
      y0[q] = even_sum + odd_sum;
      y0[q + s] = Times(even_difference + turned, w1);
      y0[q + 2 * s] = Times(even_sum - odd_sum, w2);
      y0[q + 3 * s] = Times(even_difference - turned, w3);
    }
  }
}

template <class T>
void RunAnyRadix(const Stage<T>& st, int64_t n, const std::complex<T>* x, std::complex<T>* y) {
  const int64_t radix = st.radix, m = st.m, s = st.s;
  std::complex<T> small_roots[kLargestFactor + 1];
  for (int64_t r = 0; r < radix; ++r) small_roots[r] = st.roots[n / radix * r];
  for (int64_t p = 0; p < m; ++p) {
    for (int64_t q = 0; q < s; ++q) {
      for (int64_t t = 0; t < radix; ++t) {
        std::complex<T> sum = x[q + s * p];
        for (int64_t r = 1; r < radix; ++r) {
          sum += Times(x[q + s * (p + r * m)], small_roots[r * t % radix]);
        }
        y[q + s * (radix * p + t)] = Times(sum, st.roots[p * t * st.root_step]);
      }
    }
  }
}

}  // namespace

template <class T>
FftPlan<T>::FftPlan(int64_t n, bool inverse) : n_(n), factors_(Factorize(n)) {
  if (factors_.empty() || *std::max_element(factors_.begin(), factors_.end()) <= kLargestFactor) {
    roots_.resize(n);
    for (int64_t k = 0; k < n; ++k) roots_[k] = Root<T>(static_cast<double>(k) / n, inverse);
    return;
  }
  chirp_.resize(n);
  for (int64_t k = 0; k < n; ++k) {
    const int64_t square = static_cast<int64_t>(static_cast<__int128>(k) * k % (2 * n));
    chirp_[k] = Root<T>(static_cast<double>(square) / (2.0 * n), inverse);
  }
  int64_t length = 1;
  while (length < 2 * n - 1) length *= 2;
  forward_ = std::make_unique<FftPlan>(length, false);
  backward_ = std::make_unique<FftPlan>(length, true);
  chirp_transform_.assign(length, Complex(0));
  for (int64_t k = 0; k < n; ++k) {
    const Complex value = std::conj(chirp_[k]) / static_cast<T>(length);
    chirp_transform_[k] = value;
    if (k > 0) chirp_transform_[length - k] = value;
  }
  std::vector<Complex> scratch(forward_->scratch_size());
  forward_->Run(chirp_transform_.data(), scratch.data());
}

template <class T>
int64_t FftPlan<T>::scratch_size() const {
  return forward_ == nullptr ? n_ : 2 * forward_->size();
}

template <class T>
void FftPlan<T>::Run(Complex* data, Complex* scratch) const {
  forward_ == nullptr ? RunFactors(data, scratch) : RunBluestein(data, scratch);
}

template <class T>
void FftPlan<T>::RunFactors(Complex* data, Complex* scratch) const {
  const T sign = n_ >= 4 && roots_[n_ / 4].imag() > 0 ? T(1) : T(-1);  // only radix 4 needs it
  Complex *x = data, *y = scratch;
  int64_t m = n_, s = 1;
  for (int64_t radix : factors_) {
    m /= radix;
    const Stage<T> stage{radix, m, s, roots_.data(), s};
    if (radix == 2) {
      RunRadix2(stage, x, y);
    } else if (radix == 4) {
      RunRadix4(stage, x, y, sign);
    } else {
      RunAnyRadix(stage, n_, x, y);
    }
    s *= radix;
    std::swap(x, y);
  }
  if (x != data) std::copy_n(x, n_, data);
}

template <class T>
void FftPlan<T>::RunBluestein(Complex* data, Complex* scratch) const {
  const int64_t length = forward_->size();
  Complex *padded = scratch, *rest = scratch + length;
  for (int64_t k = 0; k < n_; ++k) padded[k] = Times(data[k], chirp_[k]);
  std::fill(padded + n_, padded + length, Complex(0));
  forward_->Run(padded, rest);
  for (int64_t k = 0; k < length; ++k) padded[k] = Times(padded[k], chirp_transform_[k]);
  backward_->Run(padded, rest);
  for (int64_t k = 0; k < n_; ++k) data[k] = Times(padded[k], chirp_[k]);
}

template class FftPlan<float>;
template class FftPlan<double>;

}  // namespace savedmodel
