// Variables behind resource handles: making, reading and assigning.
#include <utility>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/state/keep_input.h"
#include "src/kernels/state/state_ops.h"
#include "src/kernels/state/update.h"
#include "src/kernels/state/variable_input.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

StatusOr<KernelPtr> BuildVarHandle(BuildContext& build) {
  // The name by which TensorFlow asks for a new variable in each run.
  constexpr std::string_view kAnonymous = "cd2c89b7-88b7-44c8-ad83-06c2a9158347";
  auto make = [dtype = build.attrs().Type("dtype"), shape = build.attrs().Get<Shape>("shape")] {
    return std::make_shared<VariableResource>(dtype, shape);
  };
  if (build.attrs().String("shared_name") == kAnonymous) return MakeAnonymousKernel(make);
  return MakeHandleKernel(build, "variable", make);
}

Status RunRead(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(VariableResource * variable, VariableInput(ctx, 0, ctx.output_dtype(0)));
  SM_ASSIGN_OR_RETURN(Tensor value, variable->Read());
  ctx.set_output(0, std::move(value));
  return Status();
}

StatusOr<KernelPtr> BuildAssignVariable(BuildContext& build) {
  const bool validate_shape = build.attrs().Bool("validate_shape");
  return MakeKernel([validate_shape](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(VariableResource * variable, VariableInput(ctx, 0, ctx.input(1).dtype()));
    if (const auto old = variable->Read(); validate_shape && old.ok()) {
      SM_CHECK_ARG(old->shape() == ctx.input(1).shape(), "variable '", variable->name(),
                   "' has shape ", old->shape(), ", cannot assign ", ctx.input(1).shape());
    }
    SM_ASSIGN_OR_RETURN(Tensor value, KeepInput(ctx, 1));
    return variable->Assign(std::move(value));
  });
}

// AssignAddVariableOp, AssignSubVariableOp, and their TensorFlow 1 forms.
StatusOr<KernelPtr> BuildAssignUpdate(BuildContext& build) {
  const DType dtype = build.input_dtype(1);
  const bool reference = ReturnsReference(build);
  SM_ASSIGN_OR_RETURN(const UpdateFn update, FindUpdate(UpdateOf(build.op_name()), dtype));
  return MakeKernel([update, dtype, reference](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(VariableResource * variable, reference
                                                         ? VariableInput(ctx, 0, dtype)
                                                         : InitializedVariableInput(ctx, 0, dtype));
    const Tensor& x = ctx.input(1);
    SM_RETURN_IF_ERROR(variable->Update([&](Tensor& value) -> Status {
      SM_CHECK_ARG(value.shape() == x.shape(), "variable '", variable->name(), "' has shape ",
                   value.shape(), ", cannot be updated with shape ", x.shape());
      SM_RETURN_IF_ERROR(MakeExclusive(ctx, value));
      update(value.raw_mutable_data(), x.raw_data(), value.num_elements(), false);
      return Status();
    }));
    return reference ? ForwardHandle(ctx) : Status();
  });
}

StatusOr<KernelPtr> BuildAssign(BuildContext& build) {
  const bool validate_shape = build.attrs().Bool("validate_shape");
  return MakeKernel([validate_shape](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(VariableResource * variable, VariableInput(ctx, 0, ctx.input(1).dtype()));
    if (validate_shape) {
      const auto old = variable->Read();
      const Shape& expected = old.ok() ? old->shape() : variable->shape();
      SM_CHECK_ARG(expected.CompatibleWith(ctx.input(1).shape()), "variable '", variable->name(),
                   "' has shape ", expected, ", cannot assign ", ctx.input(1).shape());
    }
    SM_ASSIGN_OR_RETURN(Tensor value, KeepInput(ctx, 1));
    SM_RETURN_IF_ERROR(variable->Assign(std::move(value)));
    return ForwardHandle(ctx);
  });
}

Status RunIsInitialized(OpContext& ctx) {
  const auto variable = ResourceInput<VariableResource>(ctx, 0, "variable");
  *ctx.out<bool>(0) = variable.ok() && (*variable)->initialized();
  return Status();
}

