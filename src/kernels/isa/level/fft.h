// Fourier transforms of as many lines at once as V has lanes.
#pragma once

#include <algorithm>

#include "src/kernels/isa/fft_stage.h"

namespace savedmodel {
namespace {

template <class V>
struct Pair {
  V re, im;
};

template <class V>
Pair<V> operator+(const Pair<V>& a, const Pair<V>& b) {
  return {a.re + b.re, a.im + b.im};
}
template <class V>
Pair<V> operator-(const Pair<V>& a, const Pair<V>& b) {
  return {a.re - b.re, a.im - b.im};
}
template <class V, class T>
Pair<V> Times(const Pair<V>& a, const T* w) {
  return {a.re * w[0] - a.im * w[1], a.re * w[1] + a.im * w[0]};
}
// a + scale * i * b.
template <class V, class T>
Pair<V> PlusTurned(const Pair<V>& a, T scale, const Pair<V>& b) {
  return {a.re - b.im * scale, a.im + b.re * scale};
}

// `turn`: whether outputs are multiplied by roots, which are 1 where m is 1.
template <bool turn, class V, class T>
void RunRadix2(const FftStage<T>& st, const Pair<V>* x, Pair<V>* y) {
  const int64_t m = st.m, s = st.s;
  for (int64_t p = 0; p < m; ++p, x += s, y += 2 * s) {
    const T* w = st.roots + 2 * p;
    for (int64_t q = 0; q < s; ++q) {
      const Pair<V> a = x[q], b = x[q + m * s], d = a - b;
      y[q] = a + b;
      y[q + s] = turn ? Times(d, w) : d;
    }
  }
}

template <bool turn, class V, class T>
void RunRadix4(const FftStage<T>& st, const Pair<V>* x, Pair<V>* y) {
  const int64_t m = st.m, s = st.s;
  for (int64_t p = 0; p < m; ++p, x += s, y += 4 * s) {
    const T* w = st.roots + 6 * p;
    for (int64_t q = 0; q < s; ++q) {
      const Pair<V> a = x[q], b = x[q + m * s], c = x[q + 2 * m * s], d = x[q + 3 * m * s];
      const Pair<V> even_sum = a + c, even_difference = a - c, odd_sum = b + d;
      const Pair<V> y1 = PlusTurned(even_difference, st.sign, b - d), y2 = even_sum - odd_sum,
                    y3 = PlusTurned(even_difference, -st.sign, b - d);
      y[q] = even_sum + odd_sum;
      y[q + s] = turn ? Times(y1, w) : y1;
      y[q + 2 * s] = turn ? Times(y2, w + 2) : y2;
      y[q + 3 * s] = turn ? Times(y3, w + 4) : y3;
    }
  }
}

// An odd radix: `fixed`, or the stage's where that is 0.
template <int fixed, class V, class T>
void RunOddRadix(const FftStage<T>& st, const Pair<V>* x, Pair<V>* y) {
  const int radix = fixed != 0 ? fixed : st.radix, half = radix / 2;
  constexpr int kMostHalf = (fixed != 0 ? fixed : kLargestFftRadix) / 2;
  const int64_t m = st.m, s = st.s;
  for (int64_t p = 0; p < m; ++p, x += s, y += radix * s) {
    const T* w = st.roots + 2 * (radix - 1) * p - 2;
    for (int64_t q = 0; q < s; ++q) {
      // Inputs j and radix - j have conjugate roots: their sum meets cosines, their difference
      // sines.
      Pair<V> sums[kMostHalf], differences[kMostHalf];
      const Pair<V> first = x[q];
      Pair<V> all = first;
      for (int j = 0; j < half; ++j) {
        const Pair<V> a = x[q + (j + 1) * m * s], b = x[q + (radix - 1 - j) * m * s];
        sums[j] = a + b;
        differences[j] = a - b;
        all = all + sums[j];
      }
      y[q] = all;
      for (int t = 1; t <= half; ++t) {
        Pair<V> even = first, odd{};
        for (int j = 0; j < half; ++j) {
          const T* root = st.unit_roots + 2 * ((j + 1) * t % radix);
          even = {even.re + sums[j].re * root[0], even.im + sums[j].im * root[0]};
          odd = {odd.re + differences[j].re * root[1], odd.im + differences[j].im * root[1]};
        }
        y[q + t * s] = Times(PlusTurned(even, st.sign, odd), w + 2 * t);
        y[q + (radix - t) * s] = Times(PlusTurned(even, -st.sign, odd), w + 2 * (radix - t));
      }
    }
  }
}

template <class V, class T>
void RunRadix(const FftStage<T>& st, const Pair<V>* x, Pair<V>* y) {
  switch (st.radix) {
    case 2:
      return st.m == 1 ? RunRadix2<false>(st, x, y) : RunRadix2<true>(st, x, y);
    case 3:
      return RunOddRadix<3>(st, x, y);
    case 4:
      return st.m == 1 ? RunRadix4<false>(st, x, y) : RunRadix4<true>(st, x, y);
    case 5:
      return RunOddRadix<5>(st, x, y);
    default:
      return RunOddRadix<0>(st, x, y);
  }
}

template <class V, class T>
void RunMultiply(const FftStage<T>& st, const Pair<V>* x, Pair<V>* y) {
  for (int64_t k = 0; k < st.m; ++k) y[k] = Times(x[k], st.roots + 2 * k);
  for (int64_t k = st.m; k < st.s; ++k) y[k] = Pair<V>{};
}

// Numbers k and m - k at once: the transforms of the even and of the odd real numbers at m - k are
// the conjugates of those at k, and the root is the conjugate's negative.
template <class V, class T>
void RunUnpackReal(const FftStage<T>& st, const Pair<V>* x, Pair<V>* y) {
  for (int64_t k = 0; 2 * k <= st.m; ++k) {
    const Pair<V> a = x[k], b = x[k == 0 ? 0 : st.m - k];
    const Pair<V> even = {(a.re + b.re) * T(0.5), (a.im - b.im) * T(0.5)};
    const Pair<V> odd =
        Times(Pair<V>{(a.im + b.im) * T(0.5), (b.re - a.re) * T(0.5)}, st.roots + 2 * k);
    y[st.m - k] = {even.re - odd.re, odd.im - even.im};
    y[k] = even + odd;
  }
}

// The imaginary parts of the first and the last number are not read. Yields the double.
template <class V, class T>
void RunPackReal(const FftStage<T>& st, const Pair<V>* x, Pair<V>* y) {
  y[0] = {x[0].re + x[st.m].re, x[0].re - x[st.m].re};
  for (int64_t k = 1; 2 * k <= st.m; ++k) {
    const Pair<V> a = x[k], b = x[st.m - k];
    const Pair<V> even = {a.re + b.re, a.im - b.im};
    const Pair<V> odd = Times(Pair<V>{a.re - b.re, a.im + b.im}, st.roots + 2 * k);
    y[st.m - k] = {even.re + odd.im, odd.re - even.im};
    y[k] = {even.re - odd.im, even.im + odd.re};
  }
}

template <class V, class T>
void RunMirror(const FftStage<T>& st, const Pair<V>* x, Pair<V>* y) {
  y[0] = {x[0].re, V{}};
  for (int64_t k = 1; 2 * k <= st.m; ++k) {
    y[k] = x[k];
    y[st.m - k] = {x[k].re, -x[k].im};
  }
}

// Runs stages to and fro between x and y; returns where the result is.
template <class V, class T>
T* RunFftStages(const FftStage<T>* stages, int num_stages, T* x, T* y) {
  for (int i = 0; i < num_stages; ++i) {
    const FftStage<T>& st = stages[i];
    const Pair<V>* from = reinterpret_cast<const Pair<V>*>(x);
    Pair<V>* to = reinterpret_cast<Pair<V>*>(y);
    switch (st.kind) {
      case FftStage<T>::Kind::kRadix:
        RunRadix(st, from, to);
        break;
      case FftStage<T>::Kind::kMultiply:
        RunMultiply(st, from, to);
        break;
      case FftStage<T>::Kind::kUnpackReal:
        RunUnpackReal(st, from, to);
        break;
      case FftStage<T>::Kind::kPackReal:
        RunPackReal(st, from, to);
        break;
      case FftStage<T>::Kind::kMirror:
        RunMirror(st, from, to);
        break;
    }
    std::swap(x, y);
  }
  return x;
}

}  // namespace
}  // namespace savedmodel
