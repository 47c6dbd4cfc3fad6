// Division and remainder with their roundings. Integer division by zero is an error.
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/integer_math.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

// Rounds to zero for integers; plain division for other types.
struct DivFn {
  static constexpr double kCost = 2;
  template <class T>
  T operator()(const T& a, const T& b) const {
    if constexpr (kIsInteger<T>) {
      return WrapDiv(a, b);
    } else {
      return a / b;
    }
  }
};

struct TruncateDivFn {
  static constexpr double kCost = 2;
  static constexpr bool kTakesSmallFloats = true;  // the quotient is rounded to T first
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (kIsInteger<T>) {
      return WrapDiv(a, b);
    } else {
      return T(std::trunc(ComputeType<T>(a / b)));
    }
  }
};

struct FloorDivFn {
  static constexpr double kCost = 2;
  static constexpr ScalarOp kScalar = ScalarOp::kFloorDiv;
  static constexpr bool kTakesSmallFloats = true;  // the quotient is rounded to T first
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (!kIsInteger<T>) {
      return T(std::floor(ComputeType<T>(a / b)));
    } else {
      const T q = WrapDiv(a, b);
      if constexpr (std::is_signed_v<T>) {
        const bool rounds_down = ((a < 0) != (b < 0)) & (WrapMul(q, b) != a);
        return WrapSub(q, static_cast<T>(rounds_down));
      }
      return q;
    }
  }
};

// Has the sign of the dividend.
struct TruncateModFn {
  static constexpr double kCost = 2;
  template <class T>
  T operator()(T a, T b) const {
    if constexpr (kIsInteger<T>) {
      return WrapMod(a, b);
    } else {
      return std::fmod(a, b);
    }
  }
};

// Has the sign of the divisor.
struct FloorModFn {
  static constexpr double kCost = 2;
  template <class T>
  T operator()(T a, T b) const {
    const T r = TruncateModFn()(a, b);
    if constexpr (kIsInteger<T>) {
      const bool differs = (r != 0) & ((r < 0) != (b < 0));
      return WrapAdd(r, differs ? b : T(0));
    }
    return r != 0 && (r < 0) != (b < 0) ? static_cast<T>(r + b) : r;
  }
};

template <DTypeSet set, class F>
Status RunDivision(OpContext& ctx) {
  return VisitDType<set>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    if constexpr (kIsInteger<T>) {
      const Span<const T> divisors = ctx.input(1).values<T>();
      if (ctx.output(0).num_elements() > 0 &&
          std::find(divisors.begin(), divisors.end(), T(0)) != divisors.end()) {
        return InvalidArgument("Integer division by zero");
      }
    }
    BinaryInto<F, T>(ctx, ctx.input(0), ctx.input(1), ctx.output(0));
    return Status();
  });
}

inline constexpr DTypeSet kModTypes = kFloatDouble | kInt32Or64;

constexpr OpDef kOps[] = {
    {.signature =
         "Div(x: T, y: T) -> (z: T); T: {bfloat16,half,float,double,uint8,int8,uint16,int16,"
         "int32,uint32,uint64,int64,complex64,complex128}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunDivision<kNumbers, DivFn>)>,
     .fusion = {.scalar = ScalarOp::kDiv},
     .in_place = InPlace::kAnyInput},
    {.signature =
         "FloorDiv(x: T, y: T) -> (z: T); T: {bfloat16,half,float,double,uint8,int8,uint16,"
         "int16,int32,uint32,uint64,int64,complex64,complex128}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunDivision<kReals, FloorDivFn>)>,
     .fusion = {.scalar = ScalarOp::kFloorDiv},
     .in_place = InPlace::kAnyInput},
    {.signature = "FloorMod(x: T, y: T) -> (z: T); T: {int8,int16,int32,int64,uint8,uint16,uint32,"
                  "uint64,bfloat16,half,float,double}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunDivision<kReals, FloorModFn>)>,
     .in_place = InPlace::kAnyInput},
    {.signature = "Mod(x: T, y: T) -> (z: T); T: {int32,int64,half,half,bfloat16,float,double}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunDivision<kModTypes, TruncateModFn>)>,
     .in_place = InPlace::kAnyInput},
    {.signature =
         "TruncateDiv(x: T, y: T) -> (z: T); T: {bfloat16,half,float,double,uint8,int8,uint16,"
         "int16,int32,uint32,uint64,int64,complex64,complex128}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunDivision<kReals, TruncateDivFn>)>,
     .in_place = InPlace::kAnyInput},
    {.signature = "TruncateMod(x: T, y: T) -> (z: T); T: {int32,int64,bfloat16,half,float,double}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunDivision<kModTypes, TruncateModFn>)>,
     .in_place = InPlace::kAnyInput},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> DivisionOps() { return kOps; }

}  // namespace savedmodel
