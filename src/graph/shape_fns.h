// Shape functions that many ops share. Each is a ShapeFn.
#pragma once

#include "savedmodel/op.h"

namespace savedmodel::shape {

// Output 0 (and every other output) has the shape of input 0.
Status SameAsInput0(ShapeContext& ctx);
// Output 0 has the shape of input 1.
Status SameAsInput1(ShapeContext& ctx);
// Output i has the shape of input i.
Status Each(ShapeContext& ctx);
// Output 0 is inputs 0 and 1 broadcast against each other.
Status Broadcast(ShapeContext& ctx);
// Every output is a scalar.
Status Scalar(ShapeContext& ctx);
// Nothing is known: the kernel checks its inputs and allocates its outputs.
Status Unknown(ShapeContext& ctx);
// Output 0 has the shape that attribute `shape` says.
Status FromShapeAttr(ShapeContext& ctx);
// The op has no outputs.
Status NoOutputs(ShapeContext& ctx);

// `a` and `b` broadcast against each other, as numpy and TensorFlow do.
// INVALID_ARGUMENT "incompatible shapes" when they cannot be.
StatusOr<Shape> BroadcastShapes(const Shape& a, const Shape& b);

// `axis` in [-rank, rank) made non-negative. INVALID_ARGUMENT otherwise.
StatusOr<int> NormalizeAxis(int64_t axis, int rank);

// Output size and leading padding of a window of `filter` (dilated) elements moved over `input`.
// `padding` is "SAME", "VALID" or "EXPLICIT" (then `before` and `after` hold it on entry).
struct WindowSize {
  int64_t output = 0;
  int64_t before = 0;
  int64_t after = 0;
};
StatusOr<WindowSize> WindowOutput(int64_t input, int64_t filter, int64_t dilation, int64_t stride,
                                  std::string_view padding, int64_t before = 0, int64_t after = 0);

}  // namespace savedmodel::shape
