// Ops that join tensors into one or cut one into several.
#include <algorithm>

#include "absl/container/inlined_vector.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/array/strided_copy.h"

namespace savedmodel {
namespace {

// Whether the dimensions of `s` agree with `dims`, of as many, but for dimension `axis`; takes from
// it what is not known.
bool Agree(const Shape& s, int axis, absl::InlinedVector<int64_t, 6>* dims) {
  for (int d = 0; d < s.rank(); ++d) {
    int64_t& dim = (*dims)[d];
    if (d == axis || s[d] < 0) continue;
    if (dim >= 0 && dim != s[d]) return false;
    dim = s[d];
  }
  return true;
}

// Inputs [first, first + n) joined along `axis`.
StatusOr<Shape> ConcatenatedShape(const ShapeContext& ctx, int first, int n, int64_t axis_value) {
  int rank = -1;
  for (int i = first; i < first + n; ++i) rank = std::max(rank, ctx.input(i).rank());
  if (rank < 0) return Shape::Unknown();
  SM_CHECK_ARG(rank > 0, "scalars cannot be concatenated, expected rank at least 1");
  SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(axis_value, rank));
  absl::InlinedVector<int64_t, 6> dims(static_cast<size_t>(rank), -1);
  int64_t sum = 0;
  for (int i = first; i < first + n; ++i) {
    const Shape& s = ctx.input(i);
    if (!s.known_rank()) {
      sum = -1;
      continue;
    }
    SM_CHECK_ARG(s.rank() == rank, "values have ranks ", rank, " and ", s.rank(),
                 ", expected equal ranks");
    SM_CHECK_ARG(Agree(s, axis, &dims), "value ", i - first, " has shape ", s,
                 ", expected a shape that agrees with ", Shape(dims.data(), dims.size()),
                 " but for dimension ", axis);
    if (s[axis] < 0) sum = -1;
    if (sum >= 0) {
      SM_CHECK_ARG(!__builtin_add_overflow(sum, s[axis], &sum), "the result is too large");
    }
  }
  dims[axis] = sum;
  Shape joined(dims.data(), dims.size());
  if (!joined.valid()) return Shape::Make(joined.ToVector()).status();
  return joined;
}

template <bool axis_first>
Status ConcatShape(ShapeContext& ctx) {
  const int n = ctx.num_inputs() - 1;
  const int axis_input = axis_first ? 0 : n, first = axis_first ? 1 : 0;
  int64_t axis = 0;
  SM_ASSIGN_OR_RETURN(const bool known, KnownScalar(ctx, axis_input, &axis));
  if (!known) {
    for (int i = first; i < first + n; ++i) {
      if (ctx.input(i).known_rank()) {
        ctx.set_output(0, Shape::UnknownOfRank(ctx.input(i).rank()));
      }
    }
    return Status();
  }
  SM_ASSIGN_OR_RETURN(Shape out, ConcatenatedShape(ctx, first, n, axis));
  ctx.set_output(0, std::move(out));
  return Status();
}

// Rows of one tensor that are parts of the rows of another. In elements.
struct Part {
  const void* in;
  int64_t in_offset, in_row;
  void* out;
  int64_t out_offset, out_row;
  int64_t length;
};
using Parts = absl::InlinedVector<Part, 24>;

// `row`: elements of all parts' rows.
void MoveParts(const OpContext& ctx, DType dtype, const Parts& parts, int64_t rows, int64_t row) {
  const int64_t element = static_cast<int64_t>(DTypeSize(dtype)), bytes = row * element;
  const auto move = [&](int64_t begin, int64_t end) {
    for (const Part& p : parts) {
      CopyRows(static_cast<const char*>(p.in) + (p.in_offset + begin * p.in_row) * element,
               p.in_row * element,
               static_cast<char*>(p.out) + (p.out_offset + begin * p.out_row) * element,
               p.out_row * element, end - begin, p.length * element);
    }
  };
  // As many rows of all parts at a time as stay in the first cache level.
  constexpr int64_t kBlock = 1 << 14, kManyRows = 64;
  if (IsPlainData(dtype) && rows * bytes <= kBlock) return move(0, rows);
  if (IsPlainData(dtype) && rows >= kManyRows) {
    const int64_t block = std::max(kBlock / bytes, int64_t{1});
    ctx.ParallelFor(rows, 3 + 0.08 * static_cast<double>(bytes), [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end; at += block) move(at, std::min(at + block, end));
    });
    return;
  }
  for (const Part& p : parts) {
    StridedCopy(ctx, dtype, p.in, p.out,
                {.dims = {{rows, p.in_row, p.out_row}, {p.length, 1, 1}},
                 .in_offset = p.in_offset,
                 .out_offset = p.out_offset});
  }
}

