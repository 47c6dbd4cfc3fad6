// Roots, exponentials, logarithms, and trigonometric, hyperbolic and error functions.
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

// Functions that the compute core has for floats.
#define SM_CORE_FUNCTION(Name, expression)                 \
  struct Name##Fn {                                        \
    static constexpr double kCost = 2;                     \
    static constexpr ScalarOp kScalar = ScalarOp::k##Name; \
    template <class T>                                     \
    T operator()(const T& x) const {                       \
      return expression;                                   \
    }                                                      \
  }
SM_CORE_FUNCTION(Sqrt, std::sqrt(x));
SM_CORE_FUNCTION(Rsqrt, T(1) / std::sqrt(x));
SM_CORE_FUNCTION(Exp, std::exp(x));
SM_CORE_FUNCTION(Log, std::log(x));
SM_CORE_FUNCTION(Tanh, std::tanh(x));
SM_CORE_FUNCTION(Sigmoid, T(1) / (T(1) + std::exp(-x)));
SM_CORE_FUNCTION(Erf, std::erf(x));
SM_CORE_FUNCTION(Erfc, std::erfc(x));
SM_CORE_FUNCTION(Sin, std::sin(x));
SM_CORE_FUNCTION(Cos, std::cos(x));
SM_CORE_FUNCTION(Tan, std::tan(x));
SM_CORE_FUNCTION(Asin, std::asin(x));
SM_CORE_FUNCTION(Acos, std::acos(x));
SM_CORE_FUNCTION(Atan, std::atan(x));
SM_CORE_FUNCTION(Sinh, std::sinh(x));
SM_CORE_FUNCTION(Cosh, std::cosh(x));
SM_CORE_FUNCTION(Asinh, std::asinh(x));
SM_CORE_FUNCTION(Acosh, std::acosh(x));
SM_CORE_FUNCTION(Atanh, std::atanh(x));
#undef SM_CORE_FUNCTION

struct Expm1Fn {
  static constexpr double kCost = 10;
  static constexpr ScalarOp kScalar = ScalarOp::kExpm1;
  template <class T>
  T operator()(const T& x) const {
    return std::expm1(x);
  }
  // e^(a+bi) - 1 = (e^a - 1) cos b - 2 sin^2(b/2) + i e^a sin b
  template <class T>
  std::complex<T> operator()(const std::complex<T>& x) const {
    const T s = std::sin(x.imag() / 2);
    return {std::expm1(x.real()) * std::cos(x.imag()) - 2 * s * s,
            std::exp(x.real()) * std::sin(x.imag())};
  }
};

struct Log1pFn {
  static constexpr double kCost = 10;
  static constexpr ScalarOp kScalar = ScalarOp::kLog1p;
  template <class T>
  T operator()(const T& x) const {
    return std::log1p(x);
  }
  // |1 + z|^2 = 1 + (2a + a^2 + b^2), which keeps the digits of a small z
  template <class T>
  std::complex<T> operator()(const std::complex<T>& x) const {
    const T a = x.real(), b = x.imag();
    const T angle = std::atan2(b, 1 + a);
    if (std::abs(a) > T(0.5) || std::abs(b) > T(0.5)) {
      return {std::log(std::hypot(1 + a, b)), angle};
    }
    return {std::log1p(a * (2 + a) + b * b) / 2, angle};
  }
};

inline constexpr DTypeSet kFloatsAndComplexes = kFloats | kComplexes;

// A row for function F over floats and complex numbers.
template <class F>
constexpr BuildFn kBuild = BuildPlain<RunUnary<kFloatsAndComplexes, F>>;
template <class F>
constexpr BuildFn kBuildReal = BuildPlain<RunUnary<kFloats, F>>;

constexpr OpDef kOps[] = {
    {.signature = "Acos(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<AcosFn>,
     .fusion = {.scalar = ScalarOp::kAcos},
     .in_place = InPlace::kInput0},
    {.signature = "Acosh(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<AcoshFn>,
     .fusion = {.scalar = ScalarOp::kAcosh},
     .in_place = InPlace::kInput0},
    {.signature = "Asin(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<AsinFn>,
     .fusion = {.scalar = ScalarOp::kAsin},
     .in_place = InPlace::kInput0},
    {.signature = "Asinh(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<AsinhFn>,
     .fusion = {.scalar = ScalarOp::kAsinh},
     .in_place = InPlace::kInput0},
    {.signature = "Atan(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<AtanFn>,
     .fusion = {.scalar = ScalarOp::kAtan},
     .in_place = InPlace::kInput0},
    {.signature = "Atanh(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<AtanhFn>,
     .fusion = {.scalar = ScalarOp::kAtanh},
     .in_place = InPlace::kInput0},
    {.signature = "Cos(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<CosFn>,
     .fusion = {.scalar = ScalarOp::kCos},
     .in_place = InPlace::kInput0},
    {.signature = "Cosh(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<CoshFn>,
     .fusion = {.scalar = ScalarOp::kCosh},
     .in_place = InPlace::kInput0},
    {.signature = "Erf(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuildReal<ErfFn>,
     .fusion = {.scalar = ScalarOp::kErf},
     .in_place = InPlace::kInput0},
    {.signature = "Erfc(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuildReal<ErfcFn>,
     .fusion = {.scalar = ScalarOp::kErfc},
     .in_place = InPlace::kInput0},
    {.signature = "Exp(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<ExpFn>,
     .fusion = {.scalar = ScalarOp::kExp},
     .in_place = InPlace::kInput0},
    {.signature = "Expm1(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<Expm1Fn>,
     .fusion = {.scalar = ScalarOp::kExpm1},
     .in_place = InPlace::kInput0},
    {.signature = "Log(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<LogFn>,
     .fusion = {.scalar = ScalarOp::kLog},
     .in_place = InPlace::kInput0},
    {.signature = "Log1p(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<Log1pFn>,
     .fusion = {.scalar = ScalarOp::kLog1p},
     .in_place = InPlace::kInput0},
    {.signature = "Rsqrt(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<RsqrtFn>,
     .fusion = {.scalar = ScalarOp::kRsqrt},
     .in_place = InPlace::kInput0},
    {.signature = "Sigmoid(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<SigmoidFn>,
     .fusion = {.scalar = ScalarOp::kSigmoid},
     .in_place = InPlace::kInput0},
    {.signature = "Sin(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<SinFn>,
     .fusion = {.scalar = ScalarOp::kSin},
     .in_place = InPlace::kInput0},
    {.signature = "Sinh(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<SinhFn>,
     .fusion = {.scalar = ScalarOp::kSinh},
     .in_place = InPlace::kInput0},
    {.signature = "Sqrt(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<SqrtFn>,
     .fusion = {.scalar = ScalarOp::kSqrt},
     .in_place = InPlace::kInput0},
    {.signature = "Tan(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<TanFn>,
     .fusion = {.scalar = ScalarOp::kTan},
     .in_place = InPlace::kInput0},
    {.signature = "Tanh(x: T) -> (y: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = kBuild<TanhFn>,
     .fusion = {.scalar = ScalarOp::kTanh},
     .in_place = InPlace::kInput0},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> TranscendentalOps() { return kOps; }

}  // namespace savedmodel
