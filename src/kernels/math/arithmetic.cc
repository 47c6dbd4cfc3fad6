// Binary arithmetic that cannot fail: sums, products, quotients of reals, extremes.
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/integer_math.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

struct AddFn {
  static constexpr double kCost = 0.4;
  static constexpr ScalarOp kScalar = ScalarOp::kAdd;
  template <class T>
  T operator()(const T& a, const T& b) const {
    return WrapAdd(a, b);
  }
};

struct SubFn {
  static constexpr double kCost = 0.4;
  static constexpr ScalarOp kScalar = ScalarOp::kSub;
  template <class T>
  T operator()(const T& a, const T& b) const {
    return WrapSub(a, b);
  }
};

struct MulFn {
  static constexpr double kCost = 0.4;
  static constexpr ScalarOp kScalar = ScalarOp::kMul;
  template <class T>
  T operator()(const T& a, const T& b) const {
    return WrapMul(a, b);
  }
};

struct RealDivFn {
  static constexpr double kCost = 0.6;
  static constexpr ScalarOp kScalar = ScalarOp::kDiv;
  template <class T>
  T operator()(const T& a, const T& b) const {
    return a / b;
  }
};

// 0 wherever the divisor is 0, whatever the dividend.
struct DivNoNanFn {
  static constexpr double kCost = 0.6;
  static constexpr ScalarOp kScalar = ScalarOp::kDivNoNan;
  template <class T>
  T operator()(const T& a, const T& b) const {
    return b == T(0) ? T(0) : a / b;
  }
};

// 0 wherever the second factor is 0, whatever the first.
struct MulNoNanFn {
  static constexpr double kCost = 0.4;
  template <class T>
  T operator()(const T& a, const T& b) const {
    return b == T(0) ? T(0) : a * b;
  }
};

// NaN where either is NaN.
struct MaximumFn {
  static constexpr double kCost = 0.4;
  static constexpr ScalarOp kScalar = ScalarOp::kMaximum;
  template <class T>
  T operator()(T a, T b) const {
    return a < b || b != b ? b : a;
  }
};

struct MinimumFn {
  static constexpr double kCost = 0.4;
  static constexpr ScalarOp kScalar = ScalarOp::kMinimum;
  template <class T>
  T operator()(T a, T b) const {
    return b < a || b != b ? b : a;
  }
};

// |a - b|^2
struct SquaredDifferenceFn {
  static constexpr double kCost = 0.4;
  static constexpr ScalarOp kScalar = ScalarOp::kSquaredDifference;
  template <class T>
  T operator()(const T& a, const T& b) const {
    const T d = WrapSub(a, b);
    if constexpr (kIsComplex<T>) {
      return d * std::conj(d);
    } else {
      return WrapMul(d, d);
    }
  }
};

inline constexpr DTypeSet kFloatsAndComplexes = kFloats | kComplexes;

constexpr OpDef kOps[] = {
    {.signature =
         "Add(x: T, y: T) -> (z: T); T: {bfloat16,half,float,double,uint8,int8,int16,int32,"
         "int64,complex64,complex128,string}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<(kNumbers | Only(DType::kString)), AddFn>)>,
     .fusion = {.scalar = ScalarOp::kAdd},
     .in_place = InPlace::kAnyInput},
    {.signature = "AddV2(x: T, y: T) -> (z: T); T: {bfloat16,half,float,double,uint8,uint16,uint32,"
                  "uint64,int8,int16,int32,int64,complex64,complex128}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kNumbers, AddFn>)>,
     .fusion = {.scalar = ScalarOp::kAdd},
     .in_place = InPlace::kAnyInput},
    {.signature =
         "DivNoNan(x: T, y: T) -> (z: T); T: {half,float,bfloat16,double,complex64,complex128}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kFloatsAndComplexes, DivNoNanFn>)>,
     .fusion = {.scalar = ScalarOp::kDivNoNan},
     .in_place = InPlace::kAnyInput},
    {.signature = "Maximum(x: T, y: T) -> (z: T); T: {bfloat16,half,float,double,int8,uint8,int16,"
                  "uint16,int32,uint32,int64,uint64}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kReals, MaximumFn>)>,
     .fusion = {.scalar = ScalarOp::kMaximum},
     .in_place = InPlace::kAnyInput},
    {.signature = "Minimum(x: T, y: T) -> (z: T); T: {bfloat16,half,float,double,int8,uint8,int16,"
                  "uint16,int32,uint32,int64,uint64}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kReals, MinimumFn>)>,
     .fusion = {.scalar = ScalarOp::kMinimum},
     .in_place = InPlace::kAnyInput},
    {.signature =
         "Mul(x: T, y: T) -> (z: T); T: {bfloat16,half,float,double,uint8,int8,uint16,int16,"
         "int32,uint32,uint64,int64,complex64,complex128}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kNumbers, MulFn>)>,
     .fusion = {.scalar = ScalarOp::kMul},
     .in_place = InPlace::kAnyInput},
    {.signature =
         "MulNoNan(x: T, y: T) -> (z: T); T: {bfloat16,half,float,double,complex64,complex128}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kFloatsAndComplexes, MulNoNanFn>)>,
     .in_place = InPlace::kAnyInput},
    {.signature = "RealDiv(x: T, y: T) -> (z: T); T: {bfloat16,half,float,double,uint8,int8,uint16,"
                  "int16,int32,uint32,uint64,int64,complex64,complex128}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kFloatsAndComplexes, RealDivFn>)>,
     .fusion = {.scalar = ScalarOp::kDiv},
     .in_place = InPlace::kAnyInput},
    {.signature =
         "SquaredDifference(x: T, y: T) -> (z: T); T: {bfloat16,half,float,double,int32,int64,"
         "complex64,complex128}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<(kFloatsAndComplexes | kInt32Or64), SquaredDifferenceFn>)>,
     .fusion = {.scalar = ScalarOp::kSquaredDifference},
     .in_place = InPlace::kAnyInput},
    {.signature =
         "Sub(x: T, y: T) -> (z: T); T: {bfloat16,half,float,double,uint8,int8,uint16,int16,"
         "int32,int64,complex64,complex128,uint32,uint64}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kNumbers, SubFn>)>,
     .fusion = {.scalar = ScalarOp::kSub},
     .in_place = InPlace::kAnyInput},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ArithmeticOps() { return kOps; }

}  // namespace savedmodel
