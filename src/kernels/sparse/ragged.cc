// RaggedRange, RaggedGather, RaggedTensorToSparse.
#include "src/kernels/sparse/ragged.h"

#include <algorithm>
#include <cmath>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/sparse/coo.h"
#include "src/kernels/sparse/sparse_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {

StatusOr<std::vector<std::vector<int64_t>>> ReadSplits(OpContext& ctx, int first, int levels,
                                                       int64_t value_rows, bool whole) {
  std::vector<std::vector<int64_t>> all;
  for (int level = 0; level < levels; ++level) {
    all.push_back(ctx.IntsInput(first + level));
    const std::vector<int64_t>& splits = all.back();
    SM_CHECK_ARG(ctx.input(first + level).shape().rank() == 1 && !splits.empty(), "ragged splits ",
                 level, ": found shape ", ctx.input(first + level).shape(),
                 ", expected a vector of at least one element");
    SM_CHECK_ARG(whole ? splits.front() == 0 : splits.front() >= 0,
                 "First value of ragged splits must be 0, found ", splits.front());
    for (size_t i = 1; i < splits.size(); ++i) {
      SM_CHECK_ARG(splits[i] >= splits[i - 1], "Ragged splits should be non decreasing, but got ",
                   splits[i], " followed by ", splits[i - 1]);
    }
  }
  for (size_t level = 0; level < all.size(); ++level) {
    const int64_t rows =
        level + 1 < all.size() ? static_cast<int64_t>(all[level + 1].size()) - 1 : value_rows;
    SM_CHECK_ARG(whole ? all[level].back() == rows : all[level].back() <= rows,
                 "Final value of ragged splits must match the length ",
                 "the corresponding ragged values: found ", all[level].back(), ", expected ", rows);
  }
  return all;
}

Status EmitUniformSplits(OpContext& ctx, const Shape& shape, int* output) {
  for (int d = 1; d < shape.rank(); ++d) {
    SM_ASSIGN_OR_RETURN(const Shape outer, Shape::Make(shape.Slice(0, d).ToVector()));
    const int64_t rows = outer.num_elements(), length = shape.dim(d);
    int64_t total = 0;
    SM_CHECK_ARG(rows < INT64_MAX && !__builtin_mul_overflow(rows, length, &total), "shape ", shape,
                 " is too large");
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(*output, {rows + 1}));
    SM_RETURN_IF_ERROR(VisitDType<kInt32Or64>(ctx.output_dtype(*output), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      SM_CHECK_ARG(static_cast<T>(total) == total, "found a split of ", total,
                   ", more than int32 can hold");
      T* out = ctx.out<T>(*output);
      for (int64_t k = 0; k <= rows; ++k) out[k] = static_cast<T>(k * length);
      return Status();
    }));
    ++*output;
  }
  return Status();
}

Status EmitRowSplits(OpContext& ctx, int output, const std::vector<int64_t>& values) {
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(output, {static_cast<int64_t>(values.size())}));
  return VisitDType<kInt32Or64>(ctx.output_dtype(output), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    SM_CHECK_ARG(values.empty() || static_cast<T>(values.back()) == values.back(),
                 "found a split of ", values.back(), ", more than int32 can hold");
    std::copy(values.begin(), values.end(), ctx.out<T>(output));
    return Status();
  });
}

