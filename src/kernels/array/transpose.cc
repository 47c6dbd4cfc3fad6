// Ops that permute, reverse or rotate along dimensions.
#include <algorithm>
#include <complex>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/array/strided_copy.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// -------------------------------------------------------------------------------------- Transpose

// `perm` checked to be a permutation of [0, rank); negative elements count from the end.
StatusOr<std::vector<int>> Permutation(const std::vector<int64_t>& perm, int rank) {
  SM_CHECK_ARG(static_cast<int>(perm.size()) == rank, "perm has ", perm.size(),
               " elements, expected ", rank, " as the tensor's rank");
  std::vector<int> out;
  std::vector<bool> seen(rank);
  for (int64_t p : perm) {
    SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(p, rank));
    SM_CHECK_ARG(!seen[axis], "perm is ", perm, ", in which ", axis, " occurs twice");
    seen[axis] = true;
    out.push_back(axis);
  }
  return out;
}

Status TransposeShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  const Shape& in = ctx.input(0);
  if (!in.known_rank()) return Status();
  std::vector<int64_t> values;
  if (!KnownInts(ctx, 1, &values)) {
    ctx.set_output(0, Shape::UnknownOfRank(in.rank()));
    return Status();
  }
  SM_ASSIGN_OR_RETURN(const std::vector<int> perm, Permutation(values, in.rank()));
  std::vector<int64_t> dims;
  for (int p : perm) dims.push_back(in[p]);
  ctx.set_output(0, Shape(dims));
  return Status();
}

template <class T>
void Conjugate(T* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = std::conj(x[i]);
}

template <bool conjugate>
Status Transpose(OpContext& ctx) {
  const Tensor& in = ctx.input(0);
  Tensor& out = ctx.output(0);
  SM_ASSIGN_OR_RETURN(const std::vector<int> perm,
                      Permutation(ReadInts(ctx.input(1)), in.shape().rank()));
  const Strides in_strides = StridesOf(in.shape());
  const Strides out_strides = StridesOf(out.shape());
  Move move;
  for (size_t i = 0; i < perm.size(); ++i) {
    // Known from equal dimensions alone, the output's shape may not follow this permutation.
    SM_CHECK_ARG(out.shape()[i] == in.shape()[perm[i]], "output has shape ", out.shape());
    move.dims.push_back({out.shape()[i], in_strides[perm[i]], out_strides[i]});
  }
  StridedCopy(ctx, in.dtype(), in.raw_data(), out.raw_mutable_data(), move);
  if constexpr (conjugate) {
    if (auto* c = ctx.out<std::complex<float>>(0)) Conjugate(c, out.num_elements());
    if (auto* c = ctx.out<std::complex<double>>(0)) Conjugate(c, out.num_elements());
  }
  return Status();
}

// ---------------------------------------------------------------------------------------- Reverse

void ReverseDims(OpContext& ctx, const std::vector<bool>& reversed) {
  const Tensor& in = ctx.input(0);
  const Strides strides = StridesOf(in.shape());
  Move move;
  for (int i = 0; i < in.shape().rank(); ++i) {
    const int64_t size = in.shape()[i];
    if (reversed[i] && size > 0) move.in_offset += (size - 1) * strides[i];
    move.dims.push_back({size, reversed[i] ? -strides[i] : strides[i], strides[i]});
  }
  StridedCopy(ctx, in.dtype(), in.raw_data(), ctx.output(0).raw_mutable_data(), move);
}

Status ReverseShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  SM_CHECK_ARG(ctx.input(0).rank() <= 8, "tensor has rank ", ctx.input(0).rank(),
               ", expected at most 8");
  ctx.set_output(0, ctx.input(0));
  return Status();
}

Status Reverse(OpContext& ctx) {
  const int rank = ctx.input(0).shape().rank();
  const Tensor& dims = ctx.input(1);
  SM_CHECK_ARG(dims.num_elements() == rank, "dims has shape ", dims.shape(), ", expected [", rank,
               "]");
  const bool* p = ctx.in<bool>(1);
  ReverseDims(ctx, std::vector<bool>(p, p + rank));
  return Status();
}

