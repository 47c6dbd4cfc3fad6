// Strings of one tensor joined: ReduceJoin, UnsortedSegmentJoin.
#include <algorithm>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/string/string_ops.h"

namespace savedmodel {
namespace {

// Non-negative axes in the order given; the first varies fastest.
StatusOr<std::vector<int>> ParseAxes(const std::vector<int64_t>& given, int rank) {
  std::vector<int> axes;
  std::vector<bool> seen(static_cast<size_t>(rank), false);
  for (const int64_t axis : given) {
    if (axis < -rank || axis >= rank) {
      return OutOfRange("Invalid reduction dimension ", axis, " for input with ", rank,
                        " dimension(s)");
    }
    axes.push_back(static_cast<int>(axis < 0 ? axis + rank : axis));
    const size_t at = static_cast<size_t>(axes.back());
    SM_CHECK_ARG(!seen[at], "Duplicate reduction dimension ", axis);
    seen[at] = true;
  }
  return axes;
}

Status ReduceJoinShape(ShapeContext& ctx) {
  std::vector<int64_t> given;
  const Shape& in = ctx.input(0);
  if (!in.known_rank() || !ctx.IntValues(1, &given)) return Status();
  SM_ASSIGN_OR_RETURN(const std::vector<int> axes, ParseAxes(given, in.rank()));
  std::vector<bool> reduced(static_cast<size_t>(in.rank()), false);
  for (const int axis : axes) reduced[static_cast<size_t>(axis)] = true;
  std::vector<int64_t> out;
  for (int i = 0; i < in.rank(); ++i) {
    if (!reduced[static_cast<size_t>(i)]) {
      out.push_back(in[i]);
    } else if (ctx.attrs().Bool("keep_dims")) {
      out.push_back(1);
    }
  }
  ctx.set_output(0, Shape(out));
  return Status();
}

// Offsets of all elements of the sub-tensor of `axes`, the first axis varying fastest.
std::vector<int64_t> Offsets(const Shape& shape, const std::vector<int>& axes) {
  std::vector<int64_t> offsets = {0};
  for (const int axis : axes) {
    const int64_t step = shape.Product(axis + 1, shape.rank());
    std::vector<int64_t> more;
    for (int64_t i = 0; i < shape[axis]; ++i) {
      for (const int64_t offset : offsets) more.push_back(offset + i * step);
    }
    offsets = std::move(more);
  }
  return offsets;
}

StatusOr<KernelPtr> BuildReduceJoin(BuildContext& build) {
  return MakeKernel([separator = build.attrs().String("separator")](OpContext& ctx) -> Status {
    const Shape& shape = ctx.input(0).shape();
    SM_ASSIGN_OR_RETURN(const std::vector<int> axes, ParseAxes(ctx.IntsInput(1), shape.rank()));
    // Joins of nothing are empty, as the output already is.
    if (shape.num_elements() == 0) return Status();
    std::vector<int> kept;
    for (int i = shape.rank() - 1; i >= 0; --i) {
      if (std::find(axes.begin(), axes.end(), i) == axes.end()) kept.push_back(i);
    }
    const std::vector<int64_t> inner = Offsets(shape, axes), outer = Offsets(shape, kept);
    const std::string* in = ctx.in<std::string>(0);
    std::string* out = ctx.out<std::string>(0);
    ctx.ParallelFor(static_cast<int64_t>(outer.size()), 50.0 * static_cast<double>(inner.size()),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i) {
                        std::string joined;
                        for (size_t k = 0; k < inner.size(); ++k) {
                          if (k > 0) joined += separator;
                          joined += in[outer[static_cast<size_t>(i)] + inner[k]];
                        }
                        out[i] = std::move(joined);
                      }
                    });
    return Status();
  });
}

Status SegmentJoinShape(ShapeContext& ctx) {
  const Shape& in = ctx.input(0);
  const Shape& ids = ctx.input(1);
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(1, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 0));
  if (!in.known_rank() || !ids.known_rank()) return Status();
  SM_CHECK_ARG(ids.rank() <= in.rank() && ids.CompatibleWith(in.Slice(0, ids.rank())),
               "segment_ids: found shape ", ids, ", expected a prefix of the inputs' shape ", in);
  int64_t segments = -1;
  if (ctx.IntValue(2, &segments)) {
    SM_CHECK_ARG(segments >= 0, "Number of segments must be non-negative but got ", segments);
  }
  ctx.set_output(0, Shape({segments}).Concat(in.Slice(ids.rank(), in.rank())));
  return Status();
}

StatusOr<KernelPtr> BuildSegmentJoin(BuildContext& build) {
  return MakeKernel([separator = build.attrs().String("separator")](OpContext& ctx) -> Status {
    const std::vector<int64_t> ids = ctx.IntsInput(1);
    const int64_t segments = ctx.IntInput(2);
    const Shape& shape = ctx.output(0).shape();
    const int64_t inner = shape.Product(1, shape.rank());
    const std::string* in = ctx.in<std::string>(0);
    std::string* out = ctx.out<std::string>(0);
    std::vector<bool> begun(inner == 0 ? 0 : static_cast<size_t>(segments), false);
    for (size_t i = 0; i < ids.size(); ++i, in += inner) {
      SM_CHECK_ARG(ids[i] >= 0 && ids[i] < segments, "segment_ids: found ", ids[i],
                   ", expected 0 to num_segments = ", segments, " (exclusive)");
      const size_t segment = static_cast<size_t>(ids[i]);
      for (int64_t k = 0; k < inner; ++k) {
        std::string& joined = out[ids[i] * inner + k];
        if (begun[segment]) joined += separator;
        joined += in[k];
      }
      if (inner > 0) begun[segment] = true;
    }
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "ReduceJoin(inputs: string, reduction_indices: int32) -> (output: string); "
                  "keep_dims: bool = false; separator: string = ''",
     .shape = ReduceJoinShape,
     .build = BuildReduceJoin},
    {.signature = "UnsortedSegmentJoin(inputs: string, segment_ids: Tindices, "
                  "num_segments: Tnumsegments) -> (output: string); separator: string = ''; "
                  "Tindices: {int32,int64}; Tnumsegments: {int32,int64} = int32",
     .shape = SegmentJoinShape,
     .build = BuildSegmentJoin},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> StringReduceJoinOps() { return kOps; }

}  // namespace savedmodel
