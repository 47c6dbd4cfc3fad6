// How kernels that hold on to their inputs get them.
#pragma once

#include "savedmodel/op.h"

namespace savedmodel {

// Input `i` as a tensor that owns its elements, moved out where this node is its only user.
inline StatusOr<Tensor> KeepInput(OpContext& ctx, int i) {
  return ctx.TakeInput(i).Owned(ctx.run().budget);
}

}  // namespace savedmodel
