// Optional values: none, or some tensors.
#include <utility>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/state/keep_input.h"
#include "src/kernels/state/nested_variant.h"
#include "src/kernels/state/state_ops.h"

namespace savedmodel {
namespace {

struct OptionalValue final : NestedVariant {
  std::string_view kind() const override { return "optional"; }
  bool has_value = false;
  std::vector<Tensor> components;
};

Status RunFromValue(OpContext& ctx) {
  auto optional = std::make_shared<OptionalValue>();
  optional->has_value = true;
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    SM_ASSIGN_OR_RETURN(Tensor component, KeepInput(ctx, i));
    SM_RETURN_IF_ERROR(optional->Admit(component));
    optional->components.push_back(std::move(component));
  }
  ctx.set_output(0, Tensor::Scalar<VariantRef>(std::move(optional)));
  return Status();
}

Status RunNone(OpContext& ctx) {
  ctx.set_output(0, Tensor::Scalar<VariantRef>(std::make_shared<OptionalValue>()));
  return Status();
}

StatusOr<const OptionalValue*> OptionalInput(const OpContext& ctx) {
  const Tensor& handle = ctx.input(0);
  const auto* optional = handle.num_elements() == 1
                             ? dynamic_cast<const OptionalValue*>(handle.data<VariantRef>()->get())
                             : nullptr;
  SM_CHECK_ARG(optional != nullptr, "input 0 is no optional");
  return optional;
}

Status RunHasValue(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const OptionalValue* optional, OptionalInput(ctx));
  *ctx.out<bool>(0) = optional->has_value;
  return Status();
}

StatusOr<KernelPtr> BuildGetValue(BuildContext& build) {
  const auto& shapes = build.attrs().Get<std::vector<Shape>>("output_shapes");
  SM_CHECK_ARG(static_cast<int>(shapes.size()) == build.num_outputs(), "found ", shapes.size(),
               " output shapes for ", build.num_outputs(), " outputs");
  return MakeKernel([shapes](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const OptionalValue* optional, OptionalInput(ctx));
    SM_CHECK_ARG(optional->has_value, "the optional has no value");
    SM_CHECK_ARG(optional->components.size() == shapes.size(), "the optional has ",
                 optional->components.size(), " components, expected ", shapes.size());
    for (size_t i = 0; i < shapes.size(); ++i) {
      const Tensor& component = optional->components[i];
      const DType dtype = ctx.output_dtype(static_cast<int>(i));
      SM_CHECK_ARG(component.dtype() == dtype && shapes[i].CompatibleWith(component.shape()),
                   "component ", i, " is ", component.TypeString(), ", expected ", dtype,
                   shapes[i]);
      ctx.set_output(static_cast<int>(i), component);
    }
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "OptionalFromValue(components: Toutput_types) -> (optional: variant); "
                  "Toutput_types: list(type) >= 1",
     .shape = shape::Scalar,
     .build = BuildPlain<RunFromValue>},
    {.signature = "OptionalGetValue(optional: variant) -> (components: output_types); "
                  "output_types: list(type) >= 1; output_shapes: list(shape) >= 1",
     .shape = shape::Unknown,
     .build = BuildGetValue},
    {.signature = "OptionalHasValue(optional: variant) -> (has_value: bool)",
     .shape = shape::Scalar,
     .build = BuildPlain<RunHasValue>},
    {.signature = "OptionalNone() -> (optional: variant)",
     .shape = shape::Scalar,
     .build = BuildPlain<RunNone>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> OptionalOps() { return kOps; }

}  // namespace savedmodel
