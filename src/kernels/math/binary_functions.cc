// Binary functions beyond arithmetic: powers, angles, products with logarithms.
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/integer_math.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

// Integer powers by repeated squaring, wrapping; the exponent has been checked to be >= 0.
struct PowFn {
  static constexpr double kCost = 15;
  template <class T>
  T operator()(const T& a, const T& b) const {
    if constexpr (kIsInteger<T>) {
      T result = 1, square = a;
      for (T e = b; e > 0; e = static_cast<T>(e >> 1)) {
        if (e & 1) result = WrapMul(result, square);
        square = WrapMul(square, square);
      }
      return result;
    } else {
      return std::pow(a, b);
    }
  }
};

struct Atan2Fn {
  static constexpr double kCost = 2;
  static constexpr ScalarOp kScalar = ScalarOp::kAtan2;
  template <class T>
  T operator()(T y, T x) const {
    return std::atan2(y, x);
  }
};

struct NextAfterFn {
  static constexpr double kCost = 5;
  template <class T>
  T operator()(T from, T to) const {
    return std::nextafter(from, to);
  }
};

// 0 wherever x is 0, whatever y.
struct XdivyFn {
  static constexpr double kCost = 1;
  template <class T>
  T operator()(const T& x, const T& y) const {
    return x == T(0) ? T(0) : x / y;
  }
};

struct XlogyFn {
  static constexpr double kCost = 2;
  static constexpr ScalarOp kScalar = ScalarOp::kXlogy;
  template <class T>
  T operator()(const T& x, const T& y) const {
    return x == T(0) ? T(0) : x * std::log(y);
  }
};

struct Xlog1pyFn {
  static constexpr double kCost = 10;
  template <class T>
  T operator()(const T& x, const T& y) const {
    if (x == T(0)) return T(0);
    if constexpr (kIsComplex<T>) {
      return x * std::log(T(1) + y);
    } else {
      return x * std::log1p(y);
    }
  }
};

Status RunPow(OpContext& ctx) {
  constexpr DTypeSet kPowTypes = kFloats | kSignedInts | kComplexes;
  return VisitDType<kPowTypes>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    if constexpr (kIsInteger<T>) {
      const Span<const T> exponents = ctx.input(1).values<T>();
      if (ctx.output(0).num_elements() > 0 &&
          std::any_of(exponents.begin(), exponents.end(), [](T e) { return e < 0; })) {
        return InvalidArgument("Integers to negative integer powers are not allowed");
      }
    }
    BinaryInto<PowFn, T>(ctx, ctx.input(0), ctx.input(1), ctx.output(0));
    return Status();
  });
}

inline constexpr DTypeSet kFloatsAndComplexes = kFloats | kComplexes;

constexpr OpDef kOps[] = {
    {.signature = "Atan2(y: T, x: T) -> (z: T); T: {bfloat16,half,float,double}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kFloats, Atan2Fn>)>,
     .fusion = {.scalar = ScalarOp::kAtan2},
     .in_place = InPlace::kAnyInput},
    {.signature = "NextAfter(x1: T, x2: T) -> (output: T); T: {double,float} = float",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kFloatDouble, NextAfterFn>)>,
     .in_place = InPlace::kAnyInput},
    {.signature =
         "Pow(x: T, y: T) -> (z: T); T: {bfloat16,float,half,double,int8,int16,int32,int64,"
         "complex64,complex128}",
     .shape = shape::Broadcast,
     .build = BuildPlain<RunPow>,
     .fusion = {.scalar = ScalarOp::kPow},
     .in_place = InPlace::kAnyInput},
    {.signature =
         "Xdivy(x: T, y: T) -> (z: T); T: {half,bfloat16,float,double,complex64,complex128}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kFloatsAndComplexes, XdivyFn>)>,
     .in_place = InPlace::kAnyInput},
    {.signature =
         "Xlog1py(x: T, y: T) -> (z: T); T: {half,bfloat16,float,double,complex64,complex128}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kFloatsAndComplexes, Xlog1pyFn>)>,
     .in_place = InPlace::kAnyInput},
    {.signature =
         "Xlogy(x: T, y: T) -> (z: T); T: {half,bfloat16,float,double,complex64,complex128}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kFloatsAndComplexes, XlogyFn>)>,
     .fusion = {.scalar = ScalarOp::kXlogy},
     .in_place = InPlace::kAnyInput},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> BinaryFunctionOps() { return kOps; }

}  // namespace savedmodel
