// Batches of matrix products: floats through the compute core, other numbers by plain loops.
#include "src/kernels/nn/products.h"

#include <algorithm>
#include <complex>

#include "src/base/status_macros.h"
#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

// a * b; integers wrap around.
template <class T>
T Times(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
  } else {
    return a * b;
  }
}

template <class T>
T Plus(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
  } else {
    return a + b;
  }
}

// One row of the product.
template <class C>
void RowTimesMatrix(const ProductOf<C>& p, const C* a, const C* b, C* c) {
  if (p.b_is_transposed) {
    for (int64_t j = 0; j < p.n; ++j, b += p.k) {
      C sum = C(0);
      for (int64_t i = 0; i < p.k; ++i) sum = Plus(sum, Times(a[i], b[i]));
      c[j] = sum;
    }
    return;
  }
  std::fill_n(c, p.n, C(0));
  for (int64_t i = 0; i < p.k; ++i, b += p.n) {
    const C x = a[i];
    for (int64_t j = 0; j < p.n; ++j) c[j] = Plus(c[j], Times(x, b[j]));
  }
}

// Some rows of one product of the batch.
template <class C>
void RowsTimesMatrix(const ProductOf<C>& p, const C* a, const C* b, C* c, int64_t rows) {
  constexpr bool is_word = std::is_integral_v<C> && sizeof(C) == 4;
  if (std::is_same_v<C, double> && !p.b_is_transposed) {
    Vectors().multiply_doubles(reinterpret_cast<const double*>(a),
                               reinterpret_cast<const double*>(b), reinterpret_cast<double*>(c),
                               rows, p.k, p.n);
  } else if (is_word && !p.b_is_transposed) {
    Vectors().multiply_words(reinterpret_cast<const uint32_t*>(a),
                             reinterpret_cast<const uint32_t*>(b), reinterpret_cast<uint32_t*>(c),
                             rows, p.k, p.n);
  } else {
    for (int64_t r = 0; r < rows; ++r) RowTimesMatrix(p, a + r * p.k, b, c + r * p.n);
  }
}

// Runs product i of the batch with `run(ctx, product)` for the float core's description of it.
template <class Run>
void WithProduct(const ProductOf<float>& p, int64_t i, int64_t rows, Run&& run) {
  const float* a = p.a + p.pairs[i].first * p.m * p.k;
  const EvenRuns runs{a, p.k};
  Epilogue epilogue;
  if (p.epilogue != nullptr) epilogue = p.epilogue->FromRow(i * p.m);
  const int64_t b = p.pairs[i].second;
  run(Product{.rows = rows,
              .columns = p.n,
              .depth = p.k,
              .runs = runs,
              .packed = p.packed == nullptr ? nullptr : &(*p.packed)[b],
              .b = {p.b + b * p.k * p.n, p.b_is_transposed ? 1 : p.n, p.b_is_transposed ? p.k : 1},
              .c = p.c + i * p.m * p.n,
              .c_stride = p.n,
              .epilogue = p.epilogue == nullptr ? nullptr : &epilogue});
}

// Whether the matrices of a follow one another while b stays the same: one taller product.
bool IsOneProduct(const ProductOf<float>& p) {
  for (size_t i = 0; i < p.pairs.size(); ++i) {
    if (p.pairs[i].first != static_cast<int64_t>(i)) return false;
    if (p.pairs[i].second != p.pairs[0].second) return false;
  }
  return true;
}

void MultiplyFloats(OpContext& ctx, const ProductOf<float>& p) {
  const int64_t count = static_cast<int64_t>(p.pairs.size());
  const auto parallel = [&](const Product& product) { RunProduct(ctx, product); };
  if (IsOneProduct(p)) return WithProduct(p, 0, count * p.m, parallel);
  const double cost = 0.04 * static_cast<double>(p.m) * static_cast<double>(p.n) * p.k + 200;
  constexpr double kWorthThreads = 1e6;  // nanoseconds of one product that is divided itself
  if (cost > kWorthThreads && count < 16) {
    for (int64_t i = 0; i < count; ++i) WithProduct(p, i, p.m, parallel);
    return;
  }
  ctx.ParallelFor(count, cost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) WithProduct(p, i, p.m, RunProductSerially);
  });
}

}  // namespace

template <class C>
Status MultiplyMatrices(OpContext& ctx, const ProductOf<C>& p) {
  if (p.m == 0 || p.n == 0 || p.pairs.empty()) return Status();
  if constexpr (std::is_same_v<C, float>) {
    MultiplyFloats(ctx, p);
  } else {
    const double cost = 0.5 * static_cast<double>(p.n) * static_cast<double>(p.k);
    const int64_t rows = static_cast<int64_t>(p.pairs.size()) * p.m;
    ctx.ParallelFor(rows, cost, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end;) {
        const auto [a, b] = p.pairs[row / p.m];
        const int64_t count = std::min(end - row, p.m - row % p.m);
        RowsTimesMatrix(p, p.a + (a * p.m + row % p.m) * p.k, p.b + b * p.k * p.n, p.c + row * p.n,
                        count);
        row += count;
      }
    });
  }
  return Status();
}

#define SM_INSTANTIATE(C) template Status MultiplyMatrices(OpContext&, const ProductOf<C>&)
SM_INSTANTIATE(float);
SM_INSTANTIATE(double);
SM_INSTANTIATE(std::complex<float>);
SM_INSTANTIATE(std::complex<double>);
SM_INSTANTIATE(int8_t);
SM_INSTANTIATE(int16_t);
SM_INSTANTIATE(int32_t);
SM_INSTANTIATE(int64_t);
SM_INSTANTIATE(uint8_t);
SM_INSTANTIATE(uint16_t);
SM_INSTANTIATE(uint32_t);
SM_INSTANTIATE(uint64_t);
#undef SM_INSTANTIATE

}  // namespace savedmodel
