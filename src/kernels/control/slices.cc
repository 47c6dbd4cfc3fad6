// Runs of a function over a batch, some examples at a time.
#include <cstring>
#include <utility>
#include <vector>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/kernels/control/callee.h"
#include "src/kernels/control/control_ops.h"

namespace savedmodel {
namespace {

Status SlicesShape(ShapeContext& ctx) {
  const auto& shapes = ctx.attrs().Get<std::vector<Shape>>("output_shapes");
  SM_CHECK_ARG(static_cast<int>(shapes.size()) == ctx.num_outputs(), "found ", shapes.size(),
               " shapes for ", ctx.num_outputs(), " outputs");
  for (int i = 0; i < ctx.num_outputs(); ++i) ctx.set_output(i, shapes[i]);
  return Status();
}

// Examples [begin, begin + n) of `batch`, in its memory.
Tensor SliceOf(const Tensor& batch, int64_t begin, int64_t n) {
  const Shape& shape = batch.shape();
  const size_t bytes = batch.num_bytes() / static_cast<size_t>(shape[0]);
  auto* const first = static_cast<char*>(const_cast<void*>(batch.raw_data()));
  return Tensor::View(batch.dtype(), shape.WithDim(0, n), first + bytes * begin);
}

// Examples [begin, begin + n) of the outputs, computed by what `stay` is in.
Status RunSlice(OpContext& ctx, Stay& stay, int64_t begin, int64_t n) {
  for (int i = 0; i < ctx.num_inputs(); ++i) stay.argument(i) = SliceOf(ctx.input(i), begin, n);
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    stay.BindResult(i, SliceOf(ctx.output(i), begin, n));
  }
  SM_RETURN_IF_ERROR(stay.Run());
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    const Tensor to = SliceOf(ctx.output(i), begin, n);
    const Tensor& result = stay.result(i);
    if (result.raw_data() == to.raw_data()) continue;
    if (result.dtype() != to.dtype() || result.shape() != to.shape()) {
      return Internal("result ", i, " of a slice is ", result.TypeString(), ", expected ",
                      to.TypeString());
    }
    std::memcpy(const_cast<void*>(to.raw_data()), result.raw_data(), to.num_bytes());
  }
  return Status();
}

// The functions of whole slices, of `examples` each, and of what is left at the end.
struct Slices {
  Callee whole, rest;
  int64_t examples = 0;

  Status Run(OpContext& ctx) const {
    const int64_t all = ctx.input(0).shape()[0];
    const int64_t left = all % examples;
    {
      Stay stay;
      SM_RETURN_IF_ERROR(stay.Enter(*whole.function, ctx.run()));
      for (int64_t begin = 0; begin < all - left; begin += examples) {
        SM_RETURN_IF_ERROR(RunSlice(ctx, stay, begin, examples));
      }
    }
    if (left == 0) return Status();
    Stay stay;
    SM_RETURN_IF_ERROR(stay.Enter(*rest.function, ctx.run()));
    return RunSlice(ctx, stay, all - left, left);
  }
};

// The shape's first dimension is `examples`.
Status CheckBatch(const Shape& shape, int64_t examples, const char* what, int i) {
  SM_CHECK_ARG(shape.fully_known() && shape.rank() > 0 && shape[0] == examples, "found ", what, " ",
               i, " of shape ", shape, ", expected ", examples, " examples");
  return Status();
}

StatusOr<KernelPtr> BuildSlices(BuildContext& build) {
  Slices slices;
  slices.examples = build.attrs().Int("examples");
  const Shape& first = build.input_shape(0);
  SM_CHECK_ARG(first.fully_known() && first.rank() > 0 && first[0] >= slices.examples,
               "found a batch of shape ", first, ", expected at least ", slices.examples,
               " examples");
  const int64_t all = first[0];
  for (int i = 0; i < build.num_inputs(); ++i) {
    SM_RETURN_IF_ERROR(CheckBatch(build.input_shape(i), all, "input", i));
  }
  for (int i = 0; i < build.num_outputs(); ++i) {
    SM_RETURN_IF_ERROR(CheckBatch(build.output_shape(i), all, "output", i));
  }
  const auto compile = [&](const char* name, int64_t examples) {
    std::vector<Shape> shapes = InputShapesFrom(build, 0);
    for (Shape& shape : shapes) shape = shape.WithDim(0, examples);
    return CompileCallee(build, build.attrs().Get<FuncAttr>(name), shapes, build.num_outputs());
  };
  slices.whole = compile("f", slices.examples);
  SM_RETURN_IF_ERROR(slices.whole.error);
  if (const int64_t left = all % slices.examples; left > 0) {
    slices.rest = compile("rest", left);
    SM_RETURN_IF_ERROR(slices.rest.error);
  }
  return MakeKernel([slices](OpContext& ctx) { return slices.Run(ctx); },
                    StrCat("slices of ", slices.examples));
}

constexpr OpDef kOps[] = {
    {.signature = "_Slices(batch: Tin) -> (output: Tout); Tin: list(type) >= 1; "
                  "Tout: list(type) >= 1; f: func; rest: func; examples: int >= 1; "
                  "output_shapes: list(shape)",
     .shape = SlicesShape,
     .build = BuildSlices},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SlicesOps() { return kOps; }

}  // namespace savedmodel