Status ReverseV2(OpContext& ctx) {
  const int rank = ctx.input(0).shape().rank();
  std::vector<bool> reversed(rank);
  for (int64_t a : ReadInts(ctx.input(1))) {
    SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(a, rank));
    SM_CHECK_ARG(!reversed[axis], "axis ", axis, " is named twice");
    reversed[axis] = true;
  }
  ReverseDims(ctx, reversed);
  return Status();
}

Status CheckReverseSequence(const Shape& in, const Shape& lengths, int64_t seq_dim,
                            int64_t batch_dim) {
  SM_CHECK_ARG(lengths.rank() == 1 || !lengths.known_rank(), "seq_lengths has shape ", lengths,
               ", expected a vector");
  if (!in.known_rank()) return Status();
  SM_CHECK_ARG(batch_dim >= 0 && seq_dim >= 0 && batch_dim < in.rank() && seq_dim < in.rank() &&
                   batch_dim != seq_dim,
               "found seq_dim ", seq_dim, " and batch_dim ", batch_dim,
               ", expected two different dimensions of a tensor of shape ", in);
  const int64_t batch = in[static_cast<int>(batch_dim)];
  SM_CHECK_ARG(!lengths.fully_known() || batch == -1 || lengths[0] == batch,
               "seq_lengths has shape ", lengths, ", expected [", batch, "]");
  return Status();
}

Status ReverseSequenceShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(CheckReverseSequence(ctx.input(0), ctx.input(1), ctx.attrs().Int("seq_dim"),
                                          ctx.attrs().Int("batch_dim")));
  ctx.set_output(0, ctx.input(0));
  return Status();
}

StatusOr<KernelPtr> BuildReverseSequence(BuildContext& build) {
  const int64_t seq = build.attrs().Int("seq_dim"), batch = build.attrs().Int("batch_dim");
  return MakeKernel([seq, batch](OpContext& ctx) -> Status {
    const Tensor& in = ctx.input(0);
    const Shape& shape = in.shape();
    SM_RETURN_IF_ERROR(CheckReverseSequence(shape, ctx.input(1).shape(), seq, batch));
    const Strides strides = StridesOf(shape);
    const std::vector<int64_t> lengths = ReadInts(ctx.input(1));
    const int seq_dim = static_cast<int>(seq), batch_dim = static_cast<int>(batch);
    for (size_t b = 0; b < lengths.size(); ++b) {
      SM_CHECK_ARG(lengths[b] >= 0 && lengths[b] <= shape[seq_dim], "seq_lengths[", b, "] is ",
                   lengths[b], ", expected a length in [0, ", shape[seq_dim], "]");
    }
    for (size_t b = 0; b < lengths.size(); ++b) {
      for (const bool reversed : {true, false}) {
        const int64_t begin = reversed ? 0 : lengths[b];
        const int64_t end = reversed ? lengths[b] : shape[seq_dim];
        Move move;
        for (int i = 0; i < shape.rank(); ++i) {
          if (i == batch_dim) continue;
          const int64_t step = i == seq_dim && reversed ? -strides[i] : strides[i];
          move.dims.push_back({i == seq_dim ? end - begin : shape[i], step, strides[i]});
        }
        const int64_t row = static_cast<int64_t>(b) * strides[batch_dim];
        move.out_offset = row + begin * strides[seq_dim];
        move.in_offset = row + (reversed ? end - 1 : begin) * strides[seq_dim];
        StridedCopy(ctx, in.dtype(), in.raw_data(), ctx.output(0).raw_mutable_data(), move);
      }
    }
    return Status();
  });
}

// ------------------------------------------------------------------------------------------- Roll

