// Variables as inputs of kernels.
#pragma once

#include "src/kernels/state/resource_input.h"

namespace savedmodel {

// The variable behind input `i`; INVALID_ARGUMENT unless it holds `dtype`.
inline StatusOr<VariableResource*> VariableInput(const OpContext& ctx, int i, DType dtype) {
  SM_ASSIGN_OR_RETURN(VariableResource * variable,
                      ResourceInput<VariableResource>(ctx, i, "variable"));
  SM_CHECK_ARG(variable->dtype() == dtype, "variable '", variable->name(), "' holds ",
               variable->dtype(), ", expected ", dtype);
  return variable;
}

// As VariableInput, but NOT_FOUND while the variable has no value, as TensorFlow has it for ops
// that look the variable up to change or gather from it.
inline StatusOr<VariableResource*> InitializedVariableInput(const OpContext& ctx, int i,
                                                            DType dtype) {
  SM_ASSIGN_OR_RETURN(VariableResource * variable, VariableInput(ctx, i, dtype));
  if (!variable->initialized()) {
    return NotFound("variable '", variable->name(), "' has no value; initialise it first");
  }
  return variable;
}

// Gives `t` elements of its own, which may be written through raw_mutable_data.
inline Status MakeExclusive(OpContext& ctx, Tensor& t) {
  if (t.exclusive()) return Status();
  SM_ASSIGN_OR_RETURN(t, t.Clone(ctx.run().budget));
  return Status();
}

// True for the ops of TensorFlow 1 whose output 0 is the reference that input 0 is.
inline bool ReturnsReference(const BuildContext& build) { return build.num_outputs() > 0; }

// Output 0 is the handle that input 0 is.
inline Status ForwardHandle(OpContext& ctx) { return ctx.ForwardInput(0, 0, Shape()); }

}  // namespace savedmodel
