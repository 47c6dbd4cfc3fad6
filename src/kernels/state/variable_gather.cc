// Reading parts of variables: ResourceGather, ResourceGatherNd.
#include <algorithm>
#include <utility>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/state/state_ops.h"
#include "src/kernels/state/variable_input.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// The value of the variable behind input 0.
StatusOr<Tensor> VariableValue(const OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(VariableResource * variable,
                      InitializedVariableInput(ctx, 0, ctx.output_dtype(0)));
  return variable->Read();
}

// Output row i is row rows[i] of `value`; rows have `inner` elements.
Status CopyRows(OpContext& ctx, const Tensor& value, const std::vector<int64_t>& rows,
                int64_t inner) {
  return VisitByElementSize(value.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* x = static_cast<const T*>(value.raw_data());
    T* y = static_cast<T*>(ctx.output(0).raw_mutable_data());
    const double cost = 2 + 0.1 * static_cast<double>(inner * static_cast<int64_t>(sizeof(T)));
    ctx.ParallelFor(static_cast<int64_t>(rows.size()), cost, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        std::copy_n(x + rows[i] * inner, inner, y + i * inner);
      }
    });
    return Status();
  });
}

StatusOr<KernelPtr> BuildGather(BuildContext& build) {
  const int64_t batch_dims_attr = build.attrs().Int("batch_dims");
  return MakeKernel([batch_dims_attr](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const Tensor value, VariableValue(ctx));
    const Shape &shape = value.shape(), &indices = ctx.input(1).shape();
    const int64_t batch_dims =
        batch_dims_attr < 0 ? batch_dims_attr + indices.rank() : batch_dims_attr;
    SM_CHECK_ARG(batch_dims >= 0 && batch_dims <= indices.rank() && batch_dims < shape.rank(),
                 "batch_dims ", batch_dims_attr, " does not fit a variable of shape ", shape,
                 " and indices of shape ", indices);
    const int b = static_cast<int>(batch_dims);
    SM_CHECK_ARG(shape.Slice(0, b) == indices.Slice(0, b), "the variable's shape ", shape,
                 " and that of the indices, ", indices, ", differ in the first ", b, " dimensions");
    const Shape row = shape.Slice(b + 1, shape.rank());
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, indices.Concat(row)));
    std::vector<int64_t> rows = ctx.IntsInput(1);
    const int64_t limit = shape[b];
    const int64_t per_batch = indices.Product(b, indices.rank());
    for (size_t i = 0; i < rows.size(); ++i) {
      SM_CHECK_ARG(rows[i] >= 0 && rows[i] < limit, "indices[", i, "] = ", rows[i],
                   " is not in [0, ", limit, ")");
      rows[i] += static_cast<int64_t>(i) / per_batch * limit;
    }
    return CopyRows(ctx, value, rows, row.num_elements());
  });
}

Status RunGatherNd(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Tensor value, VariableValue(ctx));
  const Shape &shape = value.shape(), &indices = ctx.input(1).shape();
  SM_CHECK_ARG(shape.rank() >= 1, "the variable is a scalar, expected rank 1 or more");
  SM_CHECK_ARG(indices.rank() >= 1, "indices are a scalar, expected rank 1 or more");
  const int64_t depth = indices[indices.rank() - 1];
  SM_CHECK_ARG(depth <= shape.rank(), "indices of ", depth,
               " columns do not fit a variable of shape ", shape);
  const Shape outer = indices.Slice(0, indices.rank() - 1);
  const Shape slice = shape.Slice(static_cast<int>(depth), shape.rank());
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, outer.Concat(slice)));
  if (ctx.output(0).num_elements() == 0) return Status();
  const std::vector<int64_t> columns = ctx.IntsInput(1);
  std::vector<int64_t> rows(outer.num_elements());
  for (size_t i = 0; i < rows.size(); ++i) {
    for (int64_t k = 0; k < depth; ++k) {
      const int64_t index = columns[i * depth + k], limit = shape[static_cast<int>(k)];
      SM_CHECK_ARG(index >= 0 && index < limit, "indices[", i, "] has ", index, " at position ", k,
                   ", which is not in [0, ", limit, ")");
      rows[i] = rows[i] * limit + index;
    }
  }
  return CopyRows(ctx, value, rows, slice.num_elements());
}

constexpr OpDef kOps[] = {
    {.signature = "ResourceGather(resource: resource, indices: Tindices) -> (output: dtype); "
                  "batch_dims: int = 0; validate_indices: bool = true; dtype: type; "
                  "Tindices: {int32,int64}",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildGather},
    {.signature = "ResourceGatherNd(resource: resource, indices: Tindices) -> (output: dtype); "
                  "dtype: type; Tindices: {int32,int64}",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildPlain<RunGatherNd>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> VariableGatherOps() { return kOps; }

}  // namespace savedmodel
