// Ops that exchange space with batch or depth.
#include <algorithm>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/array/strided_copy.h"

namespace savedmodel {
namespace {

// Block sizes and (before, after) pairs, a pair for each block dimension; these are dimensions
// 1, 2, … of the tensor.
struct Blocks {
  std::vector<int64_t> block;
  std::vector<int64_t> border;

  int rank() const { return static_cast<int>(block.size()); }
  int64_t border_sum(int i) const { return border[2 * i] + border[2 * i + 1]; }
};

Status CheckBlocks(const Shape& in, const Shape& border_shape, const Blocks& blocks) {
  const int m = blocks.rank();
  SM_CHECK_ARG(border_shape.rank() == 2 && border_shape[0] == m && border_shape[1] == 2,
               "paddings or crops have shape ", border_shape, ", expected [", m, ",2]");
  SM_CHECK_ARG(in.rank() >= 1 + m, "input has shape ", in, ", expected rank at least ", 1 + m,
               " for ", m, " block dimensions");
  int64_t product = 1;
  for (int64_t b : blocks.block) {
    SM_CHECK_ARG(b >= 1 && !__builtin_mul_overflow(product, b, &product), "found block shape ",
                 blocks.block, ", expected sizes >= 1 of a smaller product");
  }
  for (int64_t b : blocks.border) {
    SM_CHECK_ARG(b >= 0 && b < (int64_t{1} << 60), "found padding or crop ", b,
                 ", expected one >= 0");
  }
  return Status();
}

int64_t BlockProduct(const Blocks& blocks) {
  int64_t product = 1;
  for (int64_t b : blocks.block) product *= b;
  return product;
}

// Output of SpaceToBatch for an input of known rank.
StatusOr<Shape> ToBatchShape(const Shape& in, const Blocks& blocks) {
  std::vector<int64_t> dims = in.ToVector();
  SM_CHECK_ARG(dims[0] < 0 || !__builtin_mul_overflow(dims[0], BlockProduct(blocks), &dims[0]),
               "the result has too many elements");
  for (int i = 0; i < blocks.rank(); ++i) {
    if (in[i + 1] < 0) continue;
    int64_t padded = 0;
    SM_CHECK_ARG(!__builtin_add_overflow(in[i + 1], blocks.border_sum(i), &padded),
                 "the padding is too large");
    SM_CHECK_ARG(padded % blocks.block[i] == 0, "dimension ", i + 1, " of size ", in[i + 1],
                 " has size ", padded, " with padding, expected a multiple of block size ",
                 blocks.block[i]);
    dims[i + 1] = padded / blocks.block[i];
  }
  return Shape::Make(dims);
}

// Output of BatchToSpace for an input of known rank.
StatusOr<Shape> ToSpaceShape(const Shape& in, const Blocks& blocks) {
  std::vector<int64_t> dims = in.ToVector();
  const int64_t product = BlockProduct(blocks);
  SM_CHECK_ARG(in[0] < 0 || in[0] % product == 0, "the batch has size ", in[0],
               ", expected a multiple of ", product);
  if (in[0] >= 0) dims[0] = in[0] / product;
  for (int i = 0; i < blocks.rank(); ++i) {
    if (in[i + 1] < 0) continue;
    int64_t size = 0;
    SM_CHECK_ARG(
        !__builtin_mul_overflow(in[i + 1], blocks.block[i], &size) && size >= blocks.border_sum(i),
        "crops of dimension ", i + 1, " take more than its ", size, " elements");
    dims[i + 1] = size - blocks.border_sum(i);
  }
  return Shape::Make(dims);
}

// Along one block dimension at block offset `b`: positions p of the small tensor for which
// p * block + b - before lies in the big one's [0, size).
struct Overlap {
  int64_t begin, end;
};
Overlap OverlapOf(int64_t size, int64_t small, int64_t block, int64_t before, int64_t b) {
  const auto ceil_div = [&](int64_t a) { return a <= 0 ? 0 : (a + block - 1) / block; };
  const int64_t begin = std::min(small, ceil_div(before - b));
  return {begin, std::max(begin, std::min(small, ceil_div(before + size - b)))};
}

// Copies between the tensor with space ("big") and that with blocks in the batch ("small").
void MoveBlocks(const OpContext& ctx, const Blocks& blocks, DType dtype, const Shape& big,
                const Shape& small, const void* in, void* out, bool to_batch) {
  const Strides big_strides = StridesOf(big), small_strides = StridesOf(small);
  const int m = blocks.rank();
  const int64_t inner = big.Product(m + 1, big.rank());
  std::vector<int64_t> b(m);
  for (int64_t n = BlockProduct(blocks), k = 0; k < n; ++k) {
    int64_t rest = k;
    for (int i = m - 1; i >= 0; --i) {
      b[i] = rest % blocks.block[i];
      rest /= blocks.block[i];
    }
    // Here "in" is the big side and "out" the small one.
    Move move = {.dims = {{big[0], big_strides[0], small_strides[0]}},
                 .out_offset = k * big[0] * small_strides[0]};
    for (int i = 0; i < m; ++i) {
      const int64_t before = blocks.border[2 * i];
      const Overlap o = OverlapOf(big[i + 1], small[i + 1], blocks.block[i], before, b[i]);
      move.dims.push_back(
          {o.end - o.begin, blocks.block[i] * big_strides[i + 1], small_strides[i + 1]});
      if (o.end == o.begin) continue;
      move.in_offset += (o.begin * blocks.block[i] + b[i] - before) * big_strides[i + 1];
      move.out_offset += o.begin * small_strides[i + 1];
    }
    move.dims.push_back({inner, 1, 1});
    if (!to_batch) {
      std::swap(move.in_offset, move.out_offset);
      for (MoveDim& d : move.dims) std::swap(d.in, d.out);
    }
    StridedCopy(ctx, dtype, in, out, move);
  }
}

// The blocks of the ops of two fixed dimensions, whose border is input 1, or of those of any
// number, with input 1 the block shape and input 2 the border.
Blocks BlocksOf(int64_t block_size, const Tensor& one, const Tensor* two) {
  if (two == nullptr) return {{block_size, block_size}, ReadInts(one)};
  return {ReadInts(one), ReadInts(*two)};
}

template <bool to_batch>
Status BatchShape(ShapeContext& ctx) {
  const bool nd = ctx.num_inputs() > 2;
  const int border = nd ? 2 : 1;
  SM_RETURN_IF_ERROR(ctx.ExpectRank(border, 2));
  SM_RETURN_IF_ERROR(nd ? ctx.ExpectRank(1, 1) : ctx.ExpectRank(0, 4));
  const Shape& in = ctx.input(0);
  if (!in.known_rank() || ctx.value(1) == nullptr || ctx.value(border) == nullptr) {
    if (in.known_rank()) ctx.set_output(0, Shape::UnknownOfRank(in.rank()));
    return Status();
  }
  const Blocks blocks =
      BlocksOf(ctx.attrs().Int("block_size"), *ctx.value(1), nd ? ctx.value(2) : nullptr);
  SM_RETURN_IF_ERROR(CheckBlocks(in, ctx.value(border)->shape(), blocks));
  SM_ASSIGN_OR_RETURN(Shape out, to_batch ? ToBatchShape(in, blocks) : ToSpaceShape(in, blocks));
  ctx.set_output(0, std::move(out));
  return Status();
}

template <bool to_batch>
StatusOr<KernelPtr> BuildBatch(BuildContext& build) {
  const int64_t block_size = build.attrs().Int("block_size");
  return MakeKernel([block_size](OpContext& ctx) -> Status {
    const bool nd = ctx.num_inputs() > 2;
    const Blocks blocks = BlocksOf(block_size, ctx.input(1), nd ? &ctx.input(2) : nullptr);
    const Tensor& in = ctx.input(0);
    Tensor& out = ctx.output(0);
    if (to_batch) ZeroElements(out.dtype(), out.raw_mutable_data(), out.num_elements());
    if (out.num_elements() == 0 || in.num_elements() == 0) return Status();
    MoveBlocks(ctx, blocks, in.dtype(), to_batch ? in.shape() : out.shape(),
               to_batch ? out.shape() : in.shape(), in.raw_data(), out.raw_mutable_data(),
               to_batch);
    return Status();
  });
}

// ------------------------------------------------------------------------------------------ depth

// [batch, height, width, depth] alone, as TensorFlow's CPU kernel.
template <bool to_depth>
Status DepthShape(ShapeContext& ctx) {
  const std::string& format = ctx.attrs().String("data_format");
  SM_CHECK_ARG(format == "NHWC", "data_format is ", format, ", expected NHWC");
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  const Shape& in = ctx.input(0);
  const int64_t block = ctx.attrs().Int("block_size");
  if (!in.known_rank()) return Status();
  std::vector<int64_t> dims = in.ToVector();
  int64_t area = 0;
  SM_CHECK_ARG(block >= 2 && !__builtin_mul_overflow(block, block, &area), "block_size is ", block,
               ", expected at least 2");
  const auto scale = [&](int axis, int64_t factor, bool up) -> Status {
    if (dims[axis] < 0) return Status();
    if (up) {
      SM_CHECK_ARG(!__builtin_mul_overflow(dims[axis], factor, &dims[axis]), "too many elements");
      return Status();
    }
    SM_CHECK_ARG(dims[axis] % factor == 0, "dimension ", axis, " of shape ", in,
                 " is no multiple of ", factor, " as block_size ", block, " asks");
    dims[axis] /= factor;
    return Status();
  };
  SM_RETURN_IF_ERROR(scale(3, area, to_depth));
  SM_RETURN_IF_ERROR(scale(1, block, !to_depth));
  SM_RETURN_IF_ERROR(scale(2, block, !to_depth));
  SM_ASSIGN_OR_RETURN(Shape out, Shape::Make(dims));
  ctx.set_output(0, std::move(out));
  return Status();
}

// The wide tensor is [batch, height, block, width, block, depth] and the deep one
// [batch, height, width, block, block, depth].
template <bool to_depth>
StatusOr<KernelPtr> BuildDepth(BuildContext& build) {
  const int64_t block = build.attrs().Int("block_size");
  return MakeKernel([block](OpContext& ctx) -> Status {
    const Shape& deep = to_depth ? ctx.output(0).shape() : ctx.input(0).shape();
    const int64_t w = deep[2], depth = deep[3] / (block * block);
    const int64_t row = w * block * block * depth;
    // {size, stride in the wide tensor, stride in the deep one}
    Move move = {.dims = {{deep[0] * deep[1], row, row},
                          {block, w * block * depth, block * depth},
                          {w, block * depth, block * block * depth},
                          {block * depth, 1, 1}}};
    if (!to_depth) {
      for (MoveDim& d : move.dims) std::swap(d.in, d.out);
    }
    StridedCopy(ctx, ctx.input(0).dtype(), ctx.input(0).raw_data(),
                ctx.output(0).raw_mutable_data(), move);
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "BatchToSpace(input: T, crops: Tidx) -> (output: T); T: type; "
                  "block_size: int >= 2; Tidx: {int32,int64} = int32",
     .shape = BatchShape<false>,
     .build = BuildBatch<false>},
    {.signature = "BatchToSpaceND(input: T, block_shape: Tblock_shape, crops: Tcrops) -> "
                  "(output: T); T: type; Tblock_shape: {int32,int64} = int32; "
                  "Tcrops: {int32,int64} = int32",
     .shape = BatchShape<false>,
     .build = BuildBatch<false>},
    {.signature = "DepthToSpace(input: T) -> (output: T); T: type; block_size: int >= 2; "
                  "data_format: {'NHWC','NCHW','NCHW_VECT_C'} = 'NHWC'",
     .shape = DepthShape<false>,
     .build = BuildDepth<false>,
     .per_example = true},
    {.signature = "SpaceToBatch(input: T, paddings: Tpaddings) -> (output: T); T: type; "
                  "Tpaddings: {int32,int64} = int32; block_size: int >= 2",
     .shape = BatchShape<true>,
     .build = BuildBatch<true>},
    {.signature = "SpaceToBatchND(input: T, block_shape: Tblock_shape, paddings: Tpaddings) -> "
                  "(output: T); T: type; Tblock_shape: {int32,int64} = int32; "
                  "Tpaddings: {int32,int64} = int32",
     .shape = BatchShape<true>,
     .build = BuildBatch<true>},
    {.signature = "SpaceToDepth(input: T) -> (output: T); T: type; block_size: int >= 2; "
                  "data_format: {'NHWC','NCHW','NCHW_VECT_C'} = 'NHWC'",
     .shape = DepthShape<true>,
     .build = BuildDepth<true>,
     .per_example = true},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SpaceOps() { return kOps; }

}  // namespace savedmodel
