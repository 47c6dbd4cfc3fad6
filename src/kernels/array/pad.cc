// Ops that put a border around a tensor, by a constant or by mirroring.
#include <algorithm>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/array/strided_copy.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// Padding before and after dimension i lie at 2 * i and 2 * i + 1.
Status CheckPaddings(const Shape& in, const Shape& shape, const std::vector<int64_t>& paddings) {
  SM_CHECK_ARG(shape.rank() == 2 && shape[1] == 2 && shape[0] == in.rank(), "paddings have shape ",
               shape, ", expected [", in.rank(), ",2] for a tensor of shape ", in);
  for (int64_t p : paddings) SM_CHECK_ARG(p >= 0, "found padding ", p, ", expected one >= 0");
  return Status();
}

// The output's shape, `sign` 1 for padding and -1 for its gradient. Null `paddings`: unknown dims.
StatusOr<Shape> PaddedShape(const Shape& in, const std::vector<int64_t>& paddings, int sign) {
  std::vector<int64_t> dims(in.rank(), -1);
  for (int i = 0; i < in.rank(); ++i) {
    if (in[i] < 0) continue;
    int64_t border = 0;
    SM_CHECK_ARG(!__builtin_add_overflow(paddings[2 * i], paddings[2 * i + 1], &border) &&
                     !__builtin_add_overflow(in[i], sign * border, &dims[i]) && dims[i] >= 0,
                 "paddings ", paddings, " do not fit a tensor of shape ", in);
  }
  return Shape::Make(dims);
}

template <int sign>
Status PadShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 2));
  const Shape& in = ctx.input(0);
  if (ctx.num_inputs() > 2) SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 0));
  std::vector<int64_t> paddings;
  if (!in.known_rank()) return Status();
  if (!KnownInts(ctx, 1, &paddings)) {
    ctx.set_output(0, Shape::UnknownOfRank(in.rank()));
    return Status();
  }
  SM_RETURN_IF_ERROR(CheckPaddings(in, ctx.value(1)->shape(), paddings));
  SM_ASSIGN_OR_RETURN(Shape out, PaddedShape(in, paddings, sign));
  ctx.set_output(0, std::move(out));
  return Status();
}

// Sets a border of the box of `shape` dimension by dimension: what lies before and after the
// inside, over the whole of the dimensions before and the inside of those behind.
void FillBorder(const OpContext& ctx, Tensor& out, const std::vector<int64_t>& paddings,
                const void* value) {
  const Shape& shape = out.shape();
  const Strides strides = StridesOf(shape);
  for (int d = 0; d < shape.rank(); ++d) {
    for (const bool after : {false, true}) {
      const int64_t size = paddings[2 * d + after];
      if (size == 0) continue;
      Move move;
      for (int i = 0; i < shape.rank(); ++i) {
        const int64_t inside = shape[i] - paddings[2 * i] - paddings[2 * i + 1];
        move.dims.push_back({i == d ? size : i < d ? inside : shape[i], 0, strides[i]});
        if (i < d) move.out_offset += paddings[2 * i] * strides[i];
      }
      if (after) move.out_offset += (shape[d] - size) * strides[d];
      StridedCopy(ctx, out.dtype(), value, out.raw_mutable_data(), move);
    }
  }
}

// Copies `in` to where it lies inside the padded output.
void CopyInside(const OpContext& ctx, const Tensor& in, Tensor& out,
                const std::vector<int64_t>& paddings) {
  const Strides in_strides = StridesOf(in.shape());
  const Strides out_strides = StridesOf(out.shape());
  Move move;
  for (int i = 0; i < in.shape().rank(); ++i) {
    move.dims.push_back({in.shape()[i], in_strides[i], out_strides[i]});
    move.out_offset += paddings[2 * i] * out_strides[i];
  }
  StridedCopy(ctx, in.dtype(), in.raw_data(), out.raw_mutable_data(), move);
}

Status Pad(OpContext& ctx) {
  const std::vector<int64_t> paddings = ReadInts(ctx.input(1));
  Tensor& out = ctx.output(0);
  if (ctx.num_inputs() > 2) {
    FillBorder(ctx, out, paddings, ctx.input(2).raw_data());
  } else {
    SM_ASSIGN_OR_RETURN(const Tensor zero, Tensor::Zeros(out.dtype(), Shape()));
    FillBorder(ctx, out, paddings, zero.raw_data());
  }
  CopyInside(ctx, ctx.input(0), out, paddings);
  return Status();
}

// What mirrored borders copy: 1 when the edge itself is left out (REFLECT), 0 when it is repeated.
StatusOr<int> MirrorOffset(const Attrs& attrs) { return attrs.String("mode") == "REFLECT" ? 1 : 0; }

Status CheckMirror(const Shape& inside, const std::vector<int64_t>& paddings, int offset) {
  for (int i = 0; i < inside.rank(); ++i) {
    SM_CHECK_ARG(
        std::max(paddings[2 * i], paddings[2 * i + 1]) <= std::max<int64_t>(0, inside[i] - offset),
        "paddings of dimension ", i, " are ", paddings[2 * i], " and ", paddings[2 * i + 1],
        ", expected at most ", inside[i] - offset);
  }
  return Status();
}

