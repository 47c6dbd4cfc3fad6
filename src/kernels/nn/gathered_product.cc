// Products of rows that are picked by index from a constant table with constant weights, sums of
// such products, or the largest of a line's sums: what dense layers, convolutions and global max
// pooling make of embeddings.
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
  if (ctx.attrs().Bool("largest")) out.pop_back();
  out.push_back(weights[weights.rank() - 1]);
  SM_ASSIGN_OR_RETURN(const Shape shape, Shape::Make(out));
  ctx.set_output(0, shape);
  return Status();
}

// What lines of indices pick: rows of products, one after the other, and how many outputs a line
// has.
struct Lines {
  const float* const* rows;
  int64_t outputs;
  TapSumArgs args;  // of any line

  TapSumArgs operator[](int64_t i) const {
    TapSumArgs of_line = args;
    of_line.rows = rows + i * args.num_rows;
    return of_line;
  }
};

void WriteSums(OpContext& ctx, const Lines& lines, const Epilogue& epilogue) {
  constexpr int64_t kBlock = 16;  // outputs that the first cache level holds
  const int64_t columns = lines.args.columns, count = ctx.output(0).num_elements() / columns;
  float* const y = ctx.out<float>(0);
  const double cost = 4 + 0.03 * static_cast<double>(lines.args.taps * columns);
  ctx.ParallelFor(CeilDiv(count, kBlock), kBlock * cost, [&](int64_t begin, int64_t end) {
    const int64_t end_of_job = std::min(end * kBlock, count);
    for (int64_t at = begin * kBlock, last = 0; at < end_of_job; at = last) {
      const int64_t line = at / lines.outputs, first = at - line * lines.outputs;
      last = std::min({at + kBlock, (line + 1) * lines.outputs, end_of_job});
      Vectors().sum_taps(lines[line], first, first + last - at, y + at * columns);
      epilogue.ApplySteps(y, columns, at, last);
    }
  });
}

// The largest sums of each line. What is behind them gives more for more, so that it can follow.
void WriteLargest(OpContext& ctx, const Lines& lines, const Epilogue& epilogue) {
  constexpr int64_t kColumns = 64;  // of a job
  const int64_t columns = lines.args.columns, count = ctx.output(0).num_elements() / columns;
  const int64_t groups = CeilDiv(columns, kColumns);
  float* const y = ctx.out<float>(0);
  const double cost = static_cast<double>(lines.outputs) *
                      (4 + 0.03 * static_cast<double>(lines.args.taps * kColumns));
  ctx.ParallelFor(count * groups, cost, [&](int64_t begin, int64_t end) {
    for (int64_t job = begin; job < end; ++job) {
      const int64_t line = job / groups, first = job % groups * kColumns;
      Vectors().largest_sums(lines[line], lines.outputs, first, std::min(first + kColumns, columns),
                             y + line * columns);
    }
  });
  if (lines.outputs > 0) epilogue.ApplySteps(y, columns, 0, count);  // of none it is -inf
}

Status RunGatheredProduct(OpContext& ctx, const Taps& taps, bool largest, RowProducts* products,
                          Span<const EpilogueStep> steps) {
  SM_ASSIGN_OR_RETURN(const RowProducts::Picked picked, products->Pick(ctx, ctx.input(1)));
  const Shape &indices = ctx.input(1).shape(), &out = ctx.output(0).shape();
  if (out.num_elements() == 0) return Status();
  Epilogue epilogue;
  SM_RETURN_IF_ERROR(epilogue.Resolve(ctx, steps, out));
  Lines lines{.rows = picked.rows(),
              .args = {.num_rows = indices[indices.rank() - 1],
                       .taps = taps.count,
                       .columns = out[out.rank() - 1],
                       .stride = taps.stride,
                       .dilation = taps.dilation,
                       .before = taps.before}};
  SM_ASSIGN_OR_RETURN(lines.outputs, taps.OutputRows(lines.args.num_rows));
  if (lines.outputs > 0) lines.args.bias = epilogue.bias;
  (largest ? WriteLargest : WriteSums)(ctx, lines, epilogue);
  return Status();
}

StatusOr<KernelPtr> BuildGatheredProduct(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(std::shared_ptr<RowProducts> products, RowProducts::Share(build, 0, 2));
  SM_ASSIGN_OR_RETURN(const Taps taps, ReadTaps(build.attrs(), build.constant_input(2)->shape()));
  const bool largest = build.attrs().Bool("largest");
  const std::vector<EpilogueStep> steps(build.epilogue().begin(), build.epilogue().end());
  return MakeKernel(
      [taps, largest, products, steps](OpContext& ctx) {
        return RunGatheredProduct(ctx, taps, largest, products.get(), steps);
      },
      largest ? "the largest of products that are kept by row" : "products that are kept by row");
}

constexpr OpDef kOps[] = {
    {.signature = "_GatheredProduct(params: float, indices: Tindices, weights: float) -> (y: "
                  "float); Tindices: {int32,int64}; stride: int = 1; dilation: int = 1; before: "
                  "int = 0; after: int = 0; largest: bool = false",
     .shape = GatheredProductShape,
     .build = BuildGatheredProduct,
     .fusion = {.accepts_epilogue = true}},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> GatheredProductOps() { return kOps; }

}  // namespace savedmodel