// Puts inputs [first, first + n), of `size(i)` consecutive elements each, side by side.
template <class SizeFn>
void JoinRows(OpContext& ctx, int first, int n, int64_t rows, SizeFn size) {
  Tensor& out = ctx.output(0);
  if (out.num_elements() == 0) return;
  const int64_t row = out.num_elements() / rows;
  Parts parts;
  int64_t at = 0;
  for (int i = first; i < first + n; ++i) {
    const int64_t length = size(i);
    parts.push_back({ctx.input(i).raw_data(), 0, length, out.raw_mutable_data(), at, row, length});
    at += length;
  }
  MoveParts(ctx, out.dtype(), parts, rows, row);
}

template <bool axis_first>
Status Concat(OpContext& ctx) {
  const int n = ctx.num_inputs() - 1;
  const Shape& out = ctx.output(0).shape();
  SM_ASSIGN_OR_RETURN(const int axis,
                      shape::NormalizeAxis(ctx.IntInput(axis_first ? 0 : n), out.rank()));
  JoinRows(ctx, axis_first ? 1 : 0, n, out.Product(0, axis), [&](int i) {
    const Shape& s = ctx.input(i).shape();
    return s.Product(axis, s.rank());
  });
  return Status();
}

Status ConcatOffsetShape(ShapeContext& ctx) {
  for (int i = 1; i < ctx.num_inputs(); ++i) {
    SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 1));
    ctx.set_output(i - 1, ctx.input(i));
  }
  return ctx.ExpectRank(0, 0);
}

Status ConcatOffset(OpContext& ctx) {
  const std::vector<int64_t> first = ReadInts(ctx.input(1));
  SM_ASSIGN_OR_RETURN(const int axis,
                      shape::NormalizeAxis(ctx.IntInput(0), static_cast<int>(first.size())));
  int64_t offset = 0;
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    const std::vector<int64_t> dims = ReadInts(ctx.input(i + 1));
    SM_CHECK_ARG(dims.size() == first.size(), "shape ", i, " is ", dims,
                 ", expected as many dimensions as ", first);
    for (int d = 0; d < static_cast<int>(dims.size()); ++d) {
      SM_CHECK_ARG(d == axis || dims[d] == first[d], "shape ", i, " is ", dims,
                   ", expected one that agrees with ", first, " but for dimension ", axis);
      StoreInt(ctx.output(i), d, d == axis ? offset : 0);
    }
    SM_CHECK_ARG(!__builtin_add_overflow(offset, dims[axis], &offset), "offsets are too large");
  }
  return Status();
}

// The common shape of all inputs.
StatusOr<Shape> CommonShape(const ShapeContext& ctx) {
  Shape merged = Shape::Unknown();
  for (int i = 0; i < ctx.num_inputs(); ++i) {
    const StatusOr<Shape> both = merged.Merge(ctx.input(i));
    SM_CHECK_ARG(both.ok(), "value ", i, " has shape ", ctx.input(i), ", expected ", merged,
                 " as the others");
    merged = *both;
  }
  return merged;
}

Status PackShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Shape merged, CommonShape(ctx));
  if (!merged.known_rank()) return Status();
  SM_CHECK_ARG(merged.rank() < Shape::kMaxRank, "values of rank ", merged.rank(),
               " cannot be packed");
  SM_ASSIGN_OR_RETURN(const int axis,
                      shape::NormalizeAxis(ctx.attrs().Int("axis"), merged.rank() + 1));
  Shape out = merged.WithInserted(axis, ctx.num_inputs());
  if (!out.valid()) return Shape::Make(out.ToVector()).status();
  ctx.set_output(0, std::move(out));
  return Status();
}

