// Ops that write rows by index.
#include <algorithm>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/combine.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/array/strided_copy.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// Indices [rows..., depth] into the first `depth` dimensions; a vector is rows of depth 1.
int64_t IndexDepth(const Shape& indices) {
  return indices.rank() > 1 ? indices[indices.rank() - 1] : 1;
}

Status CheckScatter(const Shape& target, const Shape& indices, const Shape& updates) {
  if (!target.known_rank() || !indices.known_rank() || !updates.known_rank()) return Status();
  SM_CHECK_ARG(target.rank() >= 1 && indices.rank() >= 1 && updates.rank() >= 1, "found shapes ",
               target, ", ", indices, " and ", updates,
               " of target, indices and updates; expected rank at least 1");
  const int64_t depth = IndexDepth(indices);
  if (depth < 0) return Status();
  SM_CHECK_ARG(depth <= target.rank(), "indices have shape ", indices, "; expected at most ",
               target.rank(), " as last dimension, for a target of shape ", target);
  const int batch = std::max(1, indices.rank() - 1);
  const Shape want =
      indices.Slice(0, batch).Concat(target.Slice(static_cast<int>(depth), target.rank()));
  SM_CHECK_ARG(want.CompatibleWith(updates), "updates have shape ", updates, ", expected ", want,
               " for indices of shape ", indices, " into ", target);
  return Status();
}

Status ScatterNdShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 1));
  std::vector<int64_t> dims;
  if (!KnownInts(ctx, 2, &dims)) return Status();
  SM_ASSIGN_OR_RETURN(Shape out, ShapeOf(dims));
  const bool writes = ctx.input(0).num_elements() > 0 || ctx.input(1).num_elements() > 0;
  SM_CHECK_ARG(out.num_elements() > 0 || !writes,
               "found indices and updates for an output of shape ", out, " without elements");
  SM_RETURN_IF_ERROR(CheckScatter(out, ctx.input(0), ctx.input(1)));
  ctx.set_output(0, std::move(out));
  return Status();
}

Status TensorScatterShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(CheckScatter(ctx.input(0), ctx.input(1), ctx.input(2)));
  ctx.set_output(0, ctx.input(0));
  return Status();
}

enum class OutOfBounds { kError, kIgnore };

StatusOr<OutOfBounds> ParsePolicy(const Attrs& attrs) {
  const std::string& policy = attrs.String("bad_indices_policy");
  if (policy == "IGNORE") return OutOfBounds::kIgnore;
  SM_CHECK_ARG(policy.empty() || policy == "DEFAULT" || policy == "ERROR", "bad_indices_policy is ",
               policy, ", expected DEFAULT, ERROR or IGNORE");
  return OutOfBounds::kError;
}

// The row of `target` that each row of `indices` names, or -1 for those to be ignored.
StatusOr<std::vector<int64_t>> TargetRows(const Shape& target, const Tensor& indices,
                                          OutOfBounds policy) {
  const int64_t depth = IndexDepth(indices.shape());
  const int batch = std::max(1, indices.shape().rank() - 1);
  std::vector<int64_t> rows(indices.shape().Product(0, batch));
  const IntReader index(indices);
  for (size_t r = 0; r < rows.size(); ++r) {
    int64_t at = 0;
    for (int64_t d = 0; d < depth; ++d) {
      const int64_t i = index[static_cast<int64_t>(r) * depth + d],
                    size = target[static_cast<int>(d)];
      if (i < 0 || i >= size) {
        SM_CHECK_ARG(policy == OutOfBounds::kIgnore, "indices[", r, ",", d, "] is ", i,
                     ", expected an index in [0, ", size, ") for a target of shape ", target);
        at = -1;
        break;
      }
      at = at * size + i;
    }
    rows[r] = at;
  }
  return rows;
}

// Writes the rows of `updates` over those of `out`.
void AssignRows(Tensor& out, const std::vector<int64_t>& rows, const Tensor& updates,
                int64_t inner) {
  for (size_t r = 0; r < rows.size(); ++r) {
    if (rows[r] < 0) continue;
    CopyElements(out.dtype(), updates.raw_data(), static_cast<int64_t>(r) * inner,
                 out.raw_mutable_data(), rows[r] * inner, inner);
  }
}

