// Order, shape and completeness of sparse tensors: SparseReorder, SparseReshape, SparseToDense,
// SparseFillEmptyRows, RaggedFillEmptyRows.
#include <algorithm>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/sparse/coo.h"
#include "src/kernels/sparse/sparse_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

Status Reorder(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Coo in, ReadCoo(ctx, 0));
  const std::vector<int64_t> order = in.SortedOrder();
  int64_t* out = ctx.out<int64_t>(0);
  for (const int64_t i : order) out = std::copy(in.index(i), in.index(i) + in.rank(), out);
  return EmitGathered(ctx, 1, *in.values, order);
}

Status ReorderShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ExpectCoo(ctx, 0));
  return shape::Each(ctx);
}

// -------------------------------------------------------------------------------- SparseReshape

// `wanted` with its -1, if any, replaced so that it has as many elements as `in`.
StatusOr<std::vector<int64_t>> ResolveShape(const Shape& in, std::vector<int64_t> wanted) {
  const std::vector<int64_t> given = wanted;
  int64_t* unknown = nullptr;
  std::vector<int64_t> known;
  for (int64_t& dim : wanted) {
    if (dim == -1) {
      SM_CHECK_ARG(unknown == nullptr, "new_shape: found ", given,
                   ", only one output dimension may be -1");
      unknown = &dim;
    } else {
      known.push_back(dim);
    }
  }
  SM_ASSIGN_OR_RETURN(const Shape rest, ShapeFromDims(known));
  if (unknown != nullptr) {
    SM_CHECK_ARG(rest.num_elements() > 0,
                 "reshape cannot infer the missing input size for an empty tensor unless all "
                 "specified input sizes are non-zero");
    SM_CHECK_ARG(in.num_elements() % rest.num_elements() == 0,
                 "Input to reshape is a SparseTensor ", "with ", in.num_elements(),
                 " dense values, but the requested shape requires a ", "multiple of ",
                 rest.num_elements());
    *unknown = in.num_elements() / rest.num_elements();
  } else {
    SM_CHECK_ARG(rest.num_elements() == in.num_elements(), "Input to reshape is a tensor with ",
                 in.num_elements(), " dense values, but the requested shape has ",
                 rest.num_elements());
  }
  return wanted;
}

// Of a shape without elements they may wrap around; then no index is converted.
std::vector<uint64_t> Strides(const std::vector<int64_t>& dims) {
  std::vector<uint64_t> strides(dims.size(), 1);
  for (size_t d = dims.size(); d-- > 1;)
    strides[d - 1] = strides[d] * static_cast<uint64_t>(dims[d]);
  return strides;
}

Status Reshape(OpContext& ctx) {
  const Shape& indices = ctx.input(0).shape();
  const std::vector<int64_t> dims = ctx.IntsInput(1);
  SM_ASSIGN_OR_RETURN(const Shape in_shape, ShapeFromDims(dims));
  SM_CHECK_ARG(indices.dim(1) == in_shape.rank(), "input_indices: found shape ", indices,
               ", expected [n,", in_shape.rank(), "]");
  SM_ASSIGN_OR_RETURN(const std::vector<int64_t> out_dims,
                      ResolveShape(in_shape, ctx.IntsInput(2)));
  SM_CHECK_ARG(out_dims.size() <= Shape::kMaxRank, "new_shape: found ", out_dims.size(),
               " dimensions");
  SM_RETURN_IF_ERROR(EmitInts(ctx, 1, out_dims));
  if (out_dims == dims) return ctx.ForwardInput(0, 0, indices);
  const int64_t rank = indices.dim(1), out_rank = static_cast<int64_t>(out_dims.size());
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, {indices.dim(0), out_rank}));
  const std::vector<uint64_t> in_strides = Strides(dims), out_strides = Strides(out_dims);
  const int64_t* in = ctx.in<int64_t>(0);
  int64_t* out = ctx.out<int64_t>(0);
  for (int64_t i = 0; i < indices.dim(0); ++i, in += rank, out += out_rank) {
    uint64_t flat = 0;  // an index out of bounds may wrap around, as in TensorFlow
    for (int64_t d = 0; d < rank; ++d) {
      const size_t at = static_cast<size_t>(d);
      flat += static_cast<uint64_t>(in[d]) * in_strides[at];
    }
    int64_t left = static_cast<int64_t>(flat);
    for (int64_t d = 0; d < out_rank; ++d) {
      const int64_t stride =
          std::max<int64_t>(static_cast<int64_t>(out_strides[static_cast<size_t>(d)]), 1);
      out[d] = left / stride;
      left %= stride;
    }
  }
  return Status();
}

Status ReshapeShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 1));
  if (ctx.input(0).known_rank() && ctx.input(2).known_rank()) {
    ctx.set_output(0, Shape({ctx.input(0).dim(0), ctx.input(2).dim(0)}));
  }
  ctx.set_output(1, ctx.input(2));
  return Status();
}

