// Sparse tensors joined and cut: SparseConcat, SparseSlice, SparseSplit.
#include <algorithm>
#include <numeric>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/sparse/coo.h"
#include "src/kernels/sparse/sparse_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// --------------------------------------------------------------------------------- SparseConcat

StatusOr<std::vector<int64_t>> ConcatShape(const std::vector<Coo>& parts, int64_t axis) {
  std::vector<int64_t> dims = parts[0].dims;
  for (size_t p = 1; p < parts.size(); ++p) {
    SM_CHECK_ARG(parts[p].dims.size() == dims.size(),
                 "Ranks of all input tensors must match: ", "expected ", dims.size(), " but got ",
                 parts[p].dims.size(), " at position ", p);
    for (size_t d = 0; d < dims.size(); ++d) {
      if (static_cast<int64_t>(d) != axis) {
        SM_CHECK_ARG(dims[d] == parts[p].dims[d], "Input shapes must match: expected ", dims[d],
                     " for dimension ", d, " but got ", parts[p].dims[d], " at position ", p);
      } else {
        SM_CHECK_ARG(!__builtin_add_overflow(dims[d], parts[p].dims[d], &dims[d]), "dimension ", d,
                     " of the concatenation overflows");
      }
    }
  }
  SM_RETURN_IF_ERROR(ShapeFromDims(dims).status());
  return dims;
}

StatusOr<KernelPtr> BuildConcat(BuildContext& build) {
  return MakeKernel([n = static_cast<int>(build.attrs().Int("N")),
                     given_axis = build.attrs().Int("concat_dim")](OpContext& ctx) -> Status {
    std::vector<Coo> parts;
    for (int i = 0; i < n; ++i) {
      SM_ASSIGN_OR_RETURN(Coo part, ReadCoo(ctx, i, n + i, 2 * n + i));
      parts.push_back(std::move(part));
    }
    SM_ASSIGN_OR_RETURN(const int64_t axis, CheckedAxis(given_axis, parts[0].rank()));
    SM_ASSIGN_OR_RETURN(const std::vector<int64_t> dims, ConcatShape(parts, axis));
    const int64_t rank = parts[0].rank();
    std::vector<int64_t> indices;
    std::vector<std::pair<size_t, int64_t>> entries;  // part, and entry in it
    int64_t offset = 0;
    for (size_t p = 0; p < parts.size(); ++p) {
      for (int64_t i = 0; i < parts[p].count; ++i) {
        indices.insert(indices.end(), parts[p].index(i), parts[p].index(i) + rank);
        int64_t& moved = indices[indices.size() - static_cast<size_t>(rank - axis)];
        SM_CHECK_ARG(!__builtin_add_overflow(moved, offset, &moved), "index overflows");
        entries.emplace_back(p, i);
      }
      offset += parts[p].dims[static_cast<size_t>(axis)];
    }
    Coo joined;
    joined.indices = indices.data();
    joined.count = static_cast<int64_t>(entries.size());
    joined.dims = dims;
    const std::vector<int64_t> order = joined.SortedOrder();
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, {joined.count, rank}));
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, {joined.count}));
    int64_t* out = ctx.out<int64_t>(0);
    for (const int64_t i : order) out = std::copy_n(joined.index(i), rank, out);
    SM_RETURN_IF_ERROR(EmitInts(ctx, 2, dims));
    return VisitByElementSize(ctx.output_dtype(1), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      T* values = static_cast<T*>(ctx.output(1).raw_mutable_data());
      for (const int64_t i : order) {
        const auto& [part, entry] = entries[static_cast<size_t>(i)];
        *values++ = static_cast<const T*>(parts[part].values->raw_data())[entry];
      }
      return Status();
    });
  });
}

// ---------------------------------------------------------------------------------- SparseSlice

// Outputs entries `picked` of `in`, their indices less `start`, and `dims`.
Status EmitEntries(OpContext& ctx, int indices_output, int values_output, int shape_output,
                   const Coo& in, const std::vector<int64_t>& picked,
                   const std::vector<int64_t>& start, const std::vector<int64_t>& dims) {
  const int64_t n = static_cast<int64_t>(picked.size());
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(indices_output, {n, in.rank()}));
  int64_t* out = ctx.out<int64_t>(indices_output);
  for (const int64_t i : picked) {
    for (size_t d = 0; d < start.size(); ++d) *out++ = in.index(i)[d] - start[d];
  }
  SM_RETURN_IF_ERROR(EmitInts(ctx, shape_output, dims));
  return EmitGathered(ctx, values_output, *in.values, picked);
}

