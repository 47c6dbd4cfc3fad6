// Counts of small integers in sparse, ragged and dense tensors.
#include <algorithm>
#include <map>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/sparse/coo.h"
#include "src/kernels/sparse/sparse_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

constexpr DTypeSet kWeightTypes = kInt32Or64 | kFloatDouble;

// Values widened, each with the row it is counted in.
struct Rows {
  std::vector<int64_t> values;
  std::vector<int64_t> rows;  // empty: all in row 0
  int64_t count = 1;
  bool is_vector = false;  // the output has no dimension of rows

  int64_t row(size_t i) const { return rows.empty() ? 0 : rows[i]; }
};

// The rows of the values of a ragged tensor of two dimensions.
StatusOr<std::vector<int64_t>> RowsOfSplits(const std::vector<int64_t>& splits, int64_t count) {
  SM_CHECK_ARG(!splits.empty(), "Splits must be non-empty");
  SM_CHECK_ARG(splits.front() == 0, "Splits must start with 0, not with ", splits.front());
  SM_CHECK_ARG(splits.back() == count, "Splits must end with the number of values, got ",
               splits.back(), " instead of ", count);
  std::vector<int64_t> rows;
  size_t next = 0;
  for (int64_t i = 0; i < count; ++i) {
    while (i >= splits[next]) ++next;  // ends, as the last split is above all i
    rows.push_back(static_cast<int64_t>(next) - 1);
  }
  return rows;
}

// Values, indices and shape of a sparse tensor, whose first dimension is the row from rank 2 on.
StatusOr<Rows> ReadSparseRows(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Coo in, ReadCoo(ctx, 0));
  SM_RETURN_IF_ERROR(in.CheckBounds());
  SM_CHECK_ARG(in.rank() >= 1, "dense_shape: found rank 0, expected at least 1");
  Rows out;
  out.values = ctx.IntsInput(1);
  out.is_vector = in.rank() == 1;
  if (!out.is_vector) {
    out.count = in.dims[0];
    for (int64_t i = 0; i < in.count; ++i) out.rows.push_back(in.index(i)[0]);
  }
  return out;
}

StatusOr<Rows> ReadRaggedRows(OpContext& ctx) {
  Rows out;
  out.values = ctx.IntsInput(1);
  const std::vector<int64_t> splits = ctx.IntsInput(0);
  SM_ASSIGN_OR_RETURN(out.rows, RowsOfSplits(splits, ctx.input(1).num_elements()));
  out.count = static_cast<int64_t>(splits.size()) - 1;
  return out;
}

// ------------------------------------------------------------------- SparseBincount,
// RaggedBincount

// Values outside [0, size) are not counted; negative ones are an error where TensorFlow says so.
Status Bincount(OpContext& ctx, const Rows& in, int64_t size, const Tensor& weights, bool binary,
                bool refuse_negative) {
  SM_CHECK_ARG(size >= 0, "size (", size, ") must be non-negative");
  SM_CHECK_ARG(weights.num_elements() == 0 ||
                   weights.num_elements() >= static_cast<int64_t>(in.values.size()),
               "weights: found ", weights.num_elements(), " elements, expected ", in.values.size());
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, in.is_vector ? Shape({size}) : Shape({in.count, size})));
  return VisitDType<kWeightTypes>(ctx.output_dtype(0), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* out = ctx.out<T>(0);
    std::fill_n(out, ctx.output(0).num_elements(), T(0));
    const T* weight = weights.num_elements() == 0 ? nullptr : weights.data<T>();
    for (size_t i = 0; i < in.values.size(); ++i) {
      SM_CHECK_ARG(!refuse_negative || in.values[i] >= 0, "Input must be non-negative: found ",
                   in.values[i]);
      if (in.values[i] < 0 || in.values[i] >= size) continue;
      T& bin = out[in.row(i) * size + in.values[i]];
      bin = binary ? T(1) : static_cast<T>(bin + (weight == nullptr ? T(1) : weight[i]));
    }
    return Status();
  });
}

StatusOr<KernelPtr> BuildSparseBincount(BuildContext& build) {
  return MakeKernel([binary = build.attrs().Bool("binary_output")](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const Rows rows, ReadSparseRows(ctx));
    return Bincount(ctx, rows, ctx.IntInput(3), ctx.input(4), binary, rows.is_vector);
  });
}

StatusOr<KernelPtr> BuildRaggedBincount(BuildContext& build) {
  return MakeKernel([binary = build.attrs().Bool("binary_output")](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const Rows rows, ReadRaggedRows(ctx));
    return Bincount(ctx, rows, ctx.IntInput(2), ctx.input(3), binary, true);
  });
}

Status SparseBincountShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ExpectCoo(ctx, 0));
  return ctx.ExpectRank(3, 0);
}

Status RaggedBincountShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 1));
  return ctx.ExpectRank(2, 0);
}

// -------------------------------------------------------------------------------
// …CountSparseOutput

struct CountSpec {
  int64_t min_length = -1, max_length = -1;
  bool binary = false;
};

CountSpec ParseCountSpec(const Attrs& attrs) {
  return {attrs.Int("minlength"), attrs.Int("maxlength"), attrs.Bool("binary_output")};
}