// Values are shared until they are written, whatever way they are read.
Status RunDisableCopyOnRead(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(VariableResource * variable,
                      ResourceInput<VariableResource>(ctx, 0, "variable"));
  return variable->Read().status();
}

Status VectorShape(ShapeContext& ctx) {
  ctx.set_output(0, Shape::UnknownOfRank(1));
  return Status();
}

Status RunVariableShape(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(VariableResource * variable,
                      ResourceInput<VariableResource>(ctx, 0, "variable"));
  const auto value = variable->Read();
  if (!value.ok()) return NotFound(value.status().message());
  const Shape& shape = value->shape();
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, Shape({shape.rank()})));
  for (int i = 0; i < shape.rank(); ++i) {
    if (int64_t* wide = ctx.out<int64_t>(0)) {
      wide[i] = shape[i];
    } else {
      SM_CHECK_ARG(shape[i] <= INT32_MAX, "dimension ", shape[i],
                   " does not fit into int32; set out_type to int64");
      ctx.out<int32_t>(0)[i] = static_cast<int32_t>(shape[i]);
    }
  }
  return Status();
}

// A variable loses its value, any other resource its name.
StatusOr<KernelPtr> BuildDestroy(BuildContext& build) {
  const bool ignore = build.attrs().Bool("ignore_lookup_error");
  return MakeKernel([ignore](OpContext& ctx) -> Status {
    const auto resource = ResourceInput<Resource>(ctx, 0, "resource");
    if (!resource.ok()) return ignore ? Status() : resource.status();
    bool found = false;
    if (auto* variable = dynamic_cast<VariableResource*>(*resource)) {
      found = variable->initialized();
      variable->Destroy();
    } else if (ctx.run().resources != nullptr) {
      for (const auto& [key, other] : ctx.run().resources->All()) {
        if (other.get() == *resource) found = ctx.run().resources->Erase(key);
      }
    }
    if (found || ignore) return Status();
    return NotFound((*resource)->kind(), " '", (*resource)->name(), "' does not exist");
  });
}

StatusOr<KernelPtr> BuildVariableV2(BuildContext& build) {
  return MakeHandleKernel(
      build, "variable",
      [dtype = build.attrs().Type("dtype"), shape = build.attrs().Get<Shape>("shape")] {
        return std::make_shared<VariableResource>(dtype, shape);
      });
}

// A variable of this run alone; its elements are whatever they are until assigned.
StatusOr<KernelPtr> BuildTemporaryVariable(BuildContext& build) {
  return MakeKernel([dtype = build.attrs().Type("dtype"),
                     shape = build.attrs().Get<Shape>("shape")](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(Tensor value, Tensor::Zeros(dtype, shape, ctx.run().budget));
    auto variable = std::make_shared<VariableResource>(dtype, shape);
    SM_RETURN_IF_ERROR(variable->Assign(std::move(value)));
    ctx.set_output(0, Tensor::Scalar<ResourceRef>(std::move(variable)));
    return Status();
  });
}

Status RunDestroyTemporary(OpContext& ctx) {
  SM_RETURN_IF_ERROR(RunRead(ctx));
  SM_ASSIGN_OR_RETURN(VariableResource * variable,
                      ResourceInput<VariableResource>(ctx, 0, "variable"));
  variable->Destroy();
  return Status();
}

