// Logic on booleans and on the bits of integers.
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

struct AndFn {
  static constexpr double kCost = 0.3;
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a & b);
  }
};

struct OrFn {
  static constexpr double kCost = 0.3;
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a | b);
  }
};

struct XorFn {
  static constexpr double kCost = 0.3;
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a ^ b);
  }
};

// Booleans are bytes of 0 or 1, of which a vector holds many.
void NotBytes(const uint8_t* x, int64_t n, uint8_t* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] ^ 1;
}

Status LogicalNot(OpContext& ctx) {
  const auto* x = static_cast<const uint8_t*>(ctx.input(0).raw_data());
  auto* y = static_cast<uint8_t*>(ctx.output(0).raw_mutable_data());
  ctx.ParallelFor(ctx.input(0).num_elements(), 0.05,
                  [&](int64_t begin, int64_t end) { NotBytes(x + begin, end - begin, y + begin); });
  return Status();
}

struct InvertFn {
  static constexpr double kCost = 0.3;
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(~a);
  }
};

struct PopulationCountFn {
  static constexpr double kCost = 1;
  template <class T>
  uint8_t operator()(T a) const {
    return static_cast<uint8_t>(__builtin_popcountll(static_cast<std::make_unsigned_t<T>>(a)));
  }
};

// A shift distance outside [0, bits) counts as the nearest that is inside.
template <class T>
int ClampedShift(T distance) {
  constexpr int kMost = static_cast<int>(sizeof(T) * 8) - 1;
  if (std::is_signed_v<T> && distance < T(0)) return 0;
  return distance > T(kMost) ? kMost : static_cast<int>(distance);
}

struct LeftShiftFn {
  static constexpr double kCost = 1;
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<uint64_t>(a) << ClampedShift(b));
  }
};

struct RightShiftFn {
  static constexpr double kCost = 1;
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a >> ClampedShift(b));
  }
};

inline constexpr DTypeSet kBool = Only(DType::kBool);

constexpr OpDef kOps[] = {
    {.signature =
         "BitwiseAnd(x: T, y: T) -> (z: T); T: {int8,int16,int32,int64,uint8,uint16,uint32,"
         "uint64}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kInts, AndFn>)>,
     .in_place = InPlace::kAnyInput},
    {.signature = "BitwiseOr(x: T, y: T) -> (z: T); T: {int8,int16,int32,int64,uint8,uint16,uint32,"
                  "uint64}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kInts, OrFn>)>,
     .in_place = InPlace::kAnyInput},
    {.signature =
         "BitwiseXor(x: T, y: T) -> (z: T); T: {int8,int16,int32,int64,uint8,uint16,uint32,"
         "uint64}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kInts, XorFn>)>,
     .in_place = InPlace::kAnyInput},
    {.signature = "Invert(x: T) -> (y: T); T: {int8,int16,int32,int64,uint8,uint16,uint32,uint64}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<(RunUnary<kInts, InvertFn>)>,
     .in_place = InPlace::kInput0},
    {.signature = "LeftShift(x: T, y: T) -> (z: T); T: {int8,int16,int32,int64,uint8,uint16,uint32,"
                  "uint64}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kInts, LeftShiftFn>)>,
     .in_place = InPlace::kAnyInput},
    {.signature = "LogicalAnd(x: bool, y: bool) -> (z: bool)",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kBool, AndFn>)>,
     .in_place = InPlace::kAnyInput},
    {.signature = "LogicalNot(x: bool) -> (y: bool)",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<LogicalNot>,
     .in_place = InPlace::kInput0},
    {.signature = "LogicalOr(x: bool, y: bool) -> (z: bool)",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kBool, OrFn>)>,
     .in_place = InPlace::kAnyInput},
    {.signature =
         "PopulationCount(x: T) -> (y: uint8); T: {int8,int16,int32,int64,uint8,uint16,uint32,"
         "uint64}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<(RunUnary<kInts, PopulationCountFn>)>},
    {.signature =
         "RightShift(x: T, y: T) -> (z: T); T: {int8,int16,int32,int64,uint8,uint16,uint32,"
         "uint64}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kInts, RightShiftFn>)>,
     .in_place = InPlace::kAnyInput},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> BitwiseOps() { return kOps; }

}  // namespace savedmodel
