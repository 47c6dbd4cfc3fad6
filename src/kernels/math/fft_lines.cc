#include "src/kernels/math/fft_lines.h"

namespace savedmodel {
namespace {

typedef float Four __attribute__((vector_size(16), aligned(4)));

// a b c d as rows become columns.
struct FourByFour {
  Four a, b, c, d;
  FourByFour Transposed() const {
    const Four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const Four ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const Four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const Four cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    return {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5),
            __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
            __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
            __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
  }
};

Four LoadFour(const std::complex<float>* p) { return *reinterpret_cast<const Four*>(p); }
void StoreFour(std::complex<float>* p, Four v) { *reinterpret_cast<Four*>(p) = v; }

// Two numbers of each of four lines at a time; returns how many numbers of the lines were done.
template <class T>
int64_t LoadFours(const LineBlock<const std::complex<T>>&, T*) {
  return 0;
}
template <>
int64_t LoadFours(const LineBlock<const std::complex<float>>& from, float* pairs) {
  const int64_t lanes = from.lanes;
  if (from.step != 1 || lanes % 4 != 0) return 0;
  int64_t k = 0;
  for (; k + 2 <= from.size; k += 2) {
    float* to = pairs + 2 * k * lanes;
    for (int64_t l = 0; l < lanes; l += 4) {
      const FourByFour t =
          FourByFour{LoadFour(from.lines[l] + k), LoadFour(from.lines[l + 1] + k),
                     LoadFour(from.lines[l + 2] + k), LoadFour(from.lines[l + 3] + k)}
              .Transposed();
      *reinterpret_cast<Four*>(to + l) = t.a;
      *reinterpret_cast<Four*>(to + lanes + l) = t.b;
      *reinterpret_cast<Four*>(to + 2 * lanes + l) = t.c;
      *reinterpret_cast<Four*>(to + 3 * lanes + l) = t.d;
    }
  }
  return k;
}

template <class T>
int64_t StoreFours(const T*, T, const LineBlock<std::complex<T>>&) {
  return 0;
}
template <>
int64_t StoreFours(const float* pairs, float scale, const LineBlock<std::complex<float>>& to) {
  const int64_t lanes = to.lanes;
  if (to.step != 1 || lanes % 4 != 0 || to.lines[lanes - 1] == nullptr) return 0;
  int64_t k = 0;
  for (; k + 2 <= to.size; k += 2) {
    const float* from = pairs + 2 * k * lanes;
    for (int64_t l = 0; l < lanes; l += 4) {
      const auto row = [&](int64_t r) {
        return *reinterpret_cast<const Four*>(from + r * lanes + l) * scale;
      };
      const FourByFour t = FourByFour{row(0), row(1), row(2), row(3)}.Transposed();
      StoreFour(to.lines[l] + k, t.a);
      StoreFour(to.lines[l + 1] + k, t.b);
      StoreFour(to.lines[l + 2] + k, t.c);
      StoreFour(to.lines[l + 3] + k, t.d);
    }
  }
  return k;
}

}  // namespace

template <class T>
void LoadLines(const LineBlock<const std::complex<T>>& from, T* pairs) {
  for (int64_t k = LoadFours(from, pairs); k < from.size; ++k) {
    T* to = pairs + 2 * k * from.lanes;
    for (int l = 0; l < from.lanes; ++l) {
      const std::complex<T> x = from.lines[l][k * from.step];
      to[l] = x.real();
      to[from.lanes + l] = x.imag();
    }
  }
}

template <class T>
void LoadLines(const LineBlock<const T>& from, T* pairs) {
  for (int64_t k = 0; k < from.size; ++k) {
    T* to = pairs + 2 * k * from.lanes;
    for (int l = 0; l < from.lanes; ++l) {
      to[l] = from.lines[l][k * from.step];
      to[from.lanes + l] = 0;
    }
  }
}

template <class T>
void StoreLines(const T* pairs, T scale, const LineBlock<std::complex<T>>& to) {
  for (int64_t k = StoreFours(pairs, scale, to); k < to.size; ++k) {
    const T* from = pairs + 2 * k * to.lanes;
    for (int l = 0; l < to.lanes && to.lines[l] != nullptr; ++l) {
      to.lines[l][k * to.step] = {from[l] * scale, from[to.lanes + l] * scale};
    }
  }
}

template <class T>
void StoreLines(const T* pairs, T scale, const LineBlock<T>& to) {
  for (int64_t k = 0; k < to.size; ++k) {
    const T* from = pairs + 2 * k * to.lanes;
    for (int l = 0; l < to.lanes && to.lines[l] != nullptr; ++l) {
      to.lines[l][k * to.step] = from[l] * scale;
    }
  }
}

template void LoadLines(const LineBlock<const std::complex<float>>&, float*);
template void LoadLines(const LineBlock<const std::complex<double>>&, double*);
template void LoadLines(const LineBlock<const float>&, float*);
template void LoadLines(const LineBlock<const double>&, double*);
template void StoreLines(const float*, float, const LineBlock<std::complex<float>>&);
template void StoreLines(const double*, double, const LineBlock<std::complex<double>>&);
template void StoreLines(const float*, float, const LineBlock<float>&);
template void StoreLines(const double*, double, const LineBlock<double>&);

}  // namespace savedmodel