// Mirrors dimension `d` of `out` at both edges of its inside; dimensions before `d` are taken
// inside their own paddings, dimensions behind it whole.
Move MirrorMove(const Shape& shape, const std::vector<int64_t>& paddings, int d, bool after,
                int offset) {
  const Strides strides = StridesOf(shape);
  const int64_t before = paddings[2 * d], size = paddings[2 * d + after];
  Move move;
  for (int i = 0; i < shape.rank(); ++i) {
    const int64_t inside = shape[i] - paddings[2 * i] - paddings[2 * i + 1];
    const int64_t in = i == d ? -strides[i] : strides[i];
    move.dims.push_back({i == d ? size : i < d ? inside : shape[i], in, strides[i]});
    const int64_t start = i < d ? paddings[2 * i] * strides[i] : 0;
    move.in_offset += start;
    move.out_offset += start;
  }
  const int64_t last = shape[d] - paddings[2 * d + 1] - 1;  // of the inside
  move.out_offset += (after ? last + 1 : 0) * strides[d];
  move.in_offset += (after ? last - offset : before + size - 1 + offset) * strides[d];
  return move;
}

StatusOr<KernelPtr> BuildMirrorPad(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const int offset, MirrorOffset(build.attrs()));
  return MakeKernel([offset](OpContext& ctx) -> Status {
    const std::vector<int64_t> paddings = ReadInts(ctx.input(1));
    const Tensor& in = ctx.input(0);
    Tensor& out = ctx.output(0);
    SM_RETURN_IF_ERROR(CheckMirror(in.shape(), paddings, offset));
    CopyInside(ctx, in, out, paddings);
    for (int d = in.shape().rank() - 1; d >= 0; --d) {
      for (const bool after : {false, true}) {
        void* data = out.raw_mutable_data();
        StridedCopy(ctx, out.dtype(), data, data,
                    MirrorMove(out.shape(), paddings, d, after, offset));
      }
    }
    return Status();
  });
}

// Adds the elements that `move` reads to those it writes, within `data`.
template <class T>
void AddMoved(T* data, const Move& move) {
  std::vector<int64_t> index(move.dims.size());
  int64_t n = 1, in = move.in_offset, out = move.out_offset;
  for (const MoveDim& d : move.dims) n *= d.size;
  for (; n > 0; --n) {
    data[out] = data[out] + data[in];
    for (int i = static_cast<int>(index.size()) - 1; i >= 0; --i) {
      in += move.dims[i].in;
      out += move.dims[i].out;
      if (++index[i] < move.dims[i].size) break;
      index[i] = 0;
      in -= move.dims[i].in * move.dims[i].size;
      out -= move.dims[i].out * move.dims[i].size;
    }
  }
}

StatusOr<KernelPtr> BuildMirrorPadGrad(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const int offset, MirrorOffset(build.attrs()));
  return MakeKernel([offset](OpContext& ctx) -> Status {
    const std::vector<int64_t> paddings = ReadInts(ctx.input(1));
    const Shape& shape = ctx.input(0).shape();
    Tensor& out = ctx.output(0);
    SM_RETURN_IF_ERROR(CheckMirror(out.shape(), paddings, offset));
    SM_ASSIGN_OR_RETURN(Tensor sum, ctx.input(0).Clone(ctx.run().budget));
    // Borders are folded back in the order opposite to the one in which padding makes them.
    SM_RETURN_IF_ERROR(VisitDType<kNumbers>(out.dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      for (int d = 0; d < shape.rank(); ++d) {
        for (const bool after : {false, true}) {
          Move move = MirrorMove(shape, paddings, d, after, offset);
          std::swap(move.in_offset, move.out_offset);
          for (MoveDim& m : move.dims) std::swap(m.in, m.out);
          AddMoved(static_cast<T*>(sum.raw_mutable_data()), move);
        }
      }
      return Status();
    }));
    const Strides in_strides = StridesOf(shape), out_strides = StridesOf(out.shape());
    Move move;
    for (int i = 0; i < shape.rank(); ++i) {
      move.dims.push_back({out.shape()[i], in_strides[i], out_strides[i]});
      move.in_offset += paddings[2 * i] * in_strides[i];
    }
    StridedCopy(ctx, out.dtype(), sum.raw_data(), out.raw_mutable_data(), move);
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "MirrorPad(input: T, paddings: Tpaddings) -> (output: T); T: type; "
                  "Tpaddings: {int32,int64} = int32; mode: {'REFLECT','SYMMETRIC'}",
     .shape = PadShape<1>,
     .build = BuildMirrorPad,
     .per_example = true},
    {.signature = "MirrorPadGrad(input: T, paddings: Tpaddings) -> (output: T); T: type; "
                  "Tpaddings: {int32,int64} = int32; mode: {'REFLECT','SYMMETRIC'}",
     .shape = PadShape<-1>,
     .build = BuildMirrorPadGrad},
    {.signature = "Pad(input: T, paddings: Tpaddings) -> (output: T); T: type; "
                  "Tpaddings: {int32,int64} = int32",
     .shape = PadShape<1>,
     .build = BuildPlain<Pad>,
     .per_example = true},
    {.signature = "PadV2(input: T, paddings: Tpaddings, constant_values: T) -> (output: T); "
                  "T: type; Tpaddings: {int32,int64} = int32",
     .shape = PadShape<1>,
     .build = BuildPlain<Pad>,
     .per_example = true},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> PadOps() { return kOps; }

}  // namespace savedmodel
