// Gradients of the activations.
#include <cmath>
#include <type_traits>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

template <class T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

Status SameShapes(ShapeContext& ctx) {
  StatusOr<Shape> merged = ctx.input(0).Merge(ctx.input(1));
  SM_CHECK_ARG(merged.ok(), "gradients have shape ", ctx.input(0), ", the other input ",
               ctx.input(1), "; expected equal shapes");
  ctx.set_output(0, std::move(merged).value());
  return Status();
}

// Runs out[i] = F()(gradient[i], x[i]) over inputs 0 and 1.
template <class F, DTypeSet set>
Status Map(OpContext& ctx) {
  return VisitDType<set>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T *gradient = ctx.in<T>(0), *x = ctx.in<T>(1);
    T* out = ctx.out<T>(0);
    ctx.ParallelFor(ctx.input(0).num_elements(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = F::Apply(gradient[i], x[i]);
    });
    return Status();
  });
}

struct ReluGrad {
  template <class T>
  static T Apply(T g, T x) {
    return x > T(0) ? g : T(0);
  }
};

struct Relu6Grad {
  template <class T>
  static T Apply(T g, T x) {
    return x > T(0) && x < T(6) ? g : T(0);
  }
};

// Of the op's output y, not its input.
struct EluGrad {
  template <class T>
  static T Apply(T g, T y) {
    return y < T(0) ? (y + T(1)) * g : g;
  }
};

struct SeluGrad {
  template <class T>
  static T Apply(T g, T y) {
    constexpr double kScale = 1.0507009873554804934193349852946;
    constexpr double kScaleAlpha = 1.7580993408473768599402175208123;
    return y < T(0) ? g * (y + T(kScaleAlpha)) : g * T(kScale);
  }
};

struct SoftplusGrad {
  template <class T>
  static T Apply(T g, T x) {
    using W = Wide<T>;
    return T(static_cast<W>(g) / (std::exp(-static_cast<W>(x)) + W(1)));
  }
};

struct SoftsignGrad {
  template <class T>
  static T Apply(T g, T x) {
    using W = Wide<T>;
    const W d = W(1) + std::abs(static_cast<W>(x));
    return T(static_cast<W>(g) / (d * d));
  }
};

StatusOr<KernelPtr> BuildLeakyReluGrad(BuildContext& build) {
  const float alpha = build.attrs().Float("alpha");
  return MakeKernel([alpha](OpContext& ctx) {
    return VisitDType<kFloats>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T *gradient = ctx.in<T>(0), *x = ctx.in<T>(1);
      T* out = ctx.out<T>(0);
      const int64_t n = ctx.input(0).num_elements();
      for (int64_t i = 0; i < n; ++i) out[i] = x[i] > T(0) ? gradient[i] : gradient[i] * T(alpha);
      return Status();
    });
  });
}

#define SM_REAL_TYPES \
  "T: {float,double,int32,uint8,int16,int8,int64,bfloat16,uint16,half,uint32,uint64}"

constexpr OpDef kOps[] = {
    {.signature = "EluGrad(gradients: T, outputs: T) -> (backprops: T); "
                  "T: {half,bfloat16,float,double}",
     .shape = SameShapes,
     .build = BuildPlain<Map<EluGrad, kFloats>>,
     .in_place = InPlace::kAnyInput},
    {.signature = "LeakyReluGrad(gradients: T, features: T) -> (backprops: T); "
                  "alpha: float = 0.2; T: {half,bfloat16,float,double} = float",
     .shape = SameShapes,
     .build = BuildLeakyReluGrad,
     .in_place = InPlace::kAnyInput},
    {.signature = "Relu6Grad(gradients: T, features: T) -> (backprops: T); " SM_REAL_TYPES,
     .shape = SameShapes,
     .build = BuildPlain<Map<Relu6Grad, kReals>>,
     .in_place = InPlace::kAnyInput},
    {.signature = "ReluGrad(gradients: T, features: T) -> (backprops: T); " SM_REAL_TYPES,
     .shape = SameShapes,
     .build = BuildPlain<Map<ReluGrad, kReals>>,
     .in_place = InPlace::kAnyInput},
    {.signature = "SeluGrad(gradients: T, outputs: T) -> (backprops: T); "
                  "T: {half,bfloat16,float,double}",
     .shape = SameShapes,
     .build = BuildPlain<Map<SeluGrad, kFloats>>,
     .in_place = InPlace::kAnyInput},
    {.signature = "SoftplusGrad(gradients: T, features: T) -> (backprops: T); "
                  "T: {half,bfloat16,float,double}",
     .shape = SameShapes,
     .build = BuildPlain<Map<SoftplusGrad, kFloats>>,
     .in_place = InPlace::kAnyInput},
    {.signature = "SoftsignGrad(gradients: T, features: T) -> (backprops: T); "
                  "T: {half,bfloat16,float,double}",
     .shape = SameShapes,
     .build = BuildPlain<Map<SoftsignGrad, kFloats>>,
     .in_place = InPlace::kAnyInput},
};
#undef SM_REAL_TYPES
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ActivationGradOps() { return kOps; }

}  // namespace savedmodel