Status RollShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 1));
  for (int i = 1; i <= 2; ++i) {
    SM_CHECK_ARG(ctx.input(i).rank() <= 1, i == 1 ? "shift" : "axis", " has shape ", ctx.input(i),
                 ", expected a scalar or a vector");
  }
  SM_CHECK_ARG(ctx.input(1).CompatibleWith(ctx.input(2)), "shift and axis have shapes ",
               ctx.input(1), " and ", ctx.input(2), ", expected equal ones");
  ctx.set_output(0, ctx.input(0));
  return Status();
}

Status Roll(OpContext& ctx) {
  const Tensor& in = ctx.input(0);
  const Shape& shape = in.shape();
  const std::vector<int64_t> shifts = ReadInts(ctx.input(1)), axes = ReadInts(ctx.input(2));
  SM_CHECK_ARG(shifts.size() == axes.size(), "found ", shifts.size(), " shifts and ", axes.size(),
               " axes, expected as many");
  // shift[i]: how far dimension i moves up, in [0, size).
  std::vector<int64_t> shift(shape.rank());
  for (size_t i = 0; i < axes.size(); ++i) {
    SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(axes[i], shape.rank()));
    const int64_t size = std::max<int64_t>(shape[axis], 1);
    shift[axis] = (shift[axis] + (shifts[i] % size + size) % size) % size;
  }
  std::vector<int> moved;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shift[i] != 0) moved.push_back(i);
  }
  const Strides strides = StridesOf(shape);
  // Every moved dimension has two parts: [0, size - shift), which moves up, and the rest.
  SM_CHECK_ARG(moved.size() < 16, "cannot roll ", moved.size(), " dimensions");
  for (uint32_t part = 0; part < uint32_t{1} << moved.size(); ++part) {
    Move move;
    for (int i = 0; i < shape.rank(); ++i) move.dims.push_back({shape[i], strides[i], strides[i]});
    for (size_t m = 0; m < moved.size(); ++m) {
      const int i = moved[m];
      const int64_t size = shape[i];
      const bool wraps = part >> m & 1;
      move.dims[i].size = wraps ? shift[i] : size - shift[i];
      move.in_offset += wraps ? (size - shift[i]) * strides[i] : 0;
      move.out_offset += wraps ? 0 : shift[i] * strides[i];
    }
    StridedCopy(ctx, in.dtype(), in.raw_data(), ctx.output(0).raw_mutable_data(), move);
  }
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "ConjugateTranspose(x: T, perm: Tperm) -> (y: T); T: type; "
                  "Tperm: {int32,int64} = int32",
     .shape = TransposeShape,
     .build = BuildPlain<Transpose<true>>},
    {.signature = "Reverse(tensor: T, dims: bool) -> (output: T); T: {uint8,int8,uint16,int16,"
                  "uint32,int32,uint64,int64,bool,bfloat16,half,float,double,complex64,"
                  "complex128,string}",
     .shape = ReverseShape,
     .build = BuildPlain<Reverse>},
    {.signature = "ReverseSequence(input: T, seq_lengths: Tlen) -> (output: T); seq_dim: int; "
                  "batch_dim: int = 0; T: type; Tlen: {int32,int64} = int64",
     .shape = ReverseSequenceShape,
     .build = BuildReverseSequence},
    {.signature = "ReverseV2(tensor: T, axis: Tidx) -> (output: T); Tidx: {int32,int64} = int32; "
                  "T: {uint8,int8,uint16,int16,int32,uint32,int64,uint64,bool,bfloat16,half,"
                  "float,double,complex64,complex128,string}",
     .shape = ReverseShape,
     .build = BuildPlain<ReverseV2>},
    {.signature = "Roll(input: T, shift: Tshift, axis: Taxis) -> (output: T); T: type; "
                  "Tshift: {int32,int64}; Taxis: {int32,int64}",
     .shape = RollShape,
     .build = BuildPlain<Roll>},
    {.signature = "Transpose(x: T, perm: Tperm) -> (y: T); T: type; Tperm: {int32,int64} = int32",
     .shape = TransposeShape,
     .build = BuildPlain<Transpose<false>>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> TransposeOps() { return kOps; }

}  // namespace savedmodel
