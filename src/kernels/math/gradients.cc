// Gradients of elementwise functions, from the function's result y and the gradient dy.
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

// The conjugate, for real types the value itself.
template <class T>
T Conjugate(const T& x) {
  if constexpr (kIsComplex<T>) {
    return std::conj(x);
  } else {
    return x;
  }
}

// 0 wherever dy is 0, even where y is infinite.
struct ReciprocalGradFn {
  static constexpr double kCost = 1;
  template <class T>
  T operator()(const T& y, const T& dy) const {
    const T c = Conjugate(y);
    return dy == T(0) ? T(0) : -c * dy * c;
  }
};

struct SqrtGradFn {
  static constexpr double kCost = 1;
  template <class T>
  T operator()(const T& y, const T& dy) const {
    return dy == T(0) ? T(0) : T(0.5) * dy / Conjugate(y);
  }
};

struct RsqrtGradFn {
  static constexpr double kCost = 1;
  template <class T>
  T operator()(const T& y, const T& dy) const {
    const T c = Conjugate(y);
    return dy == T(0) ? T(0) : T(-0.5) * (dy * c) * (c * c);
  }
};

struct SigmoidGradFn {
  static constexpr double kCost = 1;
  template <class T>
  T operator()(const T& y, const T& dy) const {
    const T c = Conjugate(y);
    return dy * c * (T(1) - c);
  }
};

struct TanhGradFn {
  static constexpr double kCost = 1;
  template <class T>
  T operator()(const T& y, const T& dy) const {
    const T c = Conjugate(y);
    return dy * (T(1) - c * c);
  }
};

// As many elements in y as in dy, whatever their shapes; the result has y's.
Status GradShape(ShapeContext& ctx) {
  const Shape &y = ctx.input(0), &dy = ctx.input(1);
  SM_CHECK_ARG(!y.fully_known() || !dy.fully_known() || y.num_elements() == dy.num_elements(), "y ",
               y, " and dy ", dy, " must have the same number of elements");
  ctx.set_output(0, y);
  return Status();
}

template <class F>
Status RunGrad(OpContext& ctx) {
  constexpr DTypeSet kGradTypes = kFloats | kComplexes;
  return VisitDType<kGradTypes>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T *y = ctx.in<T>(0), *dy = ctx.in<T>(1);
    T* z = ctx.out<T>(0);
    ctx.ParallelFor(ctx.input(0).num_elements(), F::kCost, [&](int64_t begin, int64_t end) {
      BinaryLoop<F>(y + begin, 1, dy + begin, 1, z + begin, end - begin);
    });
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature =
         "InvGrad(y: T, dy: T) -> (z: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = GradShape,
     .build = BuildPlain<RunGrad<ReciprocalGradFn>>,
     .in_place = InPlace::kAnyInput},
    {.signature = "ReciprocalGrad(y: T, dy: T) -> (z: T); T: {bfloat16,half,float,double,complex64,"
                  "complex128}",
     .shape = GradShape,
     .build = BuildPlain<RunGrad<ReciprocalGradFn>>,
     .in_place = InPlace::kAnyInput},
    {.signature = "RsqrtGrad(y: T, dy: T) -> (z: T); T: {bfloat16,half,float,double,complex64,"
                  "complex128}",
     .shape = GradShape,
     .build = BuildPlain<RunGrad<RsqrtGradFn>>,
     .in_place = InPlace::kAnyInput},
    {.signature = "SigmoidGrad(y: T, dy: T) -> (z: T); T: {bfloat16,half,float,double,complex64,"
                  "complex128}",
     .shape = GradShape,
     .build = BuildPlain<RunGrad<SigmoidGradFn>>,
     .in_place = InPlace::kAnyInput},
    {.signature =
         "SqrtGrad(y: T, dy: T) -> (z: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = GradShape,
     .build = BuildPlain<RunGrad<SqrtGradFn>>,
     .in_place = InPlace::kAnyInput},
    {.signature =
         "TanhGrad(y: T, dy: T) -> (z: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = GradShape,
     .build = BuildPlain<RunGrad<TanhGradFn>>,
     .in_place = InPlace::kAnyInput},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> GradientOps() { return kOps; }

}  // namespace savedmodel
