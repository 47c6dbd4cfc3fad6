// Ops that change or report shapes without touching elements.
#include <algorithm>

#include "absl/container/inlined_vector.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/ints.h"

namespace savedmodel {
namespace {

// The shape that Reshape makes of `from` for the asked dimensions, one of which may be -1. With a
// zero among them, -1 stands for what is left without the zero dimensions of `from`.
StatusOr<Shape> ReshapedShape(const Shape& from, std::vector<int64_t> dims) {
  int wild = -1;
  bool overflow = false, has_zero = false;
  int64_t product = 1;  // of the dimensions that are not 0 or -1
  for (size_t i = 0; i < dims.size(); ++i) {
    SM_CHECK_ARG(dims[i] >= -1, "asked for shape ", dims,
                 ", expected dimensions >= 0, or -1 for one of them");
    if (dims[i] == -1) {
      SM_CHECK_ARG(wild < 0, "asked for shape ", dims, ", expected at most one -1");
      wild = static_cast<int>(i);
    } else if (dims[i] == 0) {
      has_zero = true;
    } else {
      overflow |= __builtin_mul_overflow(product, dims[i], &product);
    }
  }
  SM_CHECK_ARG(!overflow, "asked for shape ", dims, ", which has too many elements");
  if (!from.fully_known()) return Shape::Make(dims);
  if (wild >= 0) {
    int64_t n = 1;
    for (int64_t d : from) {
      if (d > 0 || !has_zero) overflow |= __builtin_mul_overflow(n, d, &n);
    }
    SM_CHECK_ARG(!overflow, "a tensor of shape ", from, " cannot take shape ", dims);
    dims[wild] = n / product;
  }
  SM_ASSIGN_OR_RETURN(Shape out, Shape::Make(dims));
  SM_CHECK_ARG(out.num_elements() == from.num_elements(), "a tensor of shape ", from, " with ",
               from.num_elements(), " elements cannot take shape ", out);
  return out;
}

Status ReshapeShape(ShapeContext& ctx) {
  SM_CHECK_ARG(ctx.input(1).rank() <= 1, "shape has shape ", ctx.input(1), ", expected a vector");
  std::vector<int64_t> dims;
  if (!KnownInts(ctx, 1, &dims)) {
    if (ctx.input(1).fully_known() && ctx.input(1).rank() == 1 &&
        ctx.input(1)[0] <= Shape::kMaxRank) {
      ctx.set_output(0, Shape::UnknownOfRank(static_cast<int>(ctx.input(1)[0])));
    }
    return Status();
  }
  SM_ASSIGN_OR_RETURN(Shape out, ReshapedShape(ctx.input(0), std::move(dims)));
  ctx.set_output(0, std::move(out));
  return Status();
}

Status Reshape(OpContext& ctx) {
  SM_CHECK_ARG(ctx.input(1).shape().rank() <= 1, "shape has shape ", ctx.input(1).shape(),
               ", expected a vector");
  SM_ASSIGN_OR_RETURN(Shape out, ReshapedShape(ctx.input(0).shape(), ReadInts(ctx.input(1))));
  return ctx.ForwardInput(0, 0, out);
}

// Reshape of quantised values, whose range (inputs 2 and 3) stays.
Status QuantizedReshapeShape(ShapeContext& ctx) {
  ctx.set_output(1, Shape());
  ctx.set_output(2, Shape());
  return ReshapeShape(ctx);
}

Status QuantizedReshape(OpContext& ctx) {
  for (int i = 2; i <= 3; ++i) {
    SM_CHECK_ARG(ctx.input(i).num_elements() == 1, "input ", i, " has shape ", ctx.input(i).shape(),
                 ", expected a scalar");
    ctx.out<float>(i - 1)[0] = ctx.in<float>(i)[0];
  }
  return Reshape(ctx);
}

StatusOr<Shape> ExpandedShape(const Shape& in, int64_t dim) {
  SM_CHECK_ARG(in.rank() < Shape::kMaxRank, "a tensor of rank ", in.rank(),
               " cannot take another dimension");
  SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(dim, in.rank() + 1));
  return in.WithInserted(axis, 1);
}

Status ExpandDimsShape(ShapeContext& ctx) {
  int64_t dim = 0;
  SM_ASSIGN_OR_RETURN(const bool known, KnownScalar(ctx, 1, &dim));
  const Shape& in = ctx.input(0);
  if (!in.known_rank()) return Status();
  if (!known) {
    ctx.set_output(0, Shape::UnknownOfRank(std::min(in.rank() + 1, Shape::kMaxRank)));
    return Status();
  }
  SM_ASSIGN_OR_RETURN(Shape out, ExpandedShape(in, dim));
  ctx.set_output(0, std::move(out));
  return Status();
}

Status ExpandDims(OpContext& ctx) {
  SM_RETURN_IF_ERROR(ExpectOneElement(ctx.input(1), "dim"));
  SM_ASSIGN_OR_RETURN(Shape out, ExpandedShape(ctx.input(0).shape(), ctx.IntInput(1)));
  return ctx.ForwardInput(0, 0, out);
}

// `in` without the dimensions `axes`, or without all dimensions of size 1 when there are none.
StatusOr<Shape> SqueezedShape(const Shape& in, const std::vector<int64_t>& axes) {
  if (!in.known_rank()) return Shape::Unknown();
  absl::InlinedVector<bool, 6> drop(static_cast<size_t>(in.rank()));
  for (int64_t a : axes) {
    SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(a, in.rank()));
    SM_CHECK_ARG(in[axis] == 1 || in[axis] == -1, "dimension ", axis, " of shape ", in,
                 " cannot be squeezed, expected size 1");
    drop[axis] = true;
  }
  absl::InlinedVector<int64_t, 6> dims;
  for (int i = 0; i < in.rank(); ++i) {
    if (axes.empty() && in[i] == -1) return Shape::Unknown();
    if (axes.empty() ? in[i] != 1 : !drop[i]) dims.push_back(in[i]);
  }
  return Shape(dims.data(), dims.size());
}

