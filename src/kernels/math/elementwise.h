// Kernels of elementwise functions, given as functors over scalars.
//
// A functor is a default-constructible struct with `static constexpr double
// kCost` (nanoseconds per element) and a call operator over the C++ type of
// each dtype it serves. Half and bfloat16 operands arrive as float, and a float
// result is rounded back; a functor that rounds in between declares
// kTakesSmallFloats and gets them as they are. A functor that the compute core
// knows says so by `static constexpr ScalarOp kScalar`; its floats are computed
// there.
#pragma once

#include <string>
#include <type_traits>

#include "savedmodel/op.h"
#include "src/kernels/compute_type.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/math/broadcast.h"
#include "src/kernels/small_floats.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {

template <class T>
inline constexpr bool kIsComplex =
    std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>;
template <class T>
inline constexpr bool kIsFloatingPoint = std::is_floating_point_v<T> || kIsSmallFloat<T>;

// True where operands of type T have to become floats first.
template <class F, class T>
inline constexpr bool kByFloats = kIsSmallFloat<T> && !requires {
  F::kTakesSmallFloats;
};

// F over operands of type T, in float where T is a small float.
template <class F, class T, class... Ts>
[[gnu::always_inline]] inline auto Apply(const T& first, const Ts&... rest) {
  if constexpr (kByFloats<F, T>) {
    const auto result = F()(static_cast<float>(first), static_cast<float>(rest)...);
    if constexpr (std::is_same_v<decltype(result), const float>) {
      return T(result);
    } else {
      return result;
    }
  } else {
    return F()(first, rest...);
  }
}

// The element type of F's result.
template <class F, class... Ts>
using ResultType = std::decay_t<decltype(Apply<F>(std::declval<const Ts&>()...))>;

// True where the compute core does F for floats.
template <class F>
inline constexpr bool kHasVectorForm = requires {
  F::kScalar;
};

// y[i] = F(x[i]); y may be x.
template <class F, class T>
void UnaryLoop(const T* x, ResultType<F, T>* y, int64_t n) {
  if constexpr (kHasVectorForm<F> && std::is_same_v<T, float>) {
    Vectors().map(F::kScalar, 0, x, y, n);
  } else {
    if constexpr (kHasVectorForm<F> && std::is_same_v<T, double>) {
      if (Vectors().map_doubles(F::kScalar, x, y, n)) return;
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) y[i] = Apply<F>(x[i]);
  }
}

// z[i] = op(a[i or 0], b[i or 0]) in the compute core; z may be a or b.
void BinaryFloatLoop(ScalarOp op, const float* a, int64_t a_step, const float* b, int64_t b_step,
                     float* z, int64_t n);

// z = op(x, y), where one of them is a short pattern that is repeated; false, and nothing done,
// where neither is.
bool BinaryFloatRepeated(OpContext& ctx, ScalarOp op, const Tensor& x, const Tensor& y, Tensor& z);

// z[i] = F(a[i or 0], b[i or 0]); z may be a or b.
template <class F, class T>
void BinaryLoop(const T* a, int64_t a_step, const T* b, int64_t b_step, ResultType<F, T, T>* z,
                int64_t n) {
  if constexpr (kHasVectorForm<F> && std::is_same_v<T, float>) {
    constexpr int64_t kWorthACall = 16;
    if (n >= kWorthACall) return BinaryFloatLoop(F::kScalar, a, a_step, b, b_step, z, n);
  }
  if (a_step == 1 && b_step == 1) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) z[i] = Apply<F>(a[i], b[i]);
  } else if (a_step == 1) {
    const T scalar = *b;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) z[i] = Apply<F>(a[i], scalar);
  } else {
    const T scalar = *a;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) z[i] = Apply<F>(scalar, b[i * b_step]);
  }
}

// The kernel of a unary op over the dtypes of `set`.
template <DTypeSet set, class F>
Status RunUnary(OpContext& ctx) {
  return VisitDType<set>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    if constexpr (kByFloats<F, T>) {
      MapSmallFloats<ResultType<F, float>>(ctx, F::kCost, UnaryLoop<F, float>);
      return Status();
    }
    const T* x = ctx.in<T>(0);
    auto* y = ctx.out<ResultType<F, T>>(0);
    ctx.ParallelFor(ctx.input(0).num_elements(), F::kCost, [&](int64_t begin, int64_t end) {
      UnaryLoop<F>(x + begin, y + begin, end - begin);
    });
    return Status();
  });
}

// z = F(x, y) with broadcasting. The shape function has checked that the shapes
// broadcast to the output's.
template <class F, class T>
void BinaryInto(OpContext& ctx, const Tensor& x, const Tensor& y, Tensor& output) {
  if constexpr (kByFloats<F, T>) {
    return ZipSmallFloats<ResultType<F, float, float>>(ctx, F::kCost, x, y, output,
                                                       BinaryLoop<F, float>);
  }
  const T* a = x.data<T>();
  const T* b = y.data<T>();
  auto* z = static_cast<ResultType<F, T, T>*>(output.raw_mutable_data());
  const int64_t n = output.num_elements();
  const int64_t a_step = x.num_elements() == n, b_step = y.num_elements() == n;
  if ((a_step == 1 || x.num_elements() == 1) && (b_step == 1 || y.num_elements() == 1)) {
    ctx.ParallelFor(n, F::kCost, [&](int64_t begin, int64_t end) {
      BinaryLoop<F>(a + begin * a_step, a_step, b + begin * b_step, b_step, z + begin, end - begin);
    });
    return;
  }
  if constexpr (kHasVectorForm<F> && std::is_same_v<T, float>) {
    if (BinaryFloatRepeated(ctx, F::kScalar, x, y, output)) return;
  }
  const BroadcastPlan plan = PlanBroadcast({&x.shape(), &y.shape()}, output.shape());
  ctx.ParallelFor(n, F::kCost, [&](int64_t begin, int64_t end) {
    ForEachRun(plan, begin, end, [&](int64_t at, const auto& from, int64_t count) {
      BinaryLoop<F>(a + from[0], plan.inner.step[0], b + from[1], plan.inner.step[1], z + at,
                    count);
    });
  });
}

// The kernel of a binary op over the dtypes of `set`.
template <DTypeSet set, class F>
Status RunBinary(OpContext& ctx) {
  return VisitDType<set>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    BinaryInto<F, typename decltype(tag)::type>(ctx, ctx.input(0), ctx.input(1), ctx.output(0));
    return Status();
  });
}

}  // namespace savedmodel
