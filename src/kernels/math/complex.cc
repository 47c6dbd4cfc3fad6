// Complex numbers from and to their parts.
#include <cmath>
#include <limits>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

struct ComplexFn {
  static constexpr double kCost = 0.5;
  template <class T>
  std::complex<T> operator()(T re, T im) const {
    return {re, im};
  }
};

struct RealFn {
  static constexpr double kCost = 0.5;
  template <class T>
  T operator()(const std::complex<T>& x) const {
    return x.real();
  }
};

struct ImagFn {
  static constexpr double kCost = 0.5;
  template <class T>
  T operator()(const std::complex<T>& x) const {
    return x.imag();
  }
};

struct AngleFn {
  static constexpr double kCost = 20;
  template <class T>
  T operator()(const std::complex<T>& x) const {
    return std::arg(x);
  }
};

struct ComplexAbsFn {
  static constexpr double kCost = 5;
  template <class T>
  T operator()(const std::complex<T>& x) const {
    return std::abs(x);
  }
  // No square overflows in double.
  float operator()(const std::complex<float>& x) const {
    const double re = x.real(), im = x.imag();
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const float size = static_cast<float>(std::sqrt(re * re + im * im));
    return (std::abs(x.real()) == kInfinity) | (std::abs(x.imag()) == kInfinity) ? kInfinity : size;
  }
};

struct ConjFn {
  static constexpr double kCost = 0.5;
  template <class T>
  std::complex<T> operator()(const std::complex<T>& x) const {
    return std::conj(x);
  }
};

Status RunConj(OpContext& ctx) {
  if (ctx.input(0).dtype() == DType::kVariant) {
    return ctx.ForwardInput(0, 0, ctx.input(0).shape());
  }
  return RunUnary<kComplexes, ConjFn>(ctx);
}

// Tout must be the other half of T's pair: float and complex64, double and complex128.
template <Status (*run)(OpContext&)>
StatusOr<KernelPtr> BuildParts(BuildContext& build) {
  const bool narrow_in =
      build.input_dtype(0) == DType::kFloat || build.input_dtype(0) == DType::kComplex64;
  const bool narrow_out =
      build.output_dtype(0) == DType::kFloat || build.output_dtype(0) == DType::kComplex64;
  if (narrow_in != narrow_out) {
    return InvalidArgument("found T ", build.input_dtype(0), " with Tout ", build.output_dtype(0),
                           ", expected types of the same precision");
  }
  return BuildPlain<run>(build);
}

constexpr OpDef kOps[] = {
    {.signature = "Angle(input: T) -> (output: Tout); T: {complex64,complex128} = complex64; Tout: "
                  "{float,double} = float",
     .shape = shape::SameAsInput0,
     .build = BuildParts<(RunUnary<kComplexes, AngleFn>)>},
    {.signature = "Complex(real: T, imag: T) -> (out: Tout); T: {float,double} = float; Tout: "
                  "{complex64,complex128} = complex64",
     .shape = shape::Broadcast,
     .build = BuildParts<(RunBinary<kFloatDouble, ComplexFn>)>},
    {.signature =
         "ComplexAbs(x: T) -> (y: Tout); T: {complex64,complex128} = complex64; Tout: {float,"
         "double} = float",
     .shape = shape::SameAsInput0,
     .build = BuildParts<(RunUnary<kComplexes, ComplexAbsFn>)>},
    {.signature = "Conj(input: T) -> (output: T); T: {complex64,complex128,variant} = complex64",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunConj>},
    {.signature = "Imag(input: T) -> (output: Tout); T: {complex64,complex128} = complex64; Tout: "
                  "{float,double} = float",
     .shape = shape::SameAsInput0,
     .build = BuildParts<(RunUnary<kComplexes, ImagFn>)>},
    {.signature = "Real(input: T) -> (output: Tout); T: {complex64,complex128} = complex64; Tout: "
                  "{float,double} = float",
     .shape = shape::SameAsInput0,
     .build = BuildParts<(RunUnary<kComplexes, RealFn>)>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ComplexOps() { return kOps; }

}  // namespace savedmodel
