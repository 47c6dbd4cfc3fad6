// Unary functions made of arithmetic and rounding alone.
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/integer_math.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

struct AbsFn {
  static constexpr double kCost = 0.4;
  static constexpr ScalarOp kScalar = ScalarOp::kAbs;
  template <class T>
  T operator()(const T& x) const {
    if constexpr (kIsInteger<T>) {
      return x < 0 ? WrapNeg(x) : x;
    } else {
      return std::abs(x);
    }
  }
};

struct NegFn {
  static constexpr double kCost = 0.4;
  static constexpr ScalarOp kScalar = ScalarOp::kNeg;
  template <class T>
  T operator()(const T& x) const {
    return WrapNeg(x);
  }
};

struct SquareFn {
  static constexpr double kCost = 0.4;
  static constexpr ScalarOp kScalar = ScalarOp::kSquare;
  template <class T>
  T operator()(const T& x) const {
    return WrapMul(x, x);
  }
};

struct ReciprocalFn {
  static constexpr double kCost = 0.6;
  static constexpr ScalarOp kScalar = ScalarOp::kReciprocal;
  template <class T>
  T operator()(const T& x) const {
    return T(1) / x;
  }
};

// -1, 0, 1 or NaN; x / |x| for complex numbers.
struct SignFn {
  static constexpr double kCost = 0.5;
  static constexpr ScalarOp kScalar = ScalarOp::kSign;
  template <class T>
  T operator()(const T& x) const {
    if constexpr (kIsComplex<T>) {
      return x == T(0) ? T(0) : x / std::abs(x);
    } else {
      return x > T(0) ? T(1) : x < T(0) ? T(-1) : x != x ? x : T(0);
    }
  }
};

struct FloorFn {
  static constexpr double kCost = 1;
  static constexpr ScalarOp kScalar = ScalarOp::kFloor;
  template <class T>
  T operator()(T x) const {
    return std::floor(x);
  }
};

struct CeilFn {
  static constexpr double kCost = 1;
  static constexpr ScalarOp kScalar = ScalarOp::kCeil;
  template <class T>
  T operator()(T x) const {
    return std::ceil(x);
  }
};

// To the nearest integer, halves to even.
struct RoundFn {
  static constexpr double kCost = 1;
  static constexpr ScalarOp kScalar = ScalarOp::kRint;
  template <class T>
  T operator()(T x) const {
    if constexpr (kIsInteger<T>) {
      return x;
    } else {
      return std::nearbyint(x);
    }
  }
};

struct IsFiniteFn {
  static constexpr double kCost = 0.4;
  template <class T>
  bool operator()(T x) const {
    return std::isfinite(x);
  }
};

struct IsInfFn {
  static constexpr double kCost = 0.4;
  template <class T>
  bool operator()(T x) const {
    return std::isinf(x);
  }
};

struct IsNanFn {
  static constexpr double kCost = 0.4;
  template <class T>
  bool operator()(T x) const {
    return x != x;
  }
};

inline constexpr DTypeSet kFloatsAndComplexes = kFloats | kComplexes;
inline constexpr DTypeSet kSigned = kFloats | kSignedInts;

constexpr OpDef kOps[] = {
    {.signature = "Abs(x: T) -> (y: T); T: {bfloat16,half,float,double,int8,int16,int32,int64}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<(RunUnary<kSigned, AbsFn>)>,
     .fusion = {.scalar = ScalarOp::kAbs},
     .in_place = InPlace::kInput0},
    {.signature = "Ceil(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<(RunUnary<kFloats, CeilFn>)>,
     .fusion = {.scalar = ScalarOp::kCeil},
     .in_place = InPlace::kInput0},
    {.signature = "Floor(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<(RunUnary<kFloats, FloorFn>)>,
     .fusion = {.scalar = ScalarOp::kFloor},
     .in_place = InPlace::kInput0},
    {.signature =
         "Inv(x: T) -> (y: T); T: {bfloat16,half,float,double,int8,int16,int32,int64,complex64,"
         "complex128}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<(RunUnary<kFloatsAndComplexes, ReciprocalFn>)>,
     .fusion = {.scalar = ScalarOp::kReciprocal},
     .in_place = InPlace::kInput0},
    {.signature = "IsFinite(x: T) -> (y: bool); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<(RunUnary<kFloats, IsFiniteFn>)>},
    {.signature = "IsInf(x: T) -> (y: bool); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<(RunUnary<kFloats, IsInfFn>)>},
    {.signature = "IsNan(x: T) -> (y: bool); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<(RunUnary<kFloats, IsNanFn>)>},
    {.signature =
         "Neg(x: T) -> (y: T); T: {bfloat16,half,float,double,int8,int16,int32,int64,complex64,"
         "complex128}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<(RunUnary<(kSigned | kComplexes), NegFn>)>,
     .fusion = {.scalar = ScalarOp::kNeg},
     .in_place = InPlace::kInput0},
    {.signature =
         "Reciprocal(x: T) -> (y: T); T: {bfloat16,half,float,double,int8,int16,int32,int64,"
         "complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<(RunUnary<kFloatsAndComplexes, ReciprocalFn>)>,
     .fusion = {.scalar = ScalarOp::kReciprocal},
     .in_place = InPlace::kInput0},
    {.signature = "Rint(x: T) -> (y: T); T: {bfloat16,half,float,double}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<(RunUnary<kFloatDouble, RoundFn>)>,
     .fusion = {.scalar = ScalarOp::kRint},
     .in_place = InPlace::kInput0},
    {.signature = "Round(x: T) -> (y: T); T: {bfloat16,half,float,double,int8,int16,int32,int64,"
                  "complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<(RunUnary<(kFloats | kInt32Or64), RoundFn>)>,
     .fusion = {.scalar = ScalarOp::kRint},
     .in_place = InPlace::kInput0},
    {.signature = "Sign(x: T) -> (y: T); T: {bfloat16,half,float,double,int8,int16,int32,int64,"
                  "complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<(RunUnary<(kSigned | kComplexes), SignFn>)>,
     .fusion = {.scalar = ScalarOp::kSign},
     .in_place = InPlace::kInput0},
    {.signature =
         "Square(x: T) -> (y: T); T: {bfloat16,half,float,double,int8,int16,int32,int64,uint8,"
         "uint16,uint32,uint64,complex64,complex128}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<(RunUnary<kNumbers, SquareFn>)>,
     .fusion = {.scalar = ScalarOp::kSquare},
     .in_place = InPlace::kInput0},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> UnaryOps() { return kOps; }

}  // namespace savedmodel
