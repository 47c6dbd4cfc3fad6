// Lines of numbers, side by side as transforms take them, from tensors and back.
#pragma once

#include <complex>
#include <cstdint>

namespace savedmodel {

// Some lines of numbers of a tensor: number k of line l is at lines[l][k * step]. Side by side it
// is a pair: [2 * k * lanes + l] its real part, that plus `lanes` its imaginary one.
template <class E>
struct LineBlock {
  E* const* lines;  // one for each lane; some may be the same
  int lanes;
  int64_t size;
  int64_t step;
};

template <class T>
void LoadLines(const LineBlock<const std::complex<T>>& from, T* pairs);
template <class T>
void LoadLines(const LineBlock<const T>& from, T* pairs);
// Lanes whose line is null are left out.
template <class T>
void StoreLines(const T* pairs, T scale, const LineBlock<std::complex<T>>& to);
template <class T>
void StoreLines(const T* pairs, T scale, const LineBlock<T>& to);

}  // namespace savedmodel
