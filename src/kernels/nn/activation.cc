// Activations that are not plain scalar functions of the math families.
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// y = x > 0 ? x : alpha * x
StatusOr<KernelPtr> BuildLeakyRelu(BuildContext& build) {
  const float alpha = build.attrs().Float("alpha");
  return MakeKernel([alpha](OpContext& ctx) {
    return VisitDType<kFloats>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T* x = ctx.in<T>(0);
      T* y = ctx.out<T>(0);
      ctx.ParallelFor(ctx.input(0).num_elements(), 0.5, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) y[i] = x[i] > T(0) ? x[i] : T(alpha) * x[i];
      });
      return Status();
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature = "LeakyRelu(features: T) -> (activations: T); alpha: float = 0.2; "
                  "T: {half,bfloat16,float,double} = float",
     .shape = shape::SameAsInput0,
     .build = BuildLeakyRelu,
     .fusion = {.scalar = ScalarOp::kLeakyRelu},
     .in_place = InPlace::kInput0},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ActivationOps() { return kOps; }

}  // namespace savedmodel
