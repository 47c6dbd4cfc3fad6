// Comparisons.
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

#define SM_COMPARISON(Name, op)                     \
  struct Name##Fn {                                 \
    static constexpr double kCost = 0.5;            \
    template <class T>                              \
    bool operator()(const T& a, const T& b) const { \
      return a op b;                                \
    }                                               \
  }
SM_COMPARISON(Equal, ==);
SM_COMPARISON(NotEqual, !=);
SM_COMPARISON(Less, <);
SM_COMPARISON(LessEqual, <=);
SM_COMPARISON(Greater, >);
SM_COMPARISON(GreaterEqual, >=);
#undef SM_COMPARISON

// Like Broadcast, but where incompatible shapes are no error the output may turn out a scalar.
Status EqualityShape(ShapeContext& ctx) {
  const StatusOr<Shape> out = shape::BroadcastShapes(ctx.input(0), ctx.input(1));
  if (ctx.attrs().Bool("incompatible_shape_error")) {
    SM_RETURN_IF_ERROR(out.status());
    ctx.set_output(0, *out);
  } else if (!out.ok()) {
    ctx.set_output(0, Shape());
  } else if (out->fully_known() && ctx.input(0).fully_known() && ctx.input(1).fully_known()) {
    ctx.set_output(0, *out);
  }
  return Status();
}

// Operands whose shapes do not broadcast are unequal as wholes.
template <class F>
Status RunEquality(OpContext& ctx) {
  if (!shape::BroadcastShapes(ctx.input(0).shape(), ctx.input(1).shape()).ok()) {
    *ctx.out<bool>(0) = std::is_same_v<F, NotEqualFn>;
    return Status();
  }
  constexpr DTypeSet kComparable =
      kNumbers | kQuantized | Only(DType::kBool) | Only(DType::kString);
  return RunBinary<kComparable, F>(ctx);
}

Status ApproximateEqualShape(ShapeContext& ctx) {
  const Shape &x = ctx.input(0), &y = ctx.input(1);
  SM_CHECK_ARG(x.CompatibleWith(y), "x and y must be of the same shape, found ", x, " and ", y);
  SM_ASSIGN_OR_RETURN(Shape merged, x.Merge(y));
  ctx.set_output(0, std::move(merged));
  return Status();
}

StatusOr<KernelPtr> BuildApproximateEqual(BuildContext& build) {
  const float tolerance = build.attrs().Float("tolerance");
  return MakeKernel([tolerance](OpContext& ctx) {
    return VisitDType<kFloatDouble>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T *x = ctx.in<T>(0), *y = ctx.in<T>(1);
      bool* z = ctx.out<bool>(0);
      for (int64_t i = 0, n = ctx.input(0).num_elements(); i < n; ++i) {
        z[i] = std::abs(x[i] - y[i]) < static_cast<T>(tolerance);
      }
      return Status();
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature =
         "ApproximateEqual(x: T, y: T) -> (z: bool); T: {float,double,int32,uint8,int16,int8,"
         "complex64,int64,qint8,quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,half,"
         "uint32,uint64}; tolerance: float = 1e-05",
     .shape = ApproximateEqualShape,
     .build = BuildApproximateEqual},
    {.signature = "Equal(x: T, y: T) -> (z: bool); T: type; incompatible_shape_error: bool = true",
     .shape = EqualityShape,
     .build = BuildPlain<RunEquality<EqualFn>>,
     .fusion = {.scalar = ScalarOp::kEqual}},
    {.signature = "Greater(x: T, y: T) -> (z: bool); T: {float,double,int32,uint8,int16,int8,int64,"
                  "bfloat16,uint16,half,uint32,uint64}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kReals, GreaterFn>)>,
     .fusion = {.scalar = ScalarOp::kGreater}},
    {.signature =
         "GreaterEqual(x: T, y: T) -> (z: bool); T: {float,double,int32,uint8,int16,int8,int64,"
         "bfloat16,uint16,half,uint32,uint64}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kReals, GreaterEqualFn>)>,
     .fusion = {.scalar = ScalarOp::kGreaterEqual}},
    {.signature = "Less(x: T, y: T) -> (z: bool); T: {float,double,int32,uint8,int16,int8,int64,"
                  "bfloat16,uint16,half,uint32,uint64}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kReals, LessFn>)>,
     .fusion = {.scalar = ScalarOp::kLess}},
    {.signature =
         "LessEqual(x: T, y: T) -> (z: bool); T: {float,double,int32,uint8,int16,int8,int64,"
         "bfloat16,uint16,half,uint32,uint64}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kReals, LessEqualFn>)>,
     .fusion = {.scalar = ScalarOp::kLessEqual}},
    {.signature =
         "NotEqual(x: T, y: T) -> (z: bool); T: type; incompatible_shape_error: bool = true",
     .shape = EqualityShape,
     .build = BuildPlain<RunEquality<NotEqualFn>>,
     .fusion = {.scalar = ScalarOp::kNotEqual}},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ComparisonOps() { return kOps; }

}  // namespace savedmodel
