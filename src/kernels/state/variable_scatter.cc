// Scattered updates of variables: ResourceScatter*, ResourceScatterNd* and their TensorFlow 1
// forms.
#include <utility>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/state/state_ops.h"
#include "src/kernels/state/update.h"
#include "src/kernels/state/variable_input.h"

namespace savedmodel {
namespace {

// A node's update, and whether it returns the reference that it was given.
struct Scatter {
  UpdateFn update = nullptr;
  DType dtype = DType::kInvalid;
  bool reference = false;
  bool ignore_bad_indices = false;

  // Runs `change` on the value of the variable behind input 0.
  Status Run(OpContext& ctx, FunctionRef<Status(Tensor&)> change) const {
    SM_ASSIGN_OR_RETURN(VariableResource * variable, reference
                                                         ? VariableInput(ctx, 0, dtype)
                                                         : InitializedVariableInput(ctx, 0, dtype));
    SM_RETURN_IF_ERROR(variable->Update(change));
    return reference ? ForwardHandle(ctx) : Status();
  }

  // Updates `rows.size()` rows of `inner` elements: row rows[i], unless negative, with the i-th.
  Status UpdateRows(OpContext& ctx, Tensor& value, const std::vector<int64_t>& rows, int64_t inner,
                    bool broadcast) const {
    if (rows.empty() || inner == 0) return Status();
    SM_RETURN_IF_ERROR(MakeExclusive(ctx, value));
    const int64_t row_bytes = inner * static_cast<int64_t>(DTypeSize(dtype));
    char* to = static_cast<char*>(value.raw_mutable_data());
    const char* from = static_cast<const char*>(ctx.input(2).raw_data());
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i] < 0) continue;
      const char* x = broadcast ? from : from + static_cast<int64_t>(i) * row_bytes;
      SM_CHECK_ARG(update(to + rows[i] * row_bytes, x, inner, broadcast), "integer division by 0");
    }
    return Status();
  }
};

StatusOr<Scatter> MakeScatter(const BuildContext& build) {
  Scatter scatter;
  scatter.dtype = build.input_dtype(2);
  scatter.reference = ReturnsReference(build);
  SM_ASSIGN_OR_RETURN(scatter.update, FindUpdate(UpdateOf(build.op_name()), scatter.dtype));
  return scatter;
}

// value[indices[i]] is updated with updates[i], or with `updates` itself if that is a scalar.
StatusOr<KernelPtr> BuildScatter(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const Scatter scatter, MakeScatter(build));
  return MakeKernel([scatter](OpContext& ctx) {
    return scatter.Run(ctx, [&](Tensor& value) -> Status {
      const Shape& shape = value.shape();
      const Shape& updates = ctx.input(2).shape();
      SM_CHECK_ARG(shape.rank() >= 1, "the variable is a scalar, expected rank 1 or more");
      const Shape row = shape.Slice(1, shape.rank());
      const bool broadcast = updates.rank() == 0;
      SM_CHECK_ARG(broadcast || updates == ctx.input(1).shape().Concat(row), "updates have shape ",
                   updates, ", expected a scalar, or the shape ", ctx.input(1).shape(),
                   " of the indices followed by that of a row, ", row);
      const std::vector<int64_t> indices = ctx.IntsInput(1);
      for (size_t i = 0; i < indices.size(); ++i) {
        SM_CHECK_ARG(indices[i] >= 0 && indices[i] < shape[0], "indices[", i, "] = ", indices[i],
                     " is not in [0, ", shape[0], ")");
      }
      return scatter.UpdateRows(ctx, value, indices, row.num_elements(), broadcast);
    });
  });
}

// Number of the slice of `shape` that each row of `indices` (of `depth` columns) addresses; -1 for
// one that is out of range and to be ignored.
StatusOr<std::vector<int64_t>> FlatIndices(const std::vector<int64_t>& indices, int64_t rows,
                                           int depth, const Shape& shape, bool ignore) {
  std::vector<int64_t> flat(rows);
  for (int64_t i = 0; i < rows; ++i) {
    for (int k = 0; k < depth && flat[i] >= 0; ++k) {
      const int64_t index = indices[i * depth + k];
      if (index >= 0 && index < shape[k]) {
        flat[i] = flat[i] * shape[k] + index;
      } else if (ignore) {
        flat[i] = -1;
      } else {
        return InvalidArgument("indices[", i, "] has ", index, " at position ", k,
                               ", which is not in [0, ", shape[k], ")");
      }
    }
  }
  return flat;
}