Status Slice(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Coo in, ReadCoo(ctx, 0));
  const std::vector<int64_t> start = ctx.IntsInput(3), size = ctx.IntsInput(4);
  SM_CHECK_ARG(start.size() == in.dims.size() && size.size() == in.dims.size(),
               "start and size: found ", start.size(), " and ", size.size(),
               " elements, expected the rank ", in.dims.size());
  std::vector<int64_t> end(start.size()), dims(start.size());
  for (size_t d = 0; d < start.size(); ++d) {
    SM_CHECK_ARG(size[d] >= 0, "Expected a non-negative size, got ", size[d]);
    SM_CHECK_ARG(!__builtin_add_overflow(start[d], size[d], &end[d]), "start + size overflows");
    end[d] = std::min(end[d], in.dims[d]);
    // A start far below zero would make a giant dimension.
    SM_CHECK_ARG(!__builtin_sub_overflow(end[d], start[d], &dims[d]), "end - start overflows");
    dims[d] = std::max<int64_t>(dims[d], 0);
  }
  SM_RETURN_IF_ERROR(ShapeFromDims(dims).status());
  std::vector<int64_t> picked;
  for (int64_t i = 0; i < in.count; ++i) {
    bool inside = true;
    for (size_t d = 0; d < start.size() && inside; ++d) {
      inside = in.index(i)[d] >= start[d] && in.index(i)[d] < end[d];
    }
    if (inside) picked.push_back(i);
  }
  return EmitEntries(ctx, 0, 1, 2, in, picked, start, dims);
}

Status SliceShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ExpectCoo(ctx, 0));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(3, 1));
  return ctx.ExpectRank(4, 1);
}

// ---------------------------------------------------------------------------------- SparseSplit

// The first dim % parts parts are one longer than the others.
Status Split(OpContext& ctx, int64_t parts) {
  SM_ASSIGN_OR_RETURN(const Coo in, ReadCoo(ctx, 1));
  SM_ASSIGN_OR_RETURN(const int64_t axis, CheckedAxis(ctx.IntInput(0), in.rank()));
  const size_t d = static_cast<size_t>(axis);
  SM_CHECK_ARG(parts >= 1 && parts <= in.dims[d], "Input num_split should be between 1 and the ",
               "splitting dimension size (", in.dims[d], "), got ", parts);
  SM_RETURN_IF_ERROR(in.CheckBounds());
  const int64_t length = in.dims[d] / parts, longer = in.dims[d] % parts;
  const int64_t threshold = longer * (length + 1);
  std::vector<std::vector<int64_t>> picked(static_cast<size_t>(parts));
  for (int64_t i = 0; i < in.count; ++i) {
    const int64_t at = in.index(i)[d];
    const int64_t part = at < threshold ? at / (length + 1) : longer + (at - threshold) / length;
    picked[static_cast<size_t>(part)].push_back(i);
  }
  std::vector<int64_t> start(in.dims.size(), 0), dims = in.dims;
  for (int64_t p = 0; p < parts; ++p) {
    dims[d] = length + (p < longer ? 1 : 0);
    SM_RETURN_IF_ERROR(EmitEntries(ctx, static_cast<int>(p), static_cast<int>(parts + p),
                                   static_cast<int>(2 * parts + p), in,
                                   picked[static_cast<size_t>(p)], start, dims));
    start[d] += dims[d];
  }
  return Status();
}

StatusOr<KernelPtr> BuildSplit(BuildContext& build) {
  return MakeKernel(
      [parts = build.attrs().Int("num_split")](OpContext& ctx) { return Split(ctx, parts); });
}

Status SplitShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 0));
  return ExpectCoo(ctx, 1);
}

constexpr OpDef kOps[] = {
    {.signature = "SparseConcat(indices: N * int64, values: N * T, shapes: N * int64) -> "
                  "(output_indices: int64, output_values: T, output_shape: int64); "
                  "concat_dim: int; N: int >= 2; T: type",
     .shape = shape::Unknown,
     .build = BuildConcat},
    {.signature = "SparseSlice(indices: int64, values: T, shape: int64, start: int64, size: int64) "
                  "-> (output_indices: int64, output_values: T, output_shape: int64); T: type",
     .shape = SliceShape,
     .build = BuildPlain<Slice>},
    {.signature = "SparseSplit(split_dim: int64, indices: int64, values: T, shape: int64) -> "
                  "(output_indices: num_split * int64, output_values: num_split * T, "
                  "output_shape: num_split * int64); num_split: int >= 1; T: type",
     .shape = SplitShape,
     .build = BuildSplit},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SparsePartsOps() { return kOps; }

}  // namespace savedmodel