// -------------------------------------------------------------------------------- SparseToDense

Status ToDenseShape(ShapeContext& ctx) {
  const Shape& indices = ctx.input(0);
  SM_CHECK_ARG(!indices.known_rank() || indices.rank() <= 2, "sparse_indices should be a scalar, ",
               "vector, or matrix, got shape ", indices);
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  SM_CHECK_ARG(!ctx.input(2).known_rank() || ctx.input(2).rank() <= 1, "sparse_values: found ",
               ctx.input(2), ", expected a scalar or a vector");
  SM_RETURN_IF_ERROR(ctx.ExpectRank(3, 0));
  std::vector<int64_t> dims;
  if (ctx.IntValues(1, &dims)) {
    SM_ASSIGN_OR_RETURN(Shape out, ShapeFromDims(dims));
    ctx.set_output(0, std::move(out));
  }
  return Status();
}

// Indices widened and checked: in bounds, and in strictly increasing order if so wanted.
StatusOr<std::vector<int64_t>> DenseIndices(OpContext& ctx, const Shape& out, bool validate) {
  std::vector<int64_t> indices = ctx.IntsInput(0);
  const int64_t rank = out.rank();
  const Shape& shape = ctx.input(0).shape();
  const int64_t width = shape.rank() < 2 ? 1 : shape.dim(1);
  SM_CHECK_ARG(width == rank, "output_shape has incorrect number of elements: ", rank,
               " should be: ", width);
  const int64_t n = shape.rank() == 0 ? 1 : shape.dim(0);
  const int64_t* at = indices.data();
  for (int64_t i = 0; i < n; ++i, at += rank) {
    for (int64_t d = 0; d < rank; ++d) {
      SM_CHECK_ARG(at[d] >= 0 && at[d] < out.dim(static_cast<int>(d)), "indices[", i, "]: found ",
                   at[d], " in dimension ", d, ", out of bounds of shape ", out);
    }
    if (validate && i > 0) {
      const int order = CompareIndices(at - rank, at, rank);
      SM_CHECK_ARG(order < 0, "indices[", i, "] is ", order == 0 ? "repeated" : "out of order",
                   "; sort sparse tensors with SparseReorder");
    }
  }
  return indices;
}

StatusOr<KernelPtr> BuildToDense(BuildContext& build) {
  return MakeKernel([validate = build.attrs().Bool("validate_indices")](OpContext& ctx) -> Status {
    const Shape& shape = ctx.output(0).shape();
    SM_ASSIGN_OR_RETURN(const std::vector<int64_t> indices, DenseIndices(ctx, shape, validate));
    const int64_t rank = shape.rank();
    const int64_t n = ctx.input(0).shape().rank() == 0 ? 1 : ctx.input(0).shape().dim(0);
    const bool one_value = ctx.input(2).shape().rank() == 0;
    SM_CHECK_ARG(one_value || ctx.input(2).num_elements() == n,
                 "sparse_values has incorrect shape ", ctx.input(2).shape(), ", should be [] or [",
                 n, "]");
    return VisitByElementSize(ctx.output_dtype(0), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T* values = static_cast<const T*>(ctx.input(2).raw_data());
      T* out = static_cast<T*>(ctx.output(0).raw_mutable_data());
      std::fill_n(out, shape.num_elements(), *static_cast<const T*>(ctx.input(3).raw_data()));
      for (int64_t i = 0; i < n; ++i) {
        int64_t flat = 0;
        for (int64_t d = 0; d < rank; ++d) {
          flat = flat * shape.dim(static_cast<int>(d)) + indices[static_cast<size_t>(i * rank + d)];
        }
        out[flat] = values[one_value ? 0 : i];
      }
      return Status();
    });
  });
}

// ---------------------------------------------------------------------------------- FillEmptyRows

// Where the entries go when each of `rows` rows without entries gets one of its own.
struct FilledRows {
  std::vector<int64_t> target;  // of each entry
  std::vector<int64_t> source;  // of each output entry, -1 for one that was added
  std::vector<int64_t> row;     // of each output entry
};

// `row_of(i)` is the row of entry i of `n`. Also writes empty_row_indicator, output 2.
template <class RowOf>
StatusOr<FilledRows> FillRows(OpContext& ctx, int64_t n, int64_t rows, RowOf row_of) {
  SM_CHECK_ARG(rows >= 0, "found ", rows, " rows, expected >= 0");
  SM_CHECK_ARG(rows > 0 || n == 0, "Received SparseTensor with dense_shape[0] = 0 but ",
               "indices.shape[0] = ", n);
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(2, {rows}));
  SM_ASSIGN_OR_RETURN(Tensor counts, ctx.AllocateTemp(DType::kInt64, {rows + 1}));
  int64_t* next = counts.mutable_data<int64_t>();
  std::fill_n(next, rows + 1, 0);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t row = row_of(i);
    SM_CHECK_ARG(row >= 0 && row < rows, "row of entry ", i, ": found ", row, ", expected [0, ",
                 rows, ")");
    ++next[row];
  }
  bool* empty = ctx.out<bool>(2);
  int64_t total = 0;
  FilledRows filled;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t count = next[row];
    empty[row] = count == 0;
    next[row] = total;
    total += std::max<int64_t>(count, 1);
    filled.row.resize(static_cast<size_t>(total), row);
  }
  filled.source.assign(static_cast<size_t>(total), -1);
  filled.target.resize(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const int64_t at = next[row_of(i)]++;
    filled.target[static_cast<size_t>(i)] = at;
    filled.source[static_cast<size_t>(at)] = i;
  }
  return filled;
}