// Gives the value and adds one to it; OUT_OF_RANGE once it is `limit`.
StatusOr<KernelPtr> BuildCountUpTo(BuildContext& build) {
  const int64_t limit = build.attrs().Int("limit");
  return MakeKernel([limit](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(VariableResource * variable, VariableInput(ctx, 0, ctx.output_dtype(0)));
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, Shape()));
    return variable->Update([&](Tensor& value) {
      return VisitDType<kInt32Or64>(value.dtype(), [&](auto tag) -> Status {
        using T = typename decltype(tag)::type;
        SM_CHECK_ARG(value.shape().rank() == 0, "the counter has shape ", value.shape(),
                     ", expected a scalar");
        const T count = *value.data<T>();
        if (count >= limit) return OutOfRange("the counter has reached its limit of ", limit);
        SM_RETURN_IF_ERROR(MakeExclusive(ctx, value));
        *static_cast<T*>(value.raw_mutable_data()) = count + 1;
        *ctx.out<T>(0) = count;
        return Status();
      });
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature = "Assign(ref: Ref(T), value: T) -> (output_ref: Ref(T)); T: type; "
                  "validate_shape: bool = true; use_locking: bool = true",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildAssign},
    {.signature =
         "AssignAdd(ref: Ref(T), value: T) -> (output_ref: Ref(T)); T: {float,double,int32,uint8,"
         "int16,int8,complex64,int64,qint8,quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,"
         "half,uint32,uint64}; use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildAssignUpdate},
    {.signature = "AssignAddVariableOp(resource: resource, value: dtype) -> (); dtype: type",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildAssignUpdate},
    {.signature =
         "AssignSub(ref: Ref(T), value: T) -> (output_ref: Ref(T)); T: {float,double,int32,uint8,"
         "int16,int8,complex64,int64,qint8,quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,"
         "half,uint32,uint64}; use_locking: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildAssignUpdate},
    {.signature = "AssignSubVariableOp(resource: resource, value: dtype) -> (); dtype: type",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildAssignUpdate},
    {.signature = "AssignVariableOp(resource: resource, value: dtype) -> (); dtype: type; "
                  "validate_shape: bool = false",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildAssignVariable},
    {.signature = "CountUpTo(ref: Ref(T)) -> (output: T); limit: int; T: {int32,int64}",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildCountUpTo},
    {.signature = "DestroyResourceOp(resource: resource) -> (); ignore_lookup_error: bool = true",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildDestroy},
    {.signature = "DestroyTemporaryVariable(ref: Ref(T)) -> (value: T); T: type; var_name: string",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildPlain<RunDestroyTemporary>},
    {.signature = "DisableCopyOnRead(resource: resource) -> ()",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunDisableCopyOnRead>},
    {.signature = "IsVariableInitialized(ref: Ref(dtype)) -> (is_initialized: bool); dtype: type",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunIsInitialized>},
    {.signature = "ReadVariableOp(resource: resource) -> (value: dtype); dtype: type",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildPlain<RunRead>},
    {.signature = "ResourceCountUpTo(resource: resource) -> (output: T); limit: int; "
                  "T: {int32,int64}",
     .effects = Effects::kWritesState,
     .shape = shape::Scalar,
     .build = BuildCountUpTo},
    {.signature = "TemporaryVariable() -> (ref: Ref(dtype)); shape: shape; dtype: type; "
                  "var_name: string = ''",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildTemporaryVariable},
    {.signature = "VarHandleOp() -> (resource: resource); container: string = ''; "
                  "shared_name: string = ''; debug_name: string = ''; dtype: type; shape: shape; "
                  "allowed_devices: list(string) = []",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildVarHandle},
    {.signature = "VarIsInitializedOp(resource: resource) -> (is_initialized: bool)",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunIsInitialized>},
    {.signature = "Variable() -> (ref: Ref(dtype)); shape: shape; dtype: type; "
                  "container: string = ''; shared_name: string = ''",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildVariableV2},
    {.signature = "VariableShape(input: resource) -> (output: out_type); "
                  "out_type: {int32,int64} = int32",
     .effects = Effects::kReadsState,
     .shape = VectorShape,
     .build = BuildPlain<RunVariableShape>},
    {.signature = "VariableV2() -> (ref: Ref(dtype)); shape: shape; dtype: type; "
                  "container: string = ''; shared_name: string = ''",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildVariableV2},
    // What reads the value behind a reference where an op wants a plain input.
    {.signature = "_ReadRef(ref: Ref(T)) -> (value: T); T: type",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildPlain<RunRead>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> VariableOps() { return kOps; }

}  // namespace savedmodel