Status SqueezeShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(Shape out, SqueezedShape(ctx.input(0), ctx.attrs().Ints("squeeze_dims")));
  ctx.set_output(0, std::move(out));
  return Status();
}

StatusOr<KernelPtr> BuildSqueeze(BuildContext& build) {
  const std::vector<int64_t> axes = build.attrs().Ints("squeeze_dims");
  return MakeKernel([axes](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(Shape out, SqueezedShape(ctx.input(0).shape(), axes));
    return ctx.ForwardInput(0, 0, out);
  });
}

// Output i is a vector with one element for each dimension of input i.
Status ShapesShape(ShapeContext& ctx) {
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    ctx.set_output(i, Shape({ctx.input(i).known_rank() ? ctx.input(i).rank() : -1}));
  }
  return Status();
}

Status CheckFits(DType type, int64_t value) {
  SM_CHECK_ARG(type != DType::kInt32 || value <= INT32_MAX, "size ", value,
               " does not fit int32; ask for out_type int64");
  return Status();
}

Status Shapes(OpContext& ctx) {
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    const Shape& shape = ctx.input(i).shape();
    for (int d = 0; d < shape.rank(); ++d) {
      SM_RETURN_IF_ERROR(CheckFits(ctx.output_dtype(i), shape[d]));
      StoreInt(ctx.output(i), d, shape[d]);
    }
  }
  return Status();
}

Status Size(OpContext& ctx) {
  const int64_t n = ctx.input(0).num_elements();
  SM_RETURN_IF_ERROR(CheckFits(ctx.output_dtype(0), n));
  StoreInt(ctx.output(0), 0, n);
  return Status();
}

Status Rank(OpContext& ctx) {
  StoreInt(ctx.output(0), 0, ctx.input(0).shape().rank());
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "ExpandDims(input: T, dim: Tdim) -> (output: T); T: type; "
                  "Tdim: {int32,int64} = int32",
     .shape = ExpandDimsShape,
     .build = BuildPlain<ExpandDims>,
     .in_place = InPlace::kAliasesInput0,
     .per_example = true},
    {.signature = "QuantizedReshape(tensor: T, shape: Tshape, input_min: float, "
                  "input_max: float) -> (output: T, output_min: float, output_max: float); "
                  "T: type; Tshape: {int32,int64} = int32",
     .shape = QuantizedReshapeShape,
     .build = BuildPlain<QuantizedReshape>},
    {.signature = "Rank(input: T) -> (output: int32); T: type",
     .shape = shape::Scalar,
     .build = BuildPlain<Rank>},
    {.signature = "Reshape(tensor: T, shape: Tshape) -> (output: T); T: type; "
                  "Tshape: {int32,int64} = int32",
     .shape = ReshapeShape,
     .build = BuildPlain<Reshape>,
     .in_place = InPlace::kAliasesInput0,
     .per_example = true},
    {.signature = "Shape(input: T) -> (output: out_type); T: type; "
                  "out_type: {int32,int64} = int32",
     .shape = ShapesShape,
     .build = BuildPlain<Shapes>},
    {.signature = "ShapeN(input: N * T) -> (output: N * out_type); N: int >= 1; T: type; "
                  "out_type: {int32,int64} = int32",
     .shape = ShapesShape,
     .build = BuildPlain<Shapes>},
    {.signature = "Size(input: T) -> (output: out_type); T: type; "
                  "out_type: {int32,int64} = int32",
     .shape = shape::Scalar,
     .build = BuildPlain<Size>},
    {.signature = "Squeeze(input: T) -> (output: T); T: type; squeeze_dims: list(int) >= 0 = []",
     .shape = SqueezeShape,
     .build = BuildSqueeze,
     .in_place = InPlace::kAliasesInput0,
     .per_example = true},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ReshapeOps() { return kOps; }

}  // namespace savedmodel