Status CombineRows(Combine op, Tensor& out, const std::vector<int64_t>& rows, const Tensor& updates,
                   int64_t inner) {
  return VisitDType<kNumbers | Only(DType::kBool)>(out.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* to = static_cast<T*>(out.raw_mutable_data());
    const T* from = updates.data<T>();
    for (size_t r = 0; r < rows.size(); ++r) {
      if (rows[r] < 0) continue;
      CombineRow(op, to + rows[r] * inner, from + static_cast<int64_t>(r) * inner, inner);
    }
    return Status();
  });
}

int64_t InnerSize(const Shape& target, const Tensor& indices) {
  return target.Product(static_cast<int>(IndexDepth(indices.shape())), target.rank());
}

StatusOr<KernelPtr> BuildScatterNd(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const OutOfBounds policy, ParsePolicy(build.attrs()));
  return MakeKernel([policy](OpContext& ctx) -> Status {
    const Tensor &indices = ctx.input(0), &updates = ctx.input(1);
    Tensor& out = ctx.output(0);
    SM_RETURN_IF_ERROR(CheckScatter(out.shape(), indices.shape(), updates.shape()));
    ZeroElements(out.dtype(), out.raw_mutable_data(), out.num_elements());
    if (out.num_elements() == 0) return Status();
    SM_ASSIGN_OR_RETURN(const auto rows, TargetRows(out.shape(), indices, policy));
    const int64_t inner = InnerSize(out.shape(), indices);
    if (out.dtype() == DType::kString) {
      AssignRows(out, rows, updates, inner);
      return Status();
    }
    return CombineRows(Combine::kAdd, out, rows, updates, inner);
  });
}

// Output 0 becomes input 0, unless it lives in the same memory.
void StartFromInput0(OpContext& ctx) {
  const Tensor& in = ctx.input(0);
  Tensor& out = ctx.output(0);
  if (in.raw_data() == out.raw_data()) return;
  CopyElements(in.dtype(), in.raw_data(), 0, out.raw_mutable_data(), 0, in.num_elements());
}

// `apply(out, rows, updates, inner)` on a copy of input 0.
template <class F>
StatusOr<KernelPtr> BuildTensorScatter(BuildContext& build, F apply) {
  SM_ASSIGN_OR_RETURN(const OutOfBounds policy, ParsePolicy(build.attrs()));
  return MakeKernel([policy, apply](OpContext& ctx) -> Status {
    const Tensor &indices = ctx.input(1), &updates = ctx.input(2);
    const Shape& target = ctx.input(0).shape();
    SM_RETURN_IF_ERROR(CheckScatter(target, indices.shape(), updates.shape()));
    SM_ASSIGN_OR_RETURN(const auto rows, TargetRows(target, indices, policy));
    StartFromInput0(ctx);
    return apply(ctx.output(0), rows, updates, InnerSize(target, indices));
  });
}

StatusOr<KernelPtr> BuildTensorScatterUpdate(BuildContext& build) {
  return BuildTensorScatter(build, [](Tensor& out, const std::vector<int64_t>& rows,
                                      const Tensor& updates, int64_t inner) {
    AssignRows(out, rows, updates, inner);
    return Status();
  });
}

template <Combine op>
StatusOr<KernelPtr> BuildTensorScatterOp(BuildContext& build) {
  return BuildTensorScatter(
      build, [](Tensor& out, const std::vector<int64_t>& rows, const Tensor& updates,
                int64_t inner) { return CombineRows(op, out, rows, updates, inner); });
}

// ---------------------------------------------------------------------------------- Inplace rows

Status InplaceShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  const Shape &x = ctx.input(0), &i = ctx.input(1), &v = ctx.input(2);
  if (x.known_rank() && i.known_rank() && v.known_rank()) {
    SM_CHECK_ARG(v.CompatibleWith(i.Concat(x.Slice(1, x.rank()))), "v has shape ", v, ", expected ",
                 i.Concat(x.Slice(1, x.rank())));
  }
  ctx.set_output(0, x);
  return Status();
}

