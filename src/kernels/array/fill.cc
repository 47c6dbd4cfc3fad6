// Ops that make tensors out of sizes and scalars.
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/array/strided_copy.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// Output 0 has the shape that the values of integer vector input 0 say.
Status FromInput0(ShapeContext& ctx) {
  SM_CHECK_ARG(ctx.input(0).rank() <= 1, "the dimensions have shape ", ctx.input(0),
               ", expected a vector");
  std::vector<int64_t> dims;
  if (!KnownInts(ctx, 0, &dims)) return Status();
  SM_ASSIGN_OR_RETURN(Shape out, ShapeOf(dims));
  ctx.set_output(0, std::move(out));
  return Status();
}

Status FillShape(ShapeContext& ctx) {
  const Shape& value = ctx.input(1);
  SM_CHECK_ARG(!value.fully_known() || value.num_elements() == 1, "value has shape ", value,
               ", expected a scalar");
  return FromInput0(ctx);
}

Status Fill(OpContext& ctx) {
  FillElements(ctx, ctx.output_dtype(0), ctx.input(1).raw_data(), ctx.output(0).raw_mutable_data(),
               ctx.output(0).num_elements());
  return Status();
}

Status Zeros(OpContext& ctx) {
  ZeroElements(ctx.output_dtype(0), ctx.output(0).raw_mutable_data(), ctx.output(0).num_elements());
  return Status();
}

Status OnesLike(OpContext& ctx) {
  return VisitDType<kNumbers | Only(DType::kBool)>(ctx.output_dtype(0), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T one(1);
    FillElements(ctx, ctx.output_dtype(0), &one, ctx.out<T>(0), ctx.output(0).num_elements());
    return Status();
  });
}

// Number of elements of Range.
template <class T>
StatusOr<int64_t> RangeSize(T start, T limit, T delta) {
  SM_CHECK_ARG(delta != T(0), "delta is 0, expected a step that is not");
  if (delta > T(0)) {
    SM_CHECK_ARG(start <= limit, "start is above limit, expected start <= limit for delta > 0");
  } else {
    SM_CHECK_ARG(start >= limit, "start is below limit, expected start >= limit for delta < 0");
  }
  if constexpr (std::is_integral_v<T>) {
    const auto wide = [](T v) { return static_cast<uint64_t>(static_cast<int64_t>(v)); };
    const uint64_t distance = delta > T(0) ? wide(limit) - wide(start) : wide(start) - wide(limit);
    const uint64_t step = delta > T(0) ? wide(delta) : uint64_t{0} - wide(delta);
    const uint64_t size = distance / step + (distance % step != 0);
    SM_CHECK_ARG(size <= INT64_MAX, "the range has too many elements");
    return static_cast<int64_t>(size);
  } else {
    const double steps = std::ceil(std::abs(static_cast<double>(T(T(limit - start) / delta))));
    SM_CHECK_ARG(steps < 9.2e18, "the range has too many elements");
    return static_cast<int64_t>(steps);
  }
}

inline constexpr DTypeSet kRangeTypes = kReals & ~Only(DType::kUInt8);

Status RangeShape(ShapeContext& ctx) {
  for (int i = 0; i < 3; ++i) {
    const Shape& s = ctx.input(i);
    SM_CHECK_ARG(!s.fully_known() || s.num_elements() == 1, "input ", i, " has shape ", s,
                 ", expected a scalar");
  }
  const Tensor *start = ctx.value(0), *limit = ctx.value(1), *delta = ctx.value(2);
  ctx.set_output(0, Shape({-1}));
  if (start == nullptr || limit == nullptr || delta == nullptr) return Status();
  return VisitDType<kRangeTypes>(start->dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    SM_ASSIGN_OR_RETURN(const int64_t n,
                        RangeSize<T>(*start->data<T>(), *limit->data<T>(), *delta->data<T>()));
    ctx.set_output(0, Shape({n}));
    return Status();
  });
}

Status Range(OpContext& ctx) {
  return VisitDType<kRangeTypes>(ctx.output_dtype(0), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T start = *ctx.in<T>(0), delta = *ctx.in<T>(2);
    T* out = ctx.out<T>(0);
    const int64_t n = ctx.output(0).num_elements();
    if constexpr (std::is_integral_v<T>) {
      for (int64_t i = 0; i < n; ++i) {
        out[i] = static_cast<T>(static_cast<uint64_t>(start) +
                                static_cast<uint64_t>(delta) * static_cast<uint64_t>(i));
      }
    } else {
      using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;
      for (int64_t i = 0; i < n; ++i) out[i] = start + T(static_cast<Wide>(i)) * delta;
    }
    return Status();
  });
}

Status LinSpaceShape(ShapeContext& ctx) {
  for (int i = 0; i < 3; ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 0));
  ctx.set_output(0, Shape({-1}));
  int64_t n = 0;
  SM_ASSIGN_OR_RETURN(const bool known, KnownScalar(ctx, 2, &n));
  if (!known) return Status();
  SM_CHECK_ARG(n > 0, "num is ", n, ", expected num > 0");
  ctx.set_output(0, Shape({n}));
  return Status();
}

Status LinSpace(OpContext& ctx) {
  return VisitDType<kFloats>(ctx.output_dtype(0), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T start = *ctx.in<T>(0), stop = *ctx.in<T>(1);
    T* out = ctx.out<T>(0);
    const int64_t n = ctx.output(0).num_elements();
    out[0] = start;
    if (n == 1) return Status();
    const T step = (stop - start) / static_cast<T>(n - 1);
    for (int64_t i = 1; i < n - 1; ++i) out[i] = start + step * static_cast<T>(i);
    out[n - 1] = stop;
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "Empty(shape: int32) -> (output: dtype); dtype: type; init: bool = false",
     .effects = Effects::kReadsState,
     .shape = FromInput0,
     .build = BuildPlain<Zeros>},
    {.signature = "Fill(dims: index_type, value: T) -> (output: T); T: type; "
                  "index_type: {int32,int64} = int32",
     .shape = FillShape,
     .build = BuildPlain<Fill>},
    {.signature = "LinSpace(start: T, stop: T, num: Tidx) -> (output: T); "
                  "T: {bfloat16,half,float,double}; Tidx: {int32,int64} = int32",
     .shape = LinSpaceShape,
     .build = BuildPlain<LinSpace>},
    {.signature = "OnesLike(x: T) -> (y: T); T: {bfloat16,half,float,double,int8,uint8,int16,"
                  "uint16,int32,uint32,int64,uint64,complex64,complex128,bool}",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<OnesLike>},
    {.signature = "Range(start: Tidx, limit: Tidx, delta: Tidx) -> (output: Tidx); "
                  "Tidx: {bfloat16,half,float,double,int8,int16,int32,int64,uint16,uint32,"
                  "uint64} = int32",
     .shape = RangeShape,
     .build = BuildPlain<Range>},
    {.signature = "ZerosLike(x: T) -> (y: T); T: type",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<Zeros>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> FillOps() { return kOps; }

}  // namespace savedmodel
