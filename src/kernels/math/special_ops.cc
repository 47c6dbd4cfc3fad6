// Special functions of one variable: gamma, error and Bessel functions and their kin.
#include <unsupported/Eigen/SpecialFunctions>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/math_ops.h"
#include "src/kernels/math/special_functions.h"

namespace savedmodel {
namespace {

// NaN outside [0, 1].
template <class T>
T NormalQuantile(T x) {
  return x >= 0 && x <= 1 ? Eigen::numext::ndtri(x) : std::numeric_limits<T>::quiet_NaN();
}

#define SM_FUNCTION(Name, expression)   \
  struct Name##Fn {                     \
    static constexpr double kCost = 50; \
    template <class T>                  \
    T operator()(T x) const {           \
      return expression;                \
    }                                   \
  }
SM_FUNCTION(Lgamma, Eigen::numext::lgamma(x));
SM_FUNCTION(Digamma, Eigen::numext::digamma(x));
SM_FUNCTION(Ndtri, NormalQuantile(x));
SM_FUNCTION(Erfinv, NormalQuantile(T(0.5) * x + T(0.5)) * T(M_SQRT1_2));
SM_FUNCTION(BesselI0, Eigen::numext::bessel_i0(x));
SM_FUNCTION(BesselI0e, Eigen::numext::bessel_i0e(x));
SM_FUNCTION(BesselI1, Eigen::numext::bessel_i1(x));
SM_FUNCTION(BesselI1e, Eigen::numext::bessel_i1e(x));
SM_FUNCTION(BesselJ0, Eigen::numext::bessel_j0(x));
SM_FUNCTION(BesselJ1, Eigen::numext::bessel_j1(x));
SM_FUNCTION(BesselK0, Eigen::numext::bessel_k0(x));
SM_FUNCTION(BesselK0e, Eigen::numext::bessel_k0e(x));
SM_FUNCTION(BesselK1, Eigen::numext::bessel_k1(x));
SM_FUNCTION(BesselK1e, Eigen::numext::bessel_k1e(x));
SM_FUNCTION(BesselY0, Eigen::numext::bessel_y0(x));
SM_FUNCTION(BesselY1, Eigen::numext::bessel_y1(x));
SM_FUNCTION(Dawsn, T(Dawson(x)));
SM_FUNCTION(Expint, T(ExponentialIntegral(x)));
SM_FUNCTION(FresnelCos, T(FresnelCosine(x)));
SM_FUNCTION(FresnelSin, T(FresnelSine(x)));
SM_FUNCTION(SpenceOf, T(Spence(x)));
#undef SM_FUNCTION

inline constexpr DTypeSet kWithHalf = kFloatDouble | Only(DType::kHalf);

template <class F>
constexpr BuildFn kBuild = BuildPlain<RunUnary<kFloatDouble, F>>;
template <class F>
constexpr BuildFn kBuildWithHalf = BuildPlain<RunUnary<kWithHalf, F>>;

constexpr OpDef kOps[] = {
    {.signature = "BesselI0(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuildWithHalf<BesselI0Fn>,
     .in_place = InPlace::kInput0},
    {.signature = "BesselI0e(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuildWithHalf<BesselI0eFn>,
     .in_place = InPlace::kInput0},
    {.signature = "BesselI1(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuildWithHalf<BesselI1Fn>,
     .in_place = InPlace::kInput0},
    {.signature = "BesselI1e(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuildWithHalf<BesselI1eFn>,
     .in_place = InPlace::kInput0},
    {.signature = "BesselJ0(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuildWithHalf<BesselJ0Fn>,
     .in_place = InPlace::kInput0},
    {.signature = "BesselJ1(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuildWithHalf<BesselJ1Fn>,
     .in_place = InPlace::kInput0},
    {.signature = "BesselK0(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuildWithHalf<BesselK0Fn>,
     .in_place = InPlace::kInput0},
    {.signature = "BesselK0e(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuildWithHalf<BesselK0eFn>,
     .in_place = InPlace::kInput0},
    {.signature = "BesselK1(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuildWithHalf<BesselK1Fn>,
     .in_place = InPlace::kInput0},
    {.signature = "BesselK1e(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuildWithHalf<BesselK1eFn>,
     .in_place = InPlace::kInput0},
    {.signature = "BesselY0(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuildWithHalf<BesselY0Fn>,
     .in_place = InPlace::kInput0},
    {.signature = "BesselY1(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuildWithHalf<BesselY1Fn>,
     .in_place = InPlace::kInput0},
    {.signature = "Dawsn(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuild<DawsnFn>,
     .in_place = InPlace::kInput0},
    {.signature = "Digamma(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuildWithHalf<DigammaFn>,
     .in_place = InPlace::kInput0},
    {.signature = "Erfinv(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuild<ErfinvFn>,
     .in_place = InPlace::kInput0},
    {.signature = "Expint(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuild<ExpintFn>,
     .in_place = InPlace::kInput0},
    {.signature = "FresnelCos(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuild<FresnelCosFn>,
     .in_place = InPlace::kInput0},
    {.signature = "FresnelSin(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuild<FresnelSinFn>,
     .in_place = InPlace::kInput0},
    {.signature = "Lgamma(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuildWithHalf<LgammaFn>,
     .in_place = InPlace::kInput0},
    {.signature = "Ndtri(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuild<NdtriFn>,
     .in_place = InPlace::kInput0},
    {.signature = "Spence(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = kBuild<SpenceOfFn>,
     .in_place = InPlace::kInput0},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SpecialOps() { return kOps; }

}  // namespace savedmodel