// Rows are named modulo the number of rows.
template <bool assign, Combine op>
Status InplaceRows(OpContext& ctx) {
  const Shape& x = ctx.input(0).shape();
  std::vector<int64_t> rows = ReadInts(ctx.input(1));
  SM_CHECK_ARG(x[0] > 0 || rows.empty(), "x has no rows to change");
  for (int64_t& row : rows) row = (row % x[0] + x[0]) % x[0];
  StartFromInput0(ctx);
  const int64_t inner = x.Product(1, x.rank());
  if constexpr (assign) {
    AssignRows(ctx.output(0), rows, ctx.input(2), inner);
    return Status();
  } else {
    return CombineRows(op, ctx.output(0), rows, ctx.input(2), inner);
  }
}

constexpr OpDef kOps[] = {
    {.signature = "InplaceAdd(x: T, i: int32, v: T) -> (y: T); T: type",
     .shape = InplaceShape,
     .build = BuildPlain<InplaceRows<false, Combine::kAdd>>,
     .in_place = InPlace::kInput0},
    {.signature = "InplaceSub(x: T, i: int32, v: T) -> (y: T); T: type",
     .shape = InplaceShape,
     .build = BuildPlain<InplaceRows<false, Combine::kSub>>,
     .in_place = InPlace::kInput0},
    {.signature = "InplaceUpdate(x: T, i: int32, v: T) -> (y: T); T: type",
     .shape = InplaceShape,
     .build = BuildPlain<InplaceRows<true, Combine::kAdd>>,
     .in_place = InPlace::kInput0},
    {.signature = "ScatterNd(indices: Tindices, updates: T, shape: Tindices) -> (output: T); "
                  "T: type; Tindices: {int16,int32,int64}; bad_indices_policy: string = ''",
     .shape = ScatterNdShape,
     .build = BuildScatterNd},
    {.signature = "ScatterNdNonAliasingAdd(input: T, indices: Tindices, updates: T) -> "
                  "(output: T); T: {float,double,int32,uint8,int16,int8,complex64,int64,qint8,"
                  "quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,half,uint32,uint64,"
                  "bool}; Tindices: {int32,int64}; bad_indices_policy: string = ''",
     .shape = TensorScatterShape,
     .build = BuildTensorScatterOp<Combine::kAdd>,
     .in_place = InPlace::kInput0},
    {.signature = "TensorScatterAdd(tensor: T, indices: Tindices, updates: T) -> (output: T); "
                  "T: type; Tindices: {int32,int64}; bad_indices_policy: string = ''",
     .shape = TensorScatterShape,
     .build = BuildTensorScatterOp<Combine::kAdd>,
     .in_place = InPlace::kInput0},
    {.signature = "TensorScatterMax(tensor: T, indices: Tindices, updates: T) -> (output: T); "
                  "T: type; Tindices: {int32,int64}; bad_indices_policy: string = ''",
     .shape = TensorScatterShape,
     .build = BuildTensorScatterOp<Combine::kMax>,
     .in_place = InPlace::kInput0},
    {.signature = "TensorScatterMin(tensor: T, indices: Tindices, updates: T) -> (output: T); "
                  "T: type; Tindices: {int32,int64}; bad_indices_policy: string = ''",
     .shape = TensorScatterShape,
     .build = BuildTensorScatterOp<Combine::kMin>,
     .in_place = InPlace::kInput0},
    {.signature = "TensorScatterSub(tensor: T, indices: Tindices, updates: T) -> (output: T); "
                  "T: type; Tindices: {int32,int64}; bad_indices_policy: string = ''",
     .shape = TensorScatterShape,
     .build = BuildTensorScatterOp<Combine::kSub>,
     .in_place = InPlace::kInput0},
    {.signature = "TensorScatterUpdate(tensor: T, indices: Tindices, updates: T) -> (output: T); "
                  "T: type; Tindices: {int16,int32,int64,uint16}; "
                  "bad_indices_policy: string = ''",
     .shape = TensorScatterShape,
     .build = BuildTensorScatterUpdate,
     .in_place = InPlace::kInput0},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ScatterOps() { return kOps; }

}  // namespace savedmodel
