// What the control-flow kernels share.
#include "src/kernels/control/callee.h"

#include <utility>

#include "src/kernels/visit_dtype.h"

namespace savedmodel {

Callee CompileCallee(BuildContext& build, const FuncAttr& f, Span<const Shape> shapes,
                     int num_outputs) {
  Callee callee;
  auto compiled = build.CompileFunction(f, shapes);
  if (!compiled.ok()) {
    callee.error = compiled.status();
    return callee;
  }
  const CompiledFunction& function = **compiled;
  if (function.num_inputs() != static_cast<int>(shapes.size()) ||
      function.num_outputs() != num_outputs) {
    callee.error = InvalidArgument("function '", f.name, "' takes ", function.num_inputs(),
                                   " arguments and gives ", function.num_outputs(),
                                   " results, expected ", shapes.size(), " and ", num_outputs);
    return callee;
  }
  callee.function = std::dynamic_pointer_cast<const EnterableFunction>(*std::move(compiled));
  if (callee.function == nullptr) {
    callee.error = Internal("function '", f.name, "' was not compiled to a plan");
  }
  return callee;
}

std::vector<Shape> InputShapesFrom(const BuildContext& build, int first) {
  std::vector<Shape> shapes;
  for (int i = first; i < build.num_inputs(); ++i) shapes.push_back(build.input_shape(i));
  return shapes;
}

std::vector<Shape> InputShapesFrom(const ShapeContext& ctx, int first) {
  std::vector<Shape> shapes;
  for (int i = first; i < ctx.num_inputs(); ++i) shapes.push_back(ctx.input(i));
  return shapes;
}

Status CallShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(std::vector<Shape> shapes,
                      ctx.InferFunction(ctx.attrs().Get<FuncAttr>("f"), InputShapesFrom(ctx, 0)));
  if (static_cast<int>(shapes.size()) != ctx.num_outputs()) return Status();
  for (int i = 0; i < ctx.num_outputs(); ++i) ctx.set_output(i, shapes[i]);
  return Status();
}

StatusOr<bool> IsTrue(const Tensor& t) {
  if (t.shape().rank() != 0) return t.num_elements() > 0;
  if (const bool* b = t.data<bool>()) return *b;
  if (const std::string* s = t.data<std::string>()) return !s->empty();
  bool result = false;
  const Status status = VisitDType<kNumbers>(t.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    result = *t.data<T>() != T(0);
    return Status();
  });
  if (!status.ok()) {
    return InvalidArgument("a condition of dtype ", t.dtype(),
                           " has no truth value, expected bool, a number or a string");
  }
  return result;
}

}  // namespace savedmodel
