// CheckNumerics, and the cross product.
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/integer_math.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

struct Abnormal {
  bool nan = false;
  bool minus_inf = false;
  bool plus_inf = false;
};

StatusOr<Abnormal> FindAbnormal(const Tensor& tensor) {
  Abnormal found;
  Status status = VisitDType<kFloats>(tensor.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    for (const T& element : tensor.values<T>()) {
      const ComputeType<T> x = element;
      if (std::isfinite(x)) continue;
      (x != x ? found.nan : x < 0 ? found.minus_inf : found.plus_inf) = true;
    }
    return Status();
  });
  SM_RETURN_IF_ERROR(status);
  return found;
}

// Version 1 tells NaN and infinities apart, version 2 also the infinities' signs.
std::string Describe(const Abnormal& found, bool v2) {
  std::vector<std::string> kinds;
  if (v2) {
    if (found.minus_inf) kinds.push_back("-Inf");
    if (found.plus_inf) kinds.push_back("+Inf");
  } else if (found.minus_inf || found.plus_inf) {
    kinds.push_back("Inf");
  }
  if (found.nan) kinds.push_back("NaN");
  return StrJoin(kinds, " and ");
}

StatusOr<KernelPtr> BuildCheckNumerics(BuildContext& build) {
  const bool v2 = build.op_name() == "CheckNumericsV2";
  return MakeKernel([v2, message = build.attrs().String("message")](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const Abnormal found, FindAbnormal(ctx.input(0)));
    if (found.nan || found.minus_inf || found.plus_inf) {
      return InvalidArgument(message, " : Tensor had ", Describe(found, v2), " values");
    }
    return ctx.ForwardInput(0, 0, ctx.input(0).shape());
  });
}

Status CrossShape(ShapeContext& ctx) {
  const Shape &a = ctx.input(0), &b = ctx.input(1);
  SM_CHECK_ARG(a.CompatibleWith(b), "Both inputs must be of same shape: ", a, " vs. ", b);
  SM_ASSIGN_OR_RETURN(Shape out, a.Merge(b));
  if (out.known_rank()) {
    SM_CHECK_ARG(out.rank() >= 1, "Input must be at least 1D, found shape ", out);
    const int64_t last = out[out.rank() - 1];
    if (last != 3 && last != -1) {
      return FailedPrecondition("Cross-products are only defined for 3-element vectors, found ",
                                out);
    }
  }
  ctx.set_output(0, std::move(out));
  return Status();
}

Status RunCross(OpContext& ctx) {
  return VisitDType<kReals>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T *a = ctx.in<T>(0), *b = ctx.in<T>(1);
    T* y = ctx.out<T>(0);
    const auto minor = [](const T& p, const T& q, const T& r, const T& s) {
      return WrapSub(WrapMul(p, q), WrapMul(r, s));
    };
    for (int64_t i = 0, n = ctx.input(0).num_elements(); i + 2 < n; i += 3) {
      const T a0 = a[i], a1 = a[i + 1], a2 = a[i + 2];
      const T b0 = b[i], b1 = b[i + 1], b2 = b[i + 2];
      y[i] = minor(a1, b2, a2, b1);
      y[i + 1] = minor(a2, b0, a0, b2);
      y[i + 2] = minor(a0, b1, a1, b0);
    }
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature =
         "CheckNumerics(tensor: T) -> (output: T); T: {bfloat16,half,float,double}; message: "
         "string",
     .effects = Effects::kWritesState,
     .shape = shape::SameAsInput0,
     .build = BuildCheckNumerics},
    {.signature =
         "CheckNumericsV2(tensor: T) -> (output: T); T: {bfloat16,half,float,double}; message: "
         "string",
     .effects = Effects::kWritesState,
     .shape = shape::SameAsInput0,
     .build = BuildCheckNumerics},
    {.signature =
         "Cross(a: T, b: T) -> (product: T); T: {float,double,int32,uint8,int16,int8,int64,"
         "bfloat16,uint16,half,uint32,uint64}",
     .shape = CrossShape,
     .build = BuildPlain<RunCross>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> CheckOps() { return kOps; }

}  // namespace savedmodel
