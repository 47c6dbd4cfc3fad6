// What the control-flow kernels share: functions to call, and conditions.
#pragma once

#include <memory>
#include <vector>

#include "src/graph/enterable_function.h"

namespace savedmodel {

// A function that a node may call, compiled. Where that failed, the error is kept for the call, so
// that a branch which is never taken may hold what this library cannot run.
struct Callee {
  std::shared_ptr<const EnterableFunction> function;
  Status error;

  Status Run(Span<Tensor> inputs, Span<Tensor> outputs, RunState& run) const {
    if (function == nullptr) return error;
    return function->Run(inputs, outputs, run);
  }
};

// Compiles `f` for arguments of `shapes`. A failure, or a function that does not take as many
// arguments or does not give `num_outputs` results, becomes the callee's error.
Callee CompileCallee(BuildContext& build, const FuncAttr& f, Span<const Shape> shapes,
                     int num_outputs);

// The shapes of the node's inputs from `first` on.
std::vector<Shape> InputShapesFrom(const BuildContext& build, int first);
std::vector<Shape> InputShapesFrom(const ShapeContext& ctx, int first);

// The shape function of a node that calls the function in its attribute `f` on all of its inputs.
Status CallShape(ShapeContext& ctx);

// Whether `t` counts as true, by TensorFlow's rule: a scalar by its value (a string when it is not
// empty), anything else when it has elements.
StatusOr<bool> IsTrue(const Tensor& t);

}  // namespace savedmodel