StatusOr<KernelPtr> BuildPack(BuildContext& build) {
  const int64_t axis_value = build.attrs().Int("axis");
  return MakeKernel([axis_value](OpContext& ctx) -> Status {
    const Shape& s = ctx.input(0).shape();
    SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(axis_value, s.rank() + 1));
    const int64_t length = s.Product(axis, s.rank());
    JoinRows(ctx, 0, ctx.num_inputs(), s.Product(0, axis), [&](int) { return length; });
    return Status();
  });
}

// Inputs have a first dimension of 1, or any that adds up; joined along it.
Status ParallelConcatShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Shape joined, ConcatenatedShape(ctx, 0, ctx.num_inputs(), 0));
  const Shape& want = ctx.attrs().Get<Shape>("shape");
  SM_CHECK_ARG(joined.CompatibleWith(want), "the joined values have shape ", joined, ", expected ",
               want, " as attribute shape says");
  ctx.set_output(0, want.fully_known() ? want : joined);
  return Status();
}

Status ParallelConcat(OpContext& ctx) {
  JoinRows(ctx, 0, ctx.num_inputs(), 1, [&](int i) { return ctx.input(i).num_elements(); });
  return Status();
}

// Cuts rows of `value` into the outputs, whose rows are `size(i)` elements long.
template <class SizeFn>
void CutRows(OpContext& ctx, const Tensor& value, int64_t rows, SizeFn size) {
  if (value.num_elements() == 0) return;
  const int64_t row = value.num_elements() / rows;
  Parts parts;
  int64_t at = 0;
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    const int64_t length = size(i);
    parts.push_back(
        {value.raw_data(), at, row, ctx.output(i).raw_mutable_data(), 0, length, length});
    at += length;
  }
  MoveParts(ctx, value.dtype(), parts, rows, row);
}

Status UnpackShape(ShapeContext& ctx) {
  const Shape& in = ctx.input(0);
  if (!in.known_rank()) return Status();
  SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(ctx.attrs().Int("axis"), in.rank()));
  SM_CHECK_ARG(in[axis] == -1 || in[axis] == ctx.num_outputs(), "dimension ", axis, " of shape ",
               in, " cannot be unpacked into ", ctx.num_outputs(), " tensors");
  for (int i = 0; i < ctx.num_outputs(); ++i) ctx.set_output(i, in.WithRemoved(axis));
  return Status();
}

StatusOr<KernelPtr> BuildUnpack(BuildContext& build) {
  const int64_t axis_value = build.attrs().Int("axis");
  return MakeKernel([axis_value](OpContext& ctx) -> Status {
    const Shape& s = ctx.input(0).shape();
    SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(axis_value, s.rank()));
    const int64_t length = s.Product(axis + 1, s.rank());
    CutRows(ctx, ctx.input(0), s.Product(0, axis), [&](int) { return length; });
    return Status();
  });
}

Status SplitShape(ShapeContext& ctx) {
  int64_t axis_value = 0;
  SM_ASSIGN_OR_RETURN(const bool known, KnownScalar(ctx, 0, &axis_value));
  const Shape& in = ctx.input(1);
  if (!in.known_rank()) return Status();
  Shape out = Shape::UnknownOfRank(in.rank());
  if (known) {
    SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(axis_value, in.rank()));
    const int n = ctx.num_outputs();
    SM_CHECK_ARG(in[axis] == -1 || in[axis] % n == 0, "dimension ", axis, " of shape ", in,
                 " cannot be split evenly into ", n, " tensors");
    out = in.WithDim(axis, in[axis] == -1 ? -1 : in[axis] / n);
  }
  for (int i = 0; i < ctx.num_outputs(); ++i) ctx.set_output(i, out);
  return Status();
}

Status Split(OpContext& ctx) {
  const Shape& s = ctx.input(1).shape();
  SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(ctx.IntInput(0), s.rank()));
  const int64_t length = s.Product(axis, s.rank()) / ctx.num_outputs();
  CutRows(ctx, ctx.input(1), s.Product(0, axis), [&](int) { return length; });
  return Status();
}