// value[indices[i, :]] is updated with updates[i].
StatusOr<KernelPtr> BuildScatterNd(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(Scatter scatter, MakeScatter(build));
  const std::string& policy = build.attrs().String("bad_indices_policy");
  SM_CHECK_ARG(policy.empty() || policy == "DEFAULT" || policy == "ERROR" || policy == "IGNORE",
               "found bad_indices_policy '", policy, "', expected DEFAULT, ERROR or IGNORE");
  scatter.ignore_bad_indices = policy == "IGNORE";
  return MakeKernel([scatter](OpContext& ctx) {
    return scatter.Run(ctx, [&](Tensor& value) -> Status {
      const Shape& shape = value.shape();
      const Shape& indices = ctx.input(1).shape();
      SM_CHECK_ARG(indices.rank() >= 1, "indices are a scalar, expected rank 1 or more");
      const int64_t depth = indices[indices.rank() - 1];
      SM_CHECK_ARG(depth <= shape.rank(), "indices of ", depth,
                   " columns do not fit a variable of shape ", shape);
      const Shape outer = indices.Slice(0, indices.rank() - 1);
      const Shape slice = shape.Slice(static_cast<int>(depth), shape.rank());
      SM_CHECK_ARG(ctx.input(2).shape() == outer.Concat(slice), "updates have shape ",
                   ctx.input(2).shape(), ", expected ", outer.Concat(slice));
      if (ctx.input(2).num_elements() == 0) return Status();
      SM_ASSIGN_OR_RETURN(const std::vector<int64_t> rows,
                          FlatIndices(ctx.IntsInput(1), outer.num_elements(),
                                      static_cast<int>(depth), shape, scatter.ignore_bad_indices));
      return scatter.UpdateRows(ctx, value, rows, slice.num_elements(), false);
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature = "ResourceScatterAdd(resource: resource, indices: Tindices, updates: "
                  "dtype) -> (); dtype: {float,double,int32,uint8,int16,int8,complex64,"
                  "int64,qint8,quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,"
                  "half,uint32,uint64}; Tindices: {int32,int64}",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildScatter},
    {.signature = "ResourceScatterDiv(resource: resource, indices: Tindices, updates: "
                  "dtype) -> (); dtype: {float,double,int32,uint8,int16,int8,complex64,"
                  "int64,qint8,quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,"
                  "half,uint32,uint64}; Tindices: {int32,int64}",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildScatter},
    {.signature = "ResourceScatterMax(resource: resource, indices: Tindices, updates: "
                  "dtype) -> (); dtype: {float,double,int32,uint8,int16,int8,complex64,"
                  "int64,qint8,quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,"
                  "half,uint32,uint64}; Tindices: {int32,int64}",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildScatter},
    {.signature = "ResourceScatterMin(resource: resource, indices: Tindices, updates: "
                  "dtype) -> (); dtype: {float,double,int32,uint8,int16,int8,complex64,"
                  "int64,qint8,quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,"
                  "half,uint32,uint64}; Tindices: {int32,int64}",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildScatter},
    {.signature = "ResourceScatterMul(resource: resource, indices: Tindices, updates: "
                  "dtype) -> (); dtype: {float,double,int32,uint8,int16,int8,complex64,"
                  "int64,qint8,quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,"
                  "half,uint32,uint64}; Tindices: {int32,int64}",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildScatter},
    {.signature = "ResourceScatterNdAdd(ref: resource, indices: Tindices, updates: T) -> "
                  "(); T: type; Tindices: {int32,int64}; use_locking: bool = true; "
                  "bad_indices_policy: string = ''",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildScatterNd},
    {.signature = "ResourceScatterNdMax(ref: resource, indices: Tindices, updates: T) -> "
                  "(); T: type; Tindices: {int32,int64}; use_locking: bool = true; "
                  "bad_indices_policy: string = ''",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildScatterNd},
    {.signature = "ResourceScatterNdMin(ref: resource, indices: Tindices, updates: T) -> "
                  "(); T: type; Tindices: {int32,int64}; use_locking: bool = true; "
                  "bad_indices_policy: string = ''",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildScatterNd},
    {.signature = "ResourceScatterNdSub(ref: resource, indices: Tindices, updates: T) -> "
                  "(); T: type; Tindices: {int32,int64}; use_locking: bool = true; "
                  "bad_indices_policy: string = ''",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildScatterNd},
    {.signature = "ResourceScatterNdUpdate(ref: resource, indices: Tindices, updates: T) "
                  "-> (); T: type; Tindices: {int32,int64}; use_locking: bool = true; "
                  "bad_indices_policy: string = ''",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildScatterNd},
    {.signature = "ResourceScatterSub(resource: resource, indices: Tindices, updates: "
                  "dtype) -> (); dtype: {float,double,int32,uint8,int16,int8,complex64,"
                  "int64,qint8,quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,"
                  "half,uint32,uint64}; Tindices: {int32,int64}",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildScatter},
    {.signature = "ResourceScatterUpdate(resource: resource, indices: Tindices, updates: "
                  "dtype) -> (); dtype: type; Tindices: {int32,int64}",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildScatter},
    {.signature = "ScatterAdd(ref: Ref(T), indices: Tindices, updates: T) -> (output_ref: "
                  "Ref(T)); T: {float,double,int32,uint8,int16,int8,complex64,int64,qint8,"
                  "quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,half,uint32,"
                  "uint64}; Tindices: {int32,int64}; use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildScatter},
    {.signature = "ScatterDiv(ref: Ref(T), indices: Tindices, updates: T) -> (output_ref: "
                  "Ref(T)); T: {float,double,int32,uint8,int16,int8,complex64,int64,qint8,"
                  "quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,half,uint32,"
                  "uint64}; Tindices: {int32,int64}; use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildScatter},
    {.signature = "ScatterMax(ref: Ref(T), indices: Tindices, updates: T) -> (output_ref: "
                  "Ref(T)); T: {half,bfloat16,float,double,int32,int64}; Tindices: {int32,"
                  "int64}; use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildScatter},
    {.signature = "ScatterMin(ref: Ref(T), indices: Tindices, updates: T) -> (output_ref: "
                  "Ref(T)); T: {half,bfloat16,float,double,int32,int64}; Tindices: {int32,"
                  "int64}; use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildScatter},
    {.signature = "ScatterMul(ref: Ref(T), indices: Tindices, updates: T) -> (output_ref: "
                  "Ref(T)); T: {float,double,int32,uint8,int16,int8,complex64,int64,qint8,"
                  "quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,half,uint32,"
                  "uint64}; Tindices: {int32,int64}; use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildScatter},
    {.signature = "ScatterNdAdd(ref: Ref(T), indices: Tindices, updates: T) -> "
                  "(output_ref: Ref(T)); T: {float,double,int32,uint8,int16,int8,complex64,"
                  "int64,qint8,quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,"
                  "half,uint32,uint64}; Tindices: {int32,int64}; use_locking: bool = "
                  "false; bad_indices_policy: string = ''",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildScatterNd},
    {.signature = "ScatterNdMax(ref: Ref(T), indices: Tindices, updates: T) -> "
                  "(output_ref: Ref(T)); T: {float,double,int32,uint8,int16,int8,complex64,"
                  "int64,qint8,quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,"
                  "half,uint32,uint64}; Tindices: {int32,int64}; use_locking: bool = "
                  "false; bad_indices_policy: string = ''",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildScatterNd},
    {.signature = "ScatterNdMin(ref: Ref(T), indices: Tindices, updates: T) -> "
                  "(output_ref: Ref(T)); T: {float,double,int32,uint8,int16,int8,complex64,"
                  "int64,qint8,quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,"
                  "half,uint32,uint64}; Tindices: {int32,int64}; use_locking: bool = "
                  "false; bad_indices_policy: string = ''",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildScatterNd},
    {.signature = "ScatterNdSub(ref: Ref(T), indices: Tindices, updates: T) -> "
                  "(output_ref: Ref(T)); T: {float,double,int32,uint8,int16,int8,complex64,"
                  "int64,qint8,quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,"
                  "half,uint32,uint64}; Tindices: {int32,int64}; use_locking: bool = "
                  "false; bad_indices_policy: string = ''",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildScatterNd},
    {.signature = "ScatterNdUpdate(ref: Ref(T), indices: Tindices, updates: T) -> "
                  "(output_ref: Ref(T)); T: type; Tindices: {int32,int64}; use_locking: "
                  "bool = true; bad_indices_policy: string = ''",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildScatterNd},
    {.signature = "ScatterSub(ref: Ref(T), indices: Tindices, updates: T) -> (output_ref: "
                  "Ref(T)); T: {float,double,int32,uint8,int16,int8,complex64,int64,qint8,"
                  "quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,half,uint32,"
                  "uint64}; Tindices: {int32,int64}; use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildScatter},
    {.signature = "ScatterUpdate(ref: Ref(T), indices: Tindices, updates: T) -> "
                  "(output_ref: Ref(T)); T: type; Tindices: {int32,int64}; use_locking: "
                  "bool = true",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildScatter},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> VariableScatterOps() { return kOps; }

}  // namespace savedmodel