namespace {

// ----------------------------------------------------------------------------------- RaggedRange

// Number of values of range(start, limit, delta); -1 where it is too large.
template <class T>
int64_t RangeSize(T start, T limit, T delta) {
  if constexpr (std::is_integral_v<T>) {
    if (delta > 0 ? limit <= start : limit >= start) return 0;
    const uint64_t gap = delta > 0 ? static_cast<uint64_t>(limit) - static_cast<uint64_t>(start)
                                   : static_cast<uint64_t>(start) - static_cast<uint64_t>(limit);
    const uint64_t step =
        delta > 0 ? static_cast<uint64_t>(delta) : uint64_t{0} - static_cast<uint64_t>(delta);
    const uint64_t n = gap / step + (gap % step != 0);
    return n > INT64_MAX ? -1 : static_cast<int64_t>(n);
  } else {
    if (delta > T(0) ? limit < start : limit > start) return 0;
    const double n = std::ceil(std::abs(static_cast<double>(T((limit - start) / delta))));
    return n < 9.2e18 ? static_cast<int64_t>(n) : -1;  // also for NaN
  }
}

Status RaggedRange(OpContext& ctx) {
  int64_t rows = -1;
  for (int i = 0; i < 3; ++i) {
    const Shape& shape = ctx.input(i).shape();
    if (shape.rank() == 0) continue;
    SM_CHECK_ARG(shape.rank() == 1 && (rows < 0 || rows == shape.dim(0)), "starts, limits and ",
                 "deltas: found shape ", shape, ", expected scalars or vectors of one length");
    rows = shape.dim(0);
  }
  if (rows < 0) rows = 1;
  return VisitDType<kInt32Or64 | kFloatDouble | Only(DType::kBFloat16)>(
      ctx.output_dtype(1), [&](auto tag) -> Status {
        using T = typename decltype(tag)::type;
        const auto at = [&](int input, int64_t i) {
          return ctx.in<T>(input)[ctx.input(input).num_elements() == 1 ? 0 : i];
        };
        std::vector<int64_t> splits = {0};
        for (int64_t i = 0; i < rows; ++i) {
          SM_CHECK_ARG(at(2, i) != T(0), "Requires delta != 0");
          const int64_t n = RangeSize<T>(at(0, i), at(1, i), at(2, i));
          int64_t next = 0;
          SM_CHECK_ARG(n >= 0 && !__builtin_add_overflow(splits.back(), n, &next),
                       "Requires ((limit - start) / delta) to be a number of values that fits");
          splits.push_back(next);
        }
        SM_RETURN_IF_ERROR(EmitRowSplits(ctx, 0, splits));
        SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, {splits.back()}));
        T* out = ctx.out<T>(1);
        for (int64_t i = 0; i < rows; ++i) {
          T value = at(0, i);
          const int64_t n = splits[static_cast<size_t>(i) + 1] - splits[static_cast<size_t>(i)];
          for (int64_t k = 0; k < n; ++k) {
            *out++ = value;
            if (k + 1 < n) value = T(value + at(2, i));
          }
        }
        return Status();
      });
}

// ---------------------------------------------------------------------------------- RaggedGather

struct RowRange {
  int64_t begin, end;
};

// The splits of the rows of `ranges`, one after another; `ranges` become those of the level below.
Status GatherSplits(OpContext& ctx, int output, const std::vector<int64_t>& splits,
                    std::vector<RowRange>* ranges) {
  int64_t rows = 1;
  for (const RowRange& range : *ranges) {
    SM_CHECK_ARG(!__builtin_add_overflow(rows, range.end - range.begin, &rows),
                 "too many gathered rows");
  }
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(output, {rows}));
  return VisitDType<kInt32Or64>(ctx.output_dtype(output), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* out = ctx.out<T>(output);
    int64_t last = 0;
    *out++ = T(0);
    for (RowRange& range : *ranges) {
      for (int64_t row = range.begin; row < range.end; ++row) {
        const size_t at = static_cast<size_t>(row);
        SM_CHECK_ARG(!__builtin_add_overflow(last, splits[at + 1] - splits[at], &last) &&
                         static_cast<T>(last) == last,
                     "too many gathered values for the splits");
        *out++ = static_cast<T>(last);
      }
      range = {splits[static_cast<size_t>(range.begin)], splits[static_cast<size_t>(range.end)]};
    }
    return Status();
  });
}

Status GatherValues(OpContext& ctx, int output, const Tensor& values,
                    const std::vector<RowRange>& ranges) {
  int64_t rows = 0;
  for (const RowRange& range : ranges) rows += range.end - range.begin;
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(output, values.shape().WithDim(0, rows)));
  const int64_t width = values.shape().Product(1, values.shape().rank());
  return VisitByElementSize(values.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* in = static_cast<const T*>(values.raw_data());
    T* out = static_cast<T*>(ctx.output(output).raw_mutable_data());
    for (const RowRange& range : ranges) {
      out = std::copy(in + range.begin * width, in + range.end * width, out);
    }
    return Status();
  });
}

StatusOr<KernelPtr> BuildRaggedGather(BuildContext& build) {
  const int levels = static_cast<int>(build.attrs().Int("PARAMS_RAGGED_RANK"));
  return MakeKernel([levels](OpContext& ctx) -> Status {
    const Tensor& values = ctx.input(levels);
    const Shape& indices_shape = ctx.input(levels + 1).shape();
    SM_CHECK_ARG(values.shape().rank() >= 1, "params.flat_values: found a scalar");
    SM_CHECK_ARG(ctx.num_outputs() - 1 == indices_shape.rank() - 1 + levels,
                 "OUTPUT_RAGGED_RANK: found ", ctx.num_outputs() - 1, ", expected ",
                 indices_shape.rank() - 1 + levels);
    SM_ASSIGN_OR_RETURN(const auto splits,
                        ReadSplits(ctx, 0, levels, values.shape().dim(0), false));
    const int64_t rows = static_cast<int64_t>(splits[0].size()) - 1;
    std::vector<RowRange> ranges;
    for (const int64_t index : ctx.IntsInput(levels + 1)) {
      SM_CHECK_ARG(index >= 0 && index < rows, "indices: found ", index, ", not in [0, ", rows,
                   ")");
      ranges.push_back({index, index + 1});
    }
    int output = 0;
    SM_RETURN_IF_ERROR(EmitUniformSplits(ctx, indices_shape, &output));
    for (const std::vector<int64_t>& level : splits) {
      SM_RETURN_IF_ERROR(GatherSplits(ctx, output++, level, &ranges));
    }
    return GatherValues(ctx, output, values, ranges);
  });
}

