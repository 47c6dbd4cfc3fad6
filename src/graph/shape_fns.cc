#include "src/graph/shape_fns.h"

#include <algorithm>

#include "src/base/status_macros.h"

namespace savedmodel::shape {

Status SameAsInput0(ShapeContext& ctx) {
  for (int i = 0; i < ctx.num_outputs(); ++i) ctx.set_output(i, ctx.input(0));
  return Status();
}

Status SameAsInput1(ShapeContext& ctx) {
  ctx.set_output(0, ctx.input(1));
  return Status();
}

Status Each(ShapeContext& ctx) {
  for (int i = 0; i < std::min(ctx.num_outputs(), ctx.num_inputs()); ++i) {
    ctx.set_output(i, ctx.input(i));
  }
  return Status();
}

Status Broadcast(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(Shape out, BroadcastShapes(ctx.input(0), ctx.input(1)));
  ctx.set_output(0, std::move(out));
  return Status();
}

Status Scalar(ShapeContext& ctx) {
  for (int i = 0; i < ctx.num_outputs(); ++i) ctx.set_output(i, Shape());
  return Status();
}

Status Unknown(ShapeContext&) { return Status(); }

Status FromShapeAttr(ShapeContext& ctx) {
  ctx.set_output(0, ctx.attrs().Get<Shape>("shape"));
  return Status();
}

Status NoOutputs(ShapeContext&) { return Status(); }

StatusOr<Shape> BroadcastShapes(const Shape& a, const Shape& b) {
  if (!a.known_rank() || !b.known_rank()) return Shape::Unknown();
  const int rank = std::max(a.rank(), b.rank());
  std::vector<int64_t> dims(rank);
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a.rank()), ib = i - (rank - b.rank());
    const int64_t da = ia < 0 ? 1 : a[ia], db = ib < 0 ? 1 : b[ib];
    if (da == db || db == 1) {
      dims[i] = da;
    } else if (da == 1) {
      dims[i] = db;
    } else if (da == -1 || db == -1) {
      dims[i] = std::max(da, db) > 1 ? std::max(da, db) : -1;
    } else {
      return InvalidArgument("incompatible shapes: ", a, " and ", b,
                             " cannot be broadcast against each other");
    }
  }
  Shape out(dims);
  if (!out.valid()) return Shape::Make(dims).status();
  return out;
}

StatusOr<int> NormalizeAxis(int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) {
    return InvalidArgument("axis ", axis, " is out of range, expected an axis in [", -rank, ", ",
                           rank, ")");
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

StatusOr<WindowSize> WindowOutput(int64_t input, int64_t filter, int64_t dilation, int64_t stride,
                                  std::string_view padding, int64_t before, int64_t after) {
  if (stride <= 0 || dilation <= 0 || filter < 0) {
    return InvalidArgument("found stride ", stride, ", dilation ", dilation, ", window ", filter,
                           "; expected strides and dilations > 0");
  }
  int64_t window = 0, padded = 0;
  if (__builtin_mul_overflow(filter - 1, dilation, &window) || window > (int64_t{1} << 40)) {
    return InvalidArgument("a window of ", filter, " elements at dilation ", dilation,
                           " is too large");
  }
  window += 1;
  WindowSize size;
  if (padding == "SAME") {
    size.output = input / stride + (input % stride != 0);
    const int64_t needed = std::max<int64_t>(0, (size.output - 1) * stride + window - input);
    size.before = needed / 2;
    size.after = needed - size.before;
    return size;
  }
  if (padding == "EXPLICIT") {
    if (before < 0 || after < 0) {
      return InvalidArgument("found explicit paddings ", before, " and ", after,
                             ", expected paddings >= 0");
    }
    size.before = before;
    size.after = after;
  }
  if (__builtin_add_overflow(input, size.before, &padded) ||
      __builtin_add_overflow(padded, size.after, &padded)) {
    return InvalidArgument("explicit paddings ", before, " and ", after, " are too large");
  }
  if (padded >= window) {
    size.output = (padded - window) / stride + 1;
  } else if (window - padded - stride >= stride) {  // less gives none: TensorFlow rounds to zero
    return InvalidArgument("a window of ", window, " elements does not fit into ", padded,
                           " (input ", input, " and padding)");
  }
  return size;
}

}  // namespace savedmodel::shape
