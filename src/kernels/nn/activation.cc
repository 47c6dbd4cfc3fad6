// Activations: rectifiers, exponential units, softplus and softsign.
#include <cmath>
#include <limits>
#include <type_traits>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/compute_type.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/small_floats.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// Runs y[i] = F()(x[i]) over input 0; `set` are the dtypes of the op. Half and bfloat16 become
// floats first, unless F takes them.
template <class F, DTypeSet set>
Status Map(OpContext& ctx) {
  return VisitDType<set>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* x = ctx.in<T>(0);
    T* y = ctx.out<T>(0);
    if constexpr (std::is_same_v<T, float>) {
      ctx.ParallelFor(ctx.input(0).num_elements(), 0.3, [&](int64_t begin, int64_t end) {
        Vectors().map(F::kOp, 0, x + begin, y + begin, end - begin);
      });
    } else if constexpr (kIsSmallFloat<T> && !requires { F::kTakesSmallFloats; }) {
      MapSmallFloats<float>(ctx, 0.3, [](const float* from, float* to, int64_t n) {
        Vectors().map(F::kOp, 0, from, to, n);
      });
    } else {
      ctx.ParallelFor(ctx.input(0).num_elements(), F::kCost, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) y[i] = F::Apply(x[i]);
      });
    }
    return Status();
  });
}

// NaN compares false, so that it passes through all of these.
struct Relu {
  static constexpr ScalarOp kOp = ScalarOp::kRelu;
  static constexpr double kCost = 0.2;
  template <class T>
  static T Apply(T x) {
    return x < T(0) ? T(0) : x;
  }
};

struct Relu6 {
  static constexpr ScalarOp kOp = ScalarOp::kRelu6;
  static constexpr double kCost = 0.2;
  template <class T>
  static T Apply(T x) {
    const T low = x < T(0) ? T(0) : x;
    return low > T(6) ? T(6) : low;
  }
};

struct Elu {
  static constexpr ScalarOp kOp = ScalarOp::kElu;
  static constexpr double kCost = 4;
  static double Apply(double x) { return x < 0 ? std::expm1(x) : x; }
};

struct Selu {
  static constexpr ScalarOp kOp = ScalarOp::kSelu;
  static constexpr double kCost = 4;
  static constexpr bool kTakesSmallFloats = true;  // the factors are rounded to T
  template <class T>
  static T Apply(T x) {
    constexpr double kScale = 1.0507009873554804934193349852946;
    constexpr double kScaleAlpha = 1.7580993408473768599402175208123;
    return x < T(0) ? T(kScaleAlpha) * T(std::expm1(ComputeType<T>(x))) : T(kScale) * x;
  }
};

struct Softplus {
  static constexpr ScalarOp kOp = ScalarOp::kSoftplus;
  static constexpr double kCost = 8;
  static constexpr bool kTakesSmallFloats = true;  // its thresholds are those of T
  template <class T>
  static T Apply(T x) {
    using W = ComputeType<T>;
    // Beyond the threshold, to either side, one term of log(exp(x) + 1) is below T's precision.
    constexpr int kBits = std::is_same_v<T, half>       ? 10
                          : std::is_same_v<T, bfloat16> ? 7
                                                        : std::numeric_limits<W>::digits - 1;
    const W threshold = -kBits * W(0.6931471805599453) + W(2);
    const W v = static_cast<W>(x);
    if (v > -threshold) return x;
    return T(v < threshold ? std::exp(v) : std::log1p(std::exp(v)));
  }
};

struct Softsign {
  static constexpr ScalarOp kOp = ScalarOp::kSoftsign;
  static constexpr double kCost = 0.5;
  static constexpr bool kTakesSmallFloats = true;  // the divisor is rounded to T
  template <class T>
  static T Apply(T x) {
    return x / ((x < T(0) ? -x : x) + T(1));
  }
};

// y = x > 0 ? x : alpha * x
StatusOr<KernelPtr> BuildLeakyRelu(BuildContext& build) {
  const float alpha = build.attrs().Float("alpha");
  return MakeKernel([alpha](OpContext& ctx) {
    return VisitDType<kFloats>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T* x = ctx.in<T>(0);
      T* y = ctx.out<T>(0);
      if constexpr (std::is_same_v<T, float>) {
        ctx.ParallelFor(ctx.input(0).num_elements(), 0.3, [&](int64_t begin, int64_t end) {
          Vectors().map(ScalarOp::kLeakyRelu, alpha, x + begin, y + begin, end - begin);
        });
        return Status();
      }
      if constexpr (kIsSmallFloat<T>) {
        MapSmallFloats<float>(ctx, 0.3, [alpha](const float* from, float* to, int64_t n) {
          Vectors().map(ScalarOp::kLeakyRelu, T(alpha), from, to, n);
        });
        return Status();
      }
      ctx.ParallelFor(ctx.input(0).num_elements(), 0.5, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) y[i] = x[i] > T(0) ? x[i] : T(alpha) * x[i];
      });
      return Status();
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature = "Elu(features: T) -> (activations: T); T: {half,bfloat16,float,double}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<Map<Elu, kFloats>>,
     .fusion = {.scalar = ScalarOp::kElu},
     .in_place = InPlace::kInput0},
    {.signature = "LeakyRelu(features: T) -> (activations: T); alpha: float = 0.2; "
                  "T: {half,bfloat16,float,double} = float",
     .shape = shape::SameAsInput0,
     .build = BuildLeakyRelu,
     .fusion = {.scalar = ScalarOp::kLeakyRelu},
     .in_place = InPlace::kInput0},
    {.signature = "Relu(features: T) -> (activations: T); T: {float,double,int32,uint8,int16,int8,"
                  "int64,bfloat16,uint16,half,uint32,uint64,qint8}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<Map<Relu, kReals>>,
     .fusion = {.scalar = ScalarOp::kRelu},
     .in_place = InPlace::kInput0},
    {.signature = "Relu6(features: T) -> (activations: T); T: {float,double,int32,uint8,int16,int8,"
                  "int64,bfloat16,uint16,half,uint32,uint64}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<Map<Relu6, kReals>>,
     .fusion = {.scalar = ScalarOp::kRelu6},
     .in_place = InPlace::kInput0},
    {.signature = "Selu(features: T) -> (activations: T); T: {half,bfloat16,float,double}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<Map<Selu, kFloats>>,
     .fusion = {.scalar = ScalarOp::kSelu},
     .in_place = InPlace::kInput0},
    {.signature = "Softplus(features: T) -> (activations: T); T: {half,bfloat16,float,double}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<Map<Softplus, kFloats>>,
     .fusion = {.scalar = ScalarOp::kSoftplus},
     .in_place = InPlace::kInput0},
    {.signature = "Softsign(features: T) -> (activations: T); T: {half,bfloat16,float,double}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<Map<Softsign, kFloats>>,
     .fusion = {.scalar = ScalarOp::kSoftsign},
     .in_place = InPlace::kInput0},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ActivationOps() { return kOps; }

}  // namespace savedmodel
