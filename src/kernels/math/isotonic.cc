// Isotonic regression: the nearest sequence that does not increase.
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/convert.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

Status IsotonicShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 1));
  return shape::SameAsInput0(ctx);
}

// A run of elements that share their mean.
struct Segment {
  double sum;
  int64_t count;
  double mean() const { return sum / static_cast<double>(count); }
};

// Pools neighbours while a later mean is above an earlier one.
template <class In, class Out>
void Regress(const In* x, int64_t n, Out* y, int32_t* segments) {
  std::vector<Segment> pools;
  for (int64_t i = 0; i < n; ++i) {
    pools.push_back({static_cast<double>(x[i]), 1});
    while (pools.size() > 1 && pools.back().mean() > pools[pools.size() - 2].mean()) {
      const Segment last = pools.back();
      pools.pop_back();
      pools.back().sum += last.sum;
      pools.back().count += last.count;
    }
  }
  for (size_t s = 0; s < pools.size(); ++s) {
    y = std::fill_n(y, pools[s].count, Convert<Out>(pools[s].mean()));
    segments = std::fill_n(segments, pools[s].count, static_cast<int32_t>(s));
  }
}

Status RunIsotonic(OpContext& ctx) {
  const Shape& shape = ctx.input(0).shape();
  const int64_t n = shape[shape.rank() - 1];
  if (shape.num_elements() == 0) return Status();
  return VisitDType<kReals>(ctx.input(0).dtype(), [&](auto in_tag) -> Status {
    return VisitDType<kFloats>(ctx.output_dtype(0), [&](auto out_tag) -> Status {
      const auto* x = ctx.in<typename decltype(in_tag)::type>(0);
      auto* y = ctx.out<typename decltype(out_tag)::type>(0);
      int32_t* segments = ctx.out<int32_t>(1);
      ctx.ParallelFor(shape.num_elements() / n, 10.0 * n, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          Regress(x + row * n, n, y + row * n, segments + row * n);
        }
      });
      return Status();
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature =
         "IsotonicRegression(input: T) -> (output: output_dtype, segments: int32); T: {float,"
         "double,int32,uint8,int16,int8,int64,bfloat16,uint16,half,uint32,uint64}; "
         "output_dtype: {half,bfloat16,float,double} = float",
     .shape = IsotonicShape,
     .build = BuildPlain<RunIsotonic>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> IsotonicOps() { return kOps; }

}  // namespace savedmodel
