// Products of rows that are picked by index from a constant table with constant weights, or sums of
// such products: what dense layers and convolutions make of embeddings.
#include <algorithm>
#include <memory>
#include <vector>

#include "src/base/ceil_div.h"
#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/row_products.h"

namespace savedmodel {
namespace {

// What the op does besides multiplying: tap t of output row i is row i * stride - before + t *
// dilation of those that a line of indices picks, where there is such a row.
struct Taps {
  int64_t count = 1, stride = 1, dilation = 1, before = 0, after = 0;

  // How many rows `rows` of a line give.
  StatusOr<int64_t> OutputRows(int64_t rows) const {
    SM_ASSIGN_OR_RETURN(
        const shape::WindowSize size,
        shape::WindowOutput(rows, count, dilation, stride, "EXPLICIT", before, after));
    return size.output;
  }
};

StatusOr<Taps> ReadTaps(const Attrs& attrs, const Shape& weights) {
  const Taps taps{weights.rank() == 3 ? weights[0] : 1, attrs.Int("stride"), attrs.Int("dilation"),
                  attrs.Int("before"), attrs.Int("after")};
  const auto fits = [](int64_t i, int64_t least) { return i >= least && i <= kMostTaps; };
  SM_CHECK_ARG(fits(taps.count, 1) && fits(taps.stride, 1) && fits(taps.dilation, 1) &&
                   fits(taps.before, 0) && fits(taps.after, 0),
               "found ", taps.count, " taps, stride ", taps.stride, ", dilation ", taps.dilation,
               ", padding ", taps.before, " and ", taps.after, ", expected at most ", kMostTaps);
  return taps;
}

Status GatheredProductShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(1, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(2, 2));
  const Shape &params = ctx.input(0), &indices = ctx.input(1), &weights = ctx.input(2);
  if (!params.fully_known() || !weights.fully_known()) return Status();
  SM_CHECK_ARG(weights.rank() <= 3 && weights[weights.rank() - 2] == params[1],
               "found weights of shape ", weights, ", expected [", params[1],
               ", columns] or [taps, ", params[1], ", columns]");
  SM_ASSIGN_OR_RETURN(const Taps taps, ReadTaps(ctx.attrs(), weights));
  if (!indices.known_rank()) return Status();
  std::vector<int64_t> out = indices.ToVector();
  if (out.back() >= 0) {
    SM_ASSIGN_OR_RETURN(out.back(), taps.OutputRows(out.back()));
  }
  out.push_back(weights[weights.rank() - 1]);
  SM_ASSIGN_OR_RETURN(const Shape shape, Shape::Make(out));
  ctx.set_output(0, shape);
  return Status();
}

Status GatheredProduct(OpContext& ctx, const Taps& taps, RowProducts* products,
                       Span<const EpilogueStep> steps) {
  constexpr int64_t kBlock = 16;  // rows that the first cache level holds
  const Shape &indices = ctx.input(1).shape(), &out = ctx.output(0).shape();
  const int64_t line = indices[indices.rank() - 1], out_line = out[out.rank() - 2];
  const int64_t columns = out[out.rank() - 1], count = out.Product(0, out.rank() - 1);
  SM_ASSIGN_OR_RETURN(const RowProducts::Picked picked, products->Pick(ctx, ctx.input(1)));
  const float* const* const rows = picked.rows();
  Epilogue epilogue;
  SM_RETURN_IF_ERROR(epilogue.Resolve(ctx, steps, out));
  const double cost = 4 + 0.03 * static_cast<double>(taps.count * columns);
  ctx.ParallelFor(CeilDiv(count, kBlock), kBlock * cost, [&](int64_t begin, int64_t end) {
    std::vector<const float*> terms(kBlock * (taps.count + 1));
    // Of the output that is next: where it is in its line, and the rows of its line.
    int64_t position = begin * kBlock % out_line;
    const float* const* of_line = rows + begin * kBlock / out_line * line;
    for (int64_t first = begin * kBlock; first < end * kBlock; first += kBlock) {
      const int64_t last = std::min(first + kBlock, count);
      int64_t num_terms = 0, counts[kBlock] = {};
      for (int64_t i = first; i < last; ++i) {
        const int64_t before = num_terms;
        for (int64_t t = 0, at = position * taps.stride - taps.before; t < taps.count;
             ++t, at += taps.dilation) {
          if (at >= 0 && at < line) terms[num_terms++] = of_line[at] + t * columns;
        }
        if (epilogue.bias != nullptr) terms[num_terms++] = epilogue.bias;
        counts[i - first] = num_terms - before;
        if (++position == out_line) position = 0, of_line += line;
      }
      Vectors().sum_rows(terms.data(), counts, last - first, columns,
                         ctx.out<float>(0) + first * columns);
      epilogue.ApplySteps(ctx.out<float>(0), columns, first, last);
    }
  });
  return Status();
}

StatusOr<KernelPtr> BuildGatheredProduct(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(std::shared_ptr<RowProducts> products, RowProducts::Share(build, 0, 2));
  SM_ASSIGN_OR_RETURN(const Taps taps, ReadTaps(build.attrs(), build.constant_input(2)->shape()));
  const std::vector<EpilogueStep> steps(build.epilogue().begin(), build.epilogue().end());
  return MakeKernel(
      [taps, products, steps](OpContext& ctx) {
        return GatheredProduct(ctx, taps, products.get(), steps);
      },
      "products that are kept by row");
}

constexpr OpDef kOps[] = {
    {.signature = "_GatheredProduct(params: float, indices: Tindices, weights: float) -> (y: "
                  "float); Tindices: {int32,int64}; stride: int = 1; dilation: int = 1; before: "
                  "int = 0; after: int = 0",
     .shape = GatheredProductShape,
     .build = BuildGatheredProduct,
     .fusion = {.accepts_epilogue = true}},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> GatheredProductOps() { return kOps; }

}  // namespace savedmodel
