// Sums of many tensors of one shape.
#include "src/graph/op_signature.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/integer_math.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

Status SumShape(ShapeContext& ctx) {
  Shape out = ctx.input(0);
  for (int i = 1; i < ctx.num_inputs(); ++i) {
    StatusOr<Shape> merged = out.Merge(ctx.input(i));
    SM_CHECK_ARG(merged.ok(), "inputs must have the same shape, found ", out, " and ",
                 ctx.input(i));
    out = *std::move(merged);
  }
  ctx.set_output(0, std::move(out));
  return Status();
}

Status RunSum(OpContext& ctx) {
  return VisitDType<kNumbers>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    std::vector<const T*> inputs(ctx.num_inputs());
    for (int i = 0; i < ctx.num_inputs(); ++i) inputs[i] = ctx.in<T>(i);
    T* y = ctx.out<T>(0);
    constexpr int64_t kBlock = 512;
    const auto add = [&](int64_t begin, int64_t end) {
      ComputeType<T> sum[kBlock];
      for (int64_t at = begin; at < end; at += kBlock) {
        const int64_t n = std::min(kBlock, end - at);
        for (int64_t i = 0; i < n; ++i) sum[i] = ComputeType<T>(inputs[0][at + i]);
        for (size_t k = 1; k < inputs.size(); ++k) {
          const T* x = inputs[k] + at;
          for (int64_t i = 0; i < n; ++i) sum[i] = WrapAdd(sum[i], ComputeType<T>(x[i]));
        }
        for (int64_t i = 0; i < n; ++i) y[at + i] = T(sum[i]);
      }
    };
    ctx.ParallelFor(ctx.output(0).num_elements(), 0.4 * inputs.size(), add);
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature =
         "AccumulateNV2(inputs: N * T) -> (sum: T); N: int >= 1; T: {float,double,int32,uint8,"
         "int16,int8,complex64,int64,qint8,quint8,qint32,bfloat16,qint16,quint16,uint16,"
         "complex128,half,uint32,uint64}; shape: shape",
     .shape = SumShape,
     .build = BuildPlain<RunSum>,
     .in_place = InPlace::kAnyInput},
    {.signature =
         "AddN(inputs: N * T) -> (sum: T); N: int >= 1; T: {float,double,int32,uint8,int16,"
         "int8,complex64,int64,qint8,quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,"
         "half,uint32,uint64,variant}",
     .shape = SumShape,
     .build = BuildPlain<RunSum>,
     .in_place = InPlace::kAnyInput},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SumOfTensorsOps() { return kOps; }

}  // namespace savedmodel