// The sizes of SplitV's outputs; one of them may have been given as -1. `total` may be unknown.
Status ResolveSplits(int64_t total, std::vector<int64_t>* sizes) {
  int wild = -1;
  int64_t sum = 0;
  if (sizes->size() == 1 && total >= 0) {
    SM_CHECK_ARG((*sizes)[0] == total, "the only output is asked to have size ", (*sizes)[0],
                 ", expected ", total);
  }
  for (size_t i = 0; i < sizes->size(); ++i) {
    const int64_t size = (*sizes)[i];
    if (size == -1) {
      SM_CHECK_ARG(wild < 0, "found size_splits ", *sizes, ", expected at most one -1");
      wild = static_cast<int>(i);
      continue;
    }
    SM_CHECK_ARG(size >= 0, "found size_splits ", *sizes, ", expected sizes >= 0");
    SM_CHECK_ARG(!__builtin_add_overflow(sum, size, &sum), "size_splits are too large");
  }
  if (total < 0) return Status();
  SM_CHECK_ARG(wild < 0 ? sum == total : sum <= total, "found size_splits ", *sizes,
               ", expected them to add up to ", total);
  if (wild >= 0) (*sizes)[wild] = total - sum;
  return Status();
}

Status SplitVShape(ShapeContext& ctx) {
  const Shape& in = ctx.input(0);
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  const int n = ctx.num_outputs();
  SM_CHECK_ARG(ctx.input(1).rank() != 1 || ctx.input(1)[0] == -1 || ctx.input(1)[0] == n,
               "size_splits has shape ", ctx.input(1), ", expected [", n, "]");
  int64_t axis_value = 0;
  SM_ASSIGN_OR_RETURN(const bool axis_known, KnownScalar(ctx, 2, &axis_value));
  std::vector<int64_t> sizes;
  const bool sizes_known = KnownInts(ctx, 1, &sizes);
  if (!in.known_rank()) return Status();
  for (int i = 0; i < n; ++i) ctx.set_output(i, Shape::UnknownOfRank(in.rank()));
  if (!axis_known) return Status();
  SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(axis_value, in.rank()));
  if (sizes_known) SM_RETURN_IF_ERROR(ResolveSplits(in[axis], &sizes));
  for (int i = 0; i < n; ++i) ctx.set_output(i, in.WithDim(axis, sizes_known ? sizes[i] : -1));
  return Status();
}

Status SplitV(OpContext& ctx) {
  const Shape& s = ctx.input(0).shape();
  SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(ctx.IntInput(2), s.rank()));
  const int64_t inner = s.Product(axis + 1, s.rank());
  CutRows(ctx, ctx.input(0), s.Product(0, axis),
          [&](int i) { return ctx.output(i).shape()[axis] * inner; });
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "Concat(concat_dim: int32, values: N * T) -> (output: T); N: int >= 2; T: type",
     .shape = ConcatShape<true>,
     .build = BuildPlain<Concat<true>>},
    {.signature = "ConcatOffset(concat_dim: int32, shape: N * shape_type) -> "
                  "(offset: N * shape_type); N: int >= 2; shape_type: {int32,int64} = int32",
     .shape = ConcatOffsetShape,
     .build = BuildPlain<ConcatOffset>},
    {.signature = "ConcatV2(values: N * T, axis: Tidx) -> (output: T); N: int >= 2; T: type; "
                  "Tidx: {int32,int64} = int32",
     .shape = ConcatShape<false>,
     .build = BuildPlain<Concat<false>>,
     .per_example = true},
    {.signature = "Pack(values: N * T) -> (output: T); N: int >= 1; T: type; axis: int = 0",
     .shape = PackShape,
     .build = BuildPack},
    {.signature = "ParallelConcat(values: N * T) -> (output: T); N: int >= 1; T: type; "
                  "shape: shape",
     .shape = ParallelConcatShape,
     .build = BuildPlain<ParallelConcat>},
    {.signature = "Split(split_dim: int32, value: T) -> (output: num_split * T); "
                  "num_split: int >= 1; T: type",
     .shape = SplitShape,
     .build = BuildPlain<Split>},
    {.signature = "SplitV(value: T, size_splits: Tlen, split_dim: int32) -> "
                  "(output: num_split * T); num_split: int >= 1; T: type; "
                  "Tlen: {int8,int32,int64} = int64",
     .shape = SplitVShape,
     .build = BuildPlain<SplitV>},
    {.signature = "Unpack(value: T) -> (output: num * T); num: int >= 0; T: type; axis: int = 0",
     .shape = UnpackShape,
     .build = BuildUnpack},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ConcatOps() { return kOps; }

}  // namespace savedmodel