// Outputs 1 (values) and 3 (reverse_index_map); the default is input 3.
Status EmitFilled(OpContext& ctx, const FilledRows& filled) {
  SM_RETURN_IF_ERROR(EmitInts(ctx, 3, filled.target));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, {static_cast<int64_t>(filled.source.size())}));
  return VisitByElementSize(ctx.output_dtype(1), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* in = static_cast<const T*>(ctx.input(1).raw_data());
    const T& fallback = *static_cast<const T*>(ctx.input(3).raw_data());
    T* out = static_cast<T*>(ctx.output(1).raw_mutable_data());
    for (const int64_t source : filled.source) *out++ = source < 0 ? fallback : in[source];
    return Status();
  });
}

Status FillEmptyRows(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Coo in, ReadCoo(ctx, 0));
  SM_CHECK_ARG(in.rank() > 0, "Dense shape cannot be empty.");
  SM_ASSIGN_OR_RETURN(const FilledRows filled, FillRows(ctx, in.count, in.dims[0],
                                                        [&](int64_t i) { return in.index(i)[0]; }));
  SM_RETURN_IF_ERROR(
      ctx.AllocateOutput(0, {static_cast<int64_t>(filled.source.size()), in.rank()}));
  int64_t* out = ctx.out<int64_t>(0);
  for (size_t k = 0; k < filled.source.size(); ++k) {
    const int64_t* index = filled.source[k] < 0 ? nullptr : in.index(filled.source[k]);
    *out++ = filled.row[k];
    for (int64_t d = 1; d < in.rank(); ++d) *out++ = index == nullptr ? 0 : index[d];
  }
  return EmitFilled(ctx, filled);
}

Status RaggedFillEmptyRows(OpContext& ctx) {
  const Span<const int64_t> row_ids = ctx.input(0).values<int64_t>();
  const int64_t n = static_cast<int64_t>(row_ids.size());
  SM_CHECK_ARG(ctx.input(1).num_elements() == n, "found ", ctx.input(1).num_elements(),
               " values and ", n, " value_rowids, expected as many");
  SM_ASSIGN_OR_RETURN(const FilledRows filled, FillRows(ctx, n, ctx.IntInput(2), [&](int64_t i) {
                        return row_ids[static_cast<size_t>(i)];
                      }));
  SM_RETURN_IF_ERROR(EmitInts(ctx, 0, filled.row));
  return EmitFilled(ctx, filled);
}

Status FillEmptyRowsShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ExpectCoo(ctx, 0));
  return ctx.ExpectRank(3, 0);
}

Status RaggedFillShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 0));
  return ctx.ExpectRank(3, 0);
}

constexpr OpDef kOps[] = {
    {.signature = "RaggedFillEmptyRows(value_rowids: int64, values: T, nrows: int64, "
                  "default_value: T) -> (output_value_rowids: int64, output_values: T, "
                  "empty_row_indicator: bool, reverse_index_map: int64); T: type",
     .shape = RaggedFillShape,
     .build = BuildPlain<RaggedFillEmptyRows>},
    {.signature = "SparseFillEmptyRows(indices: int64, values: T, dense_shape: int64, "
                  "default_value: T) -> (output_indices: int64, output_values: T, "
                  "empty_row_indicator: bool, reverse_index_map: int64); T: type",
     .shape = FillEmptyRowsShape,
     .build = BuildPlain<FillEmptyRows>},
    {.signature = "SparseReorder(input_indices: int64, input_values: T, input_shape: int64) -> "
                  "(output_indices: int64, output_values: T); T: type",
     .shape = ReorderShape,
     .build = BuildPlain<Reorder>},
    {.signature = "SparseReshape(input_indices: int64, input_shape: int64, new_shape: int64) -> "
                  "(output_indices: int64, output_shape: int64)",
     .shape = ReshapeShape,
     .build = BuildPlain<Reshape>},
    {.signature = "SparseToDense(sparse_indices: Tindices, output_shape: Tindices, "
                  "sparse_values: T, default_value: T) -> (dense: T); "
                  "validate_indices: bool = true; T: type; Tindices: {int32,int64}",
     .shape = ToDenseShape,
     .build = BuildToDense},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SparseLayoutOps() { return kOps; }

}  // namespace savedmodel