// -------------------------------------------------------------------------- RaggedTensorToSparse

StatusOr<KernelPtr> BuildToSparse(BuildContext& build) {
  const int levels = static_cast<int>(build.attrs().Int("RAGGED_RANK"));
  return MakeKernel([levels](OpContext& ctx) -> Status {
    const Tensor& values = ctx.input(levels);
    const Shape& inner = values.shape();
    SM_CHECK_ARG(inner.rank() >= 1, "rt_dense_values: found a scalar, expected rank >= 1");
    SM_ASSIGN_OR_RETURN(const auto splits, ReadSplits(ctx, 0, levels, inner.dim(0)));
    std::vector<int64_t> dims = {static_cast<int64_t>(splits[0].size()) - 1};
    for (const std::vector<int64_t>& level : splits) {
      int64_t widest = 0;
      for (size_t i = 1; i < level.size(); ++i) widest = std::max(widest, level[i] - level[i - 1]);
      dims.push_back(widest);
    }
    for (int d = 1; d < inner.rank(); ++d) dims.push_back(inner.dim(d));
    const int64_t rank = static_cast<int64_t>(dims.size()), n = inner.num_elements();
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, {n, rank}));
    SM_RETURN_IF_ERROR(ctx.ForwardInput(levels, 1, {n}));
    SM_RETURN_IF_ERROR(EmitInts(ctx, 2, dims));
    const int64_t width = inner.Product(1, inner.rank());
    int64_t* out = ctx.out<int64_t>(0);
    std::vector<size_t> row(static_cast<size_t>(levels), 0);  // per level, the row of this value
    for (int64_t value = 0; value < (width == 0 ? 0 : inner.dim(0)); ++value) {
      std::vector<int64_t> prefix(static_cast<size_t>(levels) + 1);
      int64_t position = value;
      for (size_t level = static_cast<size_t>(levels); level-- > 0;) {
        while (splits[level][row[level] + 1] <= position) ++row[level];
        prefix[level + 1] = position - splits[level][row[level]];
        position = static_cast<int64_t>(row[level]);
      }
      prefix[0] = position;
      for (int64_t k = 0; k < width; ++k) {
        out = std::copy(prefix.begin(), prefix.end(), out);
        int64_t rest = k;
        for (int d = inner.rank() - 1; d >= 1; --d) {
          out[d - 1] = rest % inner.dim(d);
          rest /= inner.dim(d);
        }
        out += inner.rank() - 1;
      }
    }
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "RaggedGather(params_nested_splits: PARAMS_RAGGED_RANK * Tsplits, "
                  "params_dense_values: Tvalues, indices: Tindices) -> "
                  "(output_nested_splits: OUTPUT_RAGGED_RANK * Tsplits, "
                  "output_dense_values: Tvalues); Tvalues: type; Tindices: {int32,int64}; "
                  "Tsplits: {int32,int64} = int64; PARAMS_RAGGED_RANK: int >= 1; "
                  "OUTPUT_RAGGED_RANK: int >= 0",
     .shape = shape::Unknown,
     .build = BuildRaggedGather},
    {.signature = "RaggedRange(starts: T, limits: T, deltas: T) -> (rt_nested_splits: Tsplits, "
                  "rt_dense_values: T); T: {bfloat16,float,double,int32,int64} = int32; "
                  "Tsplits: {int32,int64} = int64",
     .shape = shape::Unknown,
     .build = BuildPlain<RaggedRange>},
    {.signature = "RaggedTensorToSparse(rt_nested_splits: RAGGED_RANK * Tsplits, "
                  "rt_dense_values: T) -> (sparse_indices: int64, sparse_values: T, "
                  "sparse_dense_shape: int64); RAGGED_RANK: int >= 1; T: type; "
                  "Tsplits: {int32,int64} = int64",
     .shape = shape::Unknown,
     .build = BuildToSparse},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> RaggedOps() { return kOps; }

}  // namespace savedmodel
