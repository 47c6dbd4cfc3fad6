// Sums and means of rows picked by index: what embeddings of several features are made of. The
// rows themselves are never written together.
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/gather.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

Status GatherSumShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(1, 1));
  const Shape &params = ctx.input(0), &indices = ctx.input(1);
  if (!params.known_rank() || !indices.known_rank()) return Status();
  const Shape out = indices.WithDim(indices.rank() - 1, params[1]);
  if (!out.valid()) return Shape::Make(out.ToVector()).status();
  ctx.set_output(0, out);
  return Status();
}

Status GatherSum(OpContext& ctx, bool mean) {
  const Shape &params = ctx.input(0).shape(), &shape = ctx.input(1).shape();
  const int64_t size = params[0], columns = params[1], taps = shape[shape.rank() - 1];
  const int64_t rows = shape.Product(0, shape.rank() - 1);
  SM_CHECK_ARG(taps >= 1 && taps <= kMostGathered, "found sums of ", taps, " rows, expected 1 to ",
               kMostGathered);
  const IntReader index(ctx.input(1));
  for (int64_t i = 0; i < rows * taps; ++i) {
    SM_CHECK_ARG(index[i] >= 0 && index[i] < size, "indices[", i, "] is ", index[i],
                 ", expected an index in [0, ", size, ")");
  }
  const float* table = ctx.in<float>(0);
  float* out = ctx.out<float>(0);
  const int64_t bytes = columns * static_cast<int64_t>(sizeof(float));
  const float scale = mean ? 1 / static_cast<float>(taps) : 1;
  const double cost = static_cast<double>(taps) * (4 + 0.05 * static_cast<double>(bytes));
  ctx.ParallelFor(rows, cost, [&](int64_t begin, int64_t end) {
    const float* of_row[kMostGathered];
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t t = 0; t < taps; ++t) {
        of_row[t] = table + index[row * taps + t] * columns;
        if (row + 1 < end) FetchRow(table, index[(row + 1) * taps + t], bytes);
      }
      Vectors().pool_sum({.taps = of_row,
                          .num_taps = taps,
                          .channels = columns,
                          .scale = scale,
                          .y = out + row * columns});
    }
  });
  return Status();
}

StatusOr<KernelPtr> BuildGatherSum(BuildContext& build) {
  const bool mean = build.attrs().Bool("mean");
  return MakeKernel([mean](OpContext& ctx) { return GatherSum(ctx, mean); });
}

constexpr OpDef kOps[] = {
    {.signature = "_GatherSum(params: float, indices: Tindices) -> (y: float); "
                  "mean: bool = false; Tindices: {int32,int64}",
     .shape = GatherSumShape,
     .build = BuildGatherSum},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> GatherSumOps() { return kOps; }

}  // namespace savedmodel
