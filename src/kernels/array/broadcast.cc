// Ops that repeat elements: broadcast and tile.
#include <algorithm>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/array/strided_copy.h"

namespace savedmodel {
namespace {

Status BroadcastToShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  std::vector<int64_t> dims;
  if (!KnownInts(ctx, 1, &dims)) return Status();
  SM_ASSIGN_OR_RETURN(Shape out, ShapeOf(dims));
  const Shape& in = ctx.input(0);
  SM_CHECK_ARG(in.rank() <= out.rank(), "a tensor of shape ", in, " cannot be broadcast to ", out);
  for (int i = 0; i < in.rank(); ++i) {
    const int64_t d = in[i], want = out[out.rank() - in.rank() + i];
    SM_CHECK_ARG(d == 1 || d == want || d == -1, "a tensor of shape ", in,
                 " cannot be broadcast to ", out);
  }
  ctx.set_output(0, std::move(out));
  return Status();
}

Status BroadcastTo(OpContext& ctx) {
  const Tensor& in = ctx.input(0);
  Tensor& out = ctx.output(0);
  const int lead = out.shape().rank() - in.shape().rank();
  const Strides in_strides = StridesOf(in.shape());
  const Strides out_strides = StridesOf(out.shape());
  Move move;
  for (int i = 0; i < out.shape().rank(); ++i) {
    const bool repeats = i < lead || in.shape()[i - lead] != out.shape()[i];
    SM_CHECK_ARG(i < lead || !repeats || in.shape()[i - lead] == 1, "a tensor of shape ",
                 in.shape(), " cannot be broadcast to ", out.shape());
    move.dims.push_back({out.shape()[i], repeats ? 0 : in_strides[i - lead], out_strides[i]});
  }
  StridedCopy(ctx, in.dtype(), in.raw_data(), out.raw_mutable_data(), move);
  return Status();
}

Status BroadcastArgsShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  const bool known = ctx.input(0).fully_known() && ctx.input(1).fully_known();
  ctx.set_output(0, Shape({known ? std::max(ctx.input(0)[0], ctx.input(1)[0]) : -1}));
  return Status();
}

// Two shapes with ones put in front of the shorter.
struct AlignedDims {
  std::vector<int64_t> a, b;

  AlignedDims(std::vector<int64_t> a_dims, std::vector<int64_t> b_dims)
      : a(std::move(a_dims)), b(std::move(b_dims)) {
    if (a.size() < b.size()) a.insert(a.begin(), b.size() - a.size(), 1);
    if (b.size() < a.size()) b.insert(b.begin(), a.size() - b.size(), 1);
  }
  Status Check() const {
    for (size_t i = 0; i < a.size(); ++i) {
      SM_CHECK_ARG(a[i] == b[i] || a[i] == 1 || b[i] == 1, "incompatible shapes: ", a, " and ", b,
                   " cannot be broadcast against each other");
    }
    return Status();
  }
};

Status BroadcastArgs(OpContext& ctx) {
  const AlignedDims dims(ReadInts(ctx.input(0)), ReadInts(ctx.input(1)));
  SM_RETURN_IF_ERROR(dims.Check());
  for (size_t i = 0; i < dims.a.size(); ++i) {
    StoreInt(ctx.output(0), static_cast<int64_t>(i), dims.a[i] == 1 ? dims.b[i] : dims.a[i]);
  }
  return Status();
}

Status BroadcastGradientArgsShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  for (int i = 0; i < 2; ++i) ctx.set_output(i, Shape({-1}));
  return Status();
}

// Along which axes a gradient of the broadcast shape is summed for either operand.
Status BroadcastGradientArgs(OpContext& ctx) {
  const std::vector<int64_t> first = ReadInts(ctx.input(0)), second = ReadInts(ctx.input(1));
  const AlignedDims dims(first, second);
  SM_RETURN_IF_ERROR(dims.Check());
  std::vector<int64_t> axes[2];
  for (size_t i = 0; i < dims.a.size() && first != second; ++i) {
    if (dims.a[i] == 1) axes[0].push_back(static_cast<int64_t>(i));
    if (dims.b[i] == 1) axes[1].push_back(static_cast<int64_t>(i));
  }
  for (int k = 0; k < 2; ++k) {
    const int64_t n = static_cast<int64_t>(axes[k].size());
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(k, Shape({n})));
    for (int64_t i = 0; i < n; ++i) StoreInt(ctx.output(k), i, axes[k][i]);
  }
  return Status();
}

Status TileShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  const Shape& in = ctx.input(0);
  std::vector<int64_t> multiples;
  if (!in.known_rank()) return Status();
  if (!KnownInts(ctx, 1, &multiples)) {
    ctx.set_output(0, Shape::UnknownOfRank(in.rank()));
    return Status();
  }
  SM_CHECK_ARG(static_cast<int>(multiples.size()) == in.rank(), "multiples are ", multiples,
               ", expected ", in.rank(), " of them for a tensor of shape ", in);
  std::vector<int64_t> dims(in.rank(), -1);
  for (int i = 0; i < in.rank(); ++i) {
    SM_CHECK_ARG(multiples[i] >= 0, "multiples are ", multiples, ", expected none below 0");
    if (in[i] < 0) continue;
    SM_CHECK_ARG(!__builtin_mul_overflow(in[i], multiples[i], &dims[i]), "multiples ", multiples,
                 " make a tensor of shape ", in, " too large");
  }
  SM_ASSIGN_OR_RETURN(Shape out, Shape::Make(dims));
  ctx.set_output(0, std::move(out));
  return Status();
}

Status Tile(OpContext& ctx) {
  const Tensor& in = ctx.input(0);
  Tensor& out = ctx.output(0);
  const std::vector<int64_t> multiples = ReadInts(ctx.input(1));
  const Strides in_strides = StridesOf(in.shape());
  const Strides out_strides = StridesOf(out.shape());
  Move move;
  for (int i = 0; i < in.shape().rank(); ++i) {
    move.dims.push_back({multiples[i], 0, in.shape()[i] * out_strides[i]});
    move.dims.push_back({in.shape()[i], in_strides[i], out_strides[i]});
  }
  StridedCopy(ctx, in.dtype(), in.raw_data(), out.raw_mutable_data(), move);
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "BroadcastArgs(s0: T, s1: T) -> (r0: T); T: {int32,int64} = int32",
     .shape = BroadcastArgsShape,
     .build = BuildPlain<BroadcastArgs>},
    {.signature = "BroadcastGradientArgs(s0: T, s1: T) -> (r0: T, r1: T); "
                  "T: {int32,int64} = int32",
     .shape = BroadcastGradientArgsShape,
     .build = BuildPlain<BroadcastGradientArgs>},
    {.signature = "BroadcastTo(input: T, shape: Tidx) -> (output: T); T: type; "
                  "Tidx: {int32,int64} = int32",
     .shape = BroadcastToShape,
     .build = BuildPlain<BroadcastTo>},
    {.signature = "Tile(input: T, multiples: Tmultiples) -> (output: T); T: type; "
                  "Tmultiples: {int32,int64} = int32",
     .shape = TileShape,
     .build = BuildPlain<Tile>,
     .per_example = true},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> BroadcastOps() { return kOps; }

}  // namespace savedmodel