// Outputs the counts as a sparse tensor of (row, value).
Status EmitCounts(OpContext& ctx, const Rows& in, const Tensor& weights, const Shape& values_shape,
                  const CountSpec& spec) {
  const bool weighted = weights.num_elements() > 0;
  SM_CHECK_ARG(!weighted || weights.shape() == values_shape,
               "Weights and values must have the same shape. Weight shape: ", weights.shape(),
               "; values shape: ", values_shape);
  return VisitDType<kWeightTypes>(ctx.output_dtype(1), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* weight = weighted ? weights.data<T>() : nullptr;
    std::map<std::pair<int64_t, int64_t>, T> counts;
    int64_t largest = 0;
    for (size_t i = 0; i < in.values.size(); ++i) {
      const int64_t value = in.values[i];
      SM_CHECK_ARG(value >= 0, "Input values must all be non-negative: found ", value);
      if (spec.max_length >= 0 && value >= spec.max_length) continue;
      T& count = counts[{in.row(i), value}];
      count = spec.binary ? T(1) : static_cast<T>(count + (weight == nullptr ? T(1) : weight[i]));
      largest = std::max(largest, value);
    }
    const int64_t n = static_cast<int64_t>(counts.size());
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, {n, in.is_vector ? 1 : 2}));
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, {n}));
    int64_t* indices = ctx.out<int64_t>(0);
    T* out = ctx.out<T>(1);
    for (const auto& [key, count] : counts) {
      if (!in.is_vector) *indices++ = key.first;
      *indices++ = key.second;
      *out++ = count;
    }
    const int64_t width =
        spec.max_length >= 0
            ? spec.max_length
            : std::max(spec.min_length, largest == INT64_MAX ? largest : largest + 1);
    return in.is_vector ? EmitInts(ctx, 2, {width}) : EmitInts(ctx, 2, {in.count, width});
  });
}

StatusOr<KernelPtr> BuildDenseCount(BuildContext& build) {
  return MakeKernel([spec = ParseCountSpec(build.attrs())](OpContext& ctx) -> Status {
    const Shape& shape = ctx.input(0).shape();
    SM_CHECK_ARG(shape.rank() == 1 || shape.rank() == 2,
                 "Input must be a 1 or 2-dimensional tensor. Got: ", shape);
    Rows rows;
    rows.values = ctx.IntsInput(0);
    rows.is_vector = shape.rank() == 1;
    if (!rows.is_vector) {
      rows.count = shape.dim(0);
      for (int64_t i = 0; i < shape.num_elements(); ++i) rows.rows.push_back(i / shape.dim(1));
    }
    return EmitCounts(ctx, rows, ctx.input(1), shape, spec);
  });
}

StatusOr<KernelPtr> BuildSparseCount(BuildContext& build) {
  return MakeKernel([spec = ParseCountSpec(build.attrs())](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const Rows rows, ReadSparseRows(ctx));
    SM_CHECK_ARG(rows.count > 0, "Cannot allocate 0 batches, is the dense shape too wide?");
    return EmitCounts(ctx, rows, ctx.input(3), ctx.input(1).shape(), spec);
  });
}

StatusOr<KernelPtr> BuildRaggedCount(BuildContext& build) {
  return MakeKernel([spec = ParseCountSpec(build.attrs())](OpContext& ctx) -> Status {
    SM_CHECK_ARG(ctx.input(0).num_elements() >= 2,
                 "Must provide at least 2 elements for the splits argument");
    SM_ASSIGN_OR_RETURN(const Rows rows, ReadRaggedRows(ctx));
    return EmitCounts(ctx, rows, ctx.input(2), ctx.input(1).shape(), spec);
  });
}

#define SM_COUNT_OUTPUTS                                                             \
  "(output_indices: int64, output_values: output_type, output_dense_shape: int64); " \
  "T: {int32,int64}; minlength: int >= -1 = -1; maxlength: int >= -1 = -1; "         \
  "binary_output: bool; output_type: {int32,int64,float,double}"

constexpr OpDef kOps[] = {
    {.signature = "DenseCountSparseOutput(values: T, weights: output_type) -> " SM_COUNT_OUTPUTS,
     .shape = shape::Unknown,
     .build = BuildDenseCount},
    {.signature = "RaggedBincount(splits: int64, values: Tidx, size: Tidx, weights: T) -> "
                  "(output: T); Tidx: {int32,int64}; T: {int32,int64,float,double}; "
                  "binary_output: bool = false",
     .shape = RaggedBincountShape,
     .build = BuildRaggedBincount},
    {.signature = "RaggedCountSparseOutput(splits: int64, values: T, weights: output_type) "
                  "-> " SM_COUNT_OUTPUTS,
     .shape = shape::Unknown,
     .build = BuildRaggedCount},
    {.signature = "SparseBincount(indices: int64, values: Tidx, dense_shape: int64, size: Tidx, "
                  "weights: T) -> (output: T); Tidx: {int32,int64}; "
                  "T: {int32,int64,float,double}; binary_output: bool = false",
     .shape = SparseBincountShape,
     .build = BuildSparseBincount},
    {.signature = "SparseCountSparseOutput(indices: int64, values: T, dense_shape: int64, "
                  "weights: output_type) -> " SM_COUNT_OUTPUTS,
     .shape = CooInputShape,
     .build = BuildSparseCount},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SparseBincountOps() { return kOps; }

}  // namespace savedmodel
