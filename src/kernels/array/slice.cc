// Slice and the strided slices.
#include <algorithm>
#include <optional>

#include "absl/container/inlined_vector.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/array/strided_copy.h"

namespace savedmodel {
namespace {

// ------------------------------------------------------------------------------------------ Slice

// The size of dimension `size` from `begin` of `dim` elements; `size` -1 is all that follow.
StatusOr<int64_t> SliceSize(int64_t dim, int64_t begin, int64_t size, int axis) {
  SM_CHECK_ARG(begin >= 0 && begin <= dim, "begin[", axis, "] is ", begin, ", expected 0..", dim);
  if (size == -1) return dim - begin;
  SM_CHECK_ARG(size >= 0 && size <= dim - begin, "size[", axis, "] is ", size,
               ", expected -1 or 0..", dim - begin);
  return size;
}

Status SliceShape(ShapeContext& ctx) {
  const Shape& in = ctx.input(0);
  const Tensor *begin = ctx.value(1), *size = ctx.value(2);
  for (int i = 1; i <= 2; ++i) {
    SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 1));
    SM_CHECK_ARG(!in.known_rank() || !ctx.input(i).fully_known() || ctx.input(i)[0] == in.rank(),
                 "input ", i, " has shape ", ctx.input(i), ", expected [", in.rank(),
                 "] for a tensor of shape ", in);
  }
  if (!in.known_rank()) return Status();
  for (const Tensor* t : {begin, size}) {
    SM_CHECK_ARG(t == nullptr || t->num_elements() == in.rank(), "begin or size has ",
                 t->num_elements(), " elements, expected one for each of ", in.rank(),
                 " dimensions");
  }
  absl::InlinedVector<int64_t, 6> dims(static_cast<size_t>(in.rank()), -1);
  for (int i = 0; i < in.rank() && size != nullptr; ++i) {
    const int64_t n = IntReader(*size)[i];
    if (begin != nullptr && in[i] >= 0) {
      SM_ASSIGN_OR_RETURN(dims[i], SliceSize(in[i], IntReader(*begin)[i], n, i));
    } else if (n >= 0) {
      dims[i] = n;
    }
  }
  ctx.set_output(0, Shape(dims.data(), dims.size()));
  return Status();
}

Status Slice(OpContext& ctx) {
  const Tensor& in = ctx.input(0);
  Tensor& out = ctx.output(0);
  const IntReader begin(ctx.input(1)), size(ctx.input(2));
  const Strides in_strides = StridesOf(in.shape()), out_strides = StridesOf(out.shape());
  Move move;
  for (int i = 0; i < in.shape().rank(); ++i) {
    // The output's size may have been inferred without the value of begin.
    SM_ASSIGN_OR_RETURN(const int64_t n, SliceSize(in.shape()[i], begin[i], size[i], i));
    move.in_offset += begin[i] * in_strides[i];
    move.dims.push_back({n, in_strides[i], out_strides[i]});
  }
  StridedCopy(ctx, in.dtype(), in.raw_data(), out.raw_mutable_data(), move);
  return Status();
}

// -------------------------------------------------------------------------------------
// StridedSlice

struct SliceMasks {
  uint64_t begin, end, ellipsis, new_axis, shrink;

  explicit SliceMasks(const Attrs& attrs)
      : begin(attrs.Int("begin_mask")),
        end(attrs.Int("end_mask")),
        ellipsis(attrs.Int("ellipsis_mask")),
        new_axis(attrs.Int("new_axis_mask")),
        shrink(attrs.Int("shrink_axis_mask")) {}
};

// What a strided slice takes of each input dimension.
struct TakenDim {
  int64_t begin = 0;
  int64_t stride = 1;
  int64_t size = 0;  // -1 while the input's dimension is not known
};
struct SliceSpec {
  absl::InlinedVector<TakenDim, 6> taken;
  Shape processed;  // sizes of `taken`
  Shape final;      // with new axes in and shrunk ones out
};

// One dimension of a strided slice. `whole_begin`, `whole_end`: the mask says to start or stop at
// the end of the dimension.
StatusOr<TakenDim> TakeDim(int64_t dim, int64_t begin, int64_t end, int64_t stride,
                           bool whole_begin, bool whole_end, bool shrink, int axis) {
  SM_CHECK_ARG(stride != 0, "strides[", axis, "] is 0, expected a step that is not");
  SM_CHECK_ARG(!shrink || stride > 0,
               "only stride 1 is allowed where shrink_axis_mask is set, found ", stride,
               " for dimension ", axis);
  if (dim < 0) return TakenDim{0, stride, shrink ? 1 : -1};
  if (shrink) {
    const int64_t at = begin < 0 ? dim + begin : begin;
    SM_CHECK_ARG(at >= 0 && at < dim, "slice index ", begin, " of dimension ", axis,
                 " is out of bounds for size ", dim);
    return TakenDim{at, 1, 1};
  }
  const int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? dim : dim - 1;
  const auto clamp = [&](int64_t x) { return std::clamp(x < 0 ? dim + x : x, low, high); };
  const int64_t from = whole_begin ? (stride > 0 ? low : high) : clamp(begin);
  const int64_t to = whole_end ? (stride > 0 ? high : low) : clamp(end);
  const int64_t length = to - from;
  if (length == 0 || (length < 0) != (stride < 0)) return TakenDim{0, 1, 0};
  return TakenDim{from, stride, length / stride + (length % stride != 0)};
}

// Resolves a strided slice of a tensor of shape `in`, of known rank.
StatusOr<SliceSpec> ResolveSlice(const Shape& in, const Tensor& begin_values,
                                 const Tensor& end_values, const Tensor& stride_values,
                                 SliceMasks masks) {
  const IntReader begin(begin_values), end(end_values), strides(stride_values);
  const int64_t count = begin_values.num_elements();
  SM_CHECK_ARG(
      count == end_values.num_elements() && count == stride_values.num_elements() && count < 32,
      "begin, end and strides have ", count, ", ", end_values.num_elements(), " and ",
      stride_values.num_elements(), " elements, expected as many, less than 32");
  const int n = static_cast<int>(count), rank = in.rank();
  int ellipses = 0, new_axes = 0;
  for (int i = 0; i < n; ++i) {
    if (masks.ellipsis >> i & 1) {
      ++ellipses;
    } else if (masks.new_axis >> i & 1) {
      ++new_axes;
    }
  }
  SM_CHECK_ARG(ellipses <= 1, "found ", ellipses, " ellipses, expected at most one");
  const int consumed = n - ellipses - new_axes;
  SM_CHECK_ARG(consumed <= rank, "the slice indexes ", consumed,
               " dimensions of a tensor of shape ", in, "; expected at most ", rank);
  SliceSpec spec;
  absl::InlinedVector<int64_t, 6> processed, final;
  int axis = 0;
  const auto take_whole = [&](int count) {
    for (; count > 0; --count, ++axis) {
      spec.taken.push_back({0, 1, in[axis]});
      final.push_back(in[axis]);
    }
  };
  for (int i = 0; i < n; ++i) {
    if (masks.ellipsis >> i & 1) {
      take_whole(rank - consumed);
    } else if (masks.new_axis >> i & 1) {
      final.push_back(1);
    } else {
      const bool shrink = masks.shrink >> i & 1;
      SM_ASSIGN_OR_RETURN(const TakenDim taken,
                          TakeDim(in[axis], begin[i], end[i], strides[i], masks.begin >> i & 1,
                                  masks.end >> i & 1, shrink, axis));
      spec.taken.push_back(taken);
      if (!shrink) final.push_back(taken.size);
      ++axis;
    }
  }
  take_whole(rank - axis);
  for (const TakenDim& d : spec.taken) processed.push_back(d.size);
  spec.processed = Shape(processed.data(), processed.size());
  spec.final = Shape(final.data(), final.size());
  if (!spec.final.valid()) return Shape::Make(spec.final.ToVector()).status();
  return spec;
}

Status ExpectVectors(const ShapeContext& ctx) {
  for (int i = 1; i <= 3; ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 1));
  return Status();
}

Status StridedSliceShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ExpectVectors(ctx));
  const Tensor *begin = ctx.value(1), *end = ctx.value(2), *strides = ctx.value(3);
  const bool known = begin != nullptr && end != nullptr && strides != nullptr;
  if (!ctx.input(0).known_rank() || !known) return Status();
  SM_ASSIGN_OR_RETURN(SliceSpec spec,
                      ResolveSlice(ctx.input(0), *begin, *end, *strides, SliceMasks(ctx.attrs())));
  ctx.set_output(0, std::move(spec.final));
  return Status();
}

StatusOr<SliceSpec> RuntimeSlice(const OpContext& ctx, const Shape& in, const SliceMasks& masks) {
  return ResolveSlice(in, ctx.input(1), ctx.input(2), ctx.input(3), masks);
}

// The move between the slice of a tensor of shape `whole` and the slice on its own.
Move SliceMove(const SliceSpec& spec, const Shape& whole, bool into_whole) {
  const Strides outer = StridesOf(whole), inner = StridesOf(spec.processed);
  Move move;
  int64_t& offset = into_whole ? move.out_offset : move.in_offset;
  for (size_t i = 0; i < spec.taken.size(); ++i) {
    const TakenDim& d = spec.taken[i];
    const int64_t stride = d.stride * outer[i];
    offset += d.begin * outer[i];
    move.dims.push_back({d.size, into_whole ? inner[i] : stride, into_whole ? stride : inner[i]});
  }
  return move;
}

StatusOr<KernelPtr> BuildStridedSlice(BuildContext& build) {
  const SliceMasks masks(build.attrs());
  return MakeKernel([masks](OpContext& ctx) -> Status {
    const Tensor& in = ctx.input(0);
    SM_ASSIGN_OR_RETURN(const SliceSpec spec, RuntimeSlice(ctx, in.shape(), masks));
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, spec.final));
    StridedCopy(ctx, in.dtype(), in.raw_data(), ctx.output(0).raw_mutable_data(),
                SliceMove(spec, in.shape(), false));
    return Status();
  });
}

Status StridedSliceGradShape(ShapeContext& ctx) {
  std::vector<int64_t> dims;
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 1));
  SM_RETURN_IF_ERROR(ExpectVectors(ctx));
  if (!KnownInts(ctx, 0, &dims)) return Status();
  SM_ASSIGN_OR_RETURN(Shape out, ShapeOf(dims));
  ctx.set_output(0, std::move(out));
  return Status();
}

StatusOr<KernelPtr> BuildStridedSliceGrad(BuildContext& build) {
  const SliceMasks masks(build.attrs());
  return MakeKernel([masks](OpContext& ctx) -> Status {
    Tensor& out = ctx.output(0);
    const Tensor& dy = ctx.input(4);
    SM_ASSIGN_OR_RETURN(const SliceSpec spec, RuntimeSlice(ctx, out.shape(), masks));
    SM_CHECK_ARG(dy.shape() == spec.final, "dy has shape ", dy.shape(), ", expected ", spec.final,
                 " as the slice");
    ZeroElements(out.dtype(), out.raw_mutable_data(), out.num_elements());
    StridedCopy(ctx, dy.dtype(), dy.raw_data(), out.raw_mutable_data(),
                SliceMove(spec, out.shape(), true));
    return Status();
  });
}

Status SliceUpdateShape(ShapeContext& ctx) {
  ctx.set_output(0, ctx.input(0));
  return ExpectVectors(ctx);
}

// Strides that read `value` as `shape` (broadcast); nullopt where it cannot be.
std::optional<std::vector<int64_t>> BroadcastStrides(const Shape& value, const Shape& shape) {
  const int lead = shape.rank() - value.rank();
  if (lead < 0) return std::nullopt;
  const Strides own = StridesOf(value);
  std::vector<int64_t> strides(shape.rank(), 0);
  for (int i = 0; i < value.rank(); ++i) {
    if (value[i] == shape[lead + i]) {
      strides[lead + i] = own[i];
    } else if (value[i] != 1) {
      return std::nullopt;
    }
  }
  return strides;
}

// The strides by dimension of `spec.processed` for strides by dimension of `spec.final`.
std::vector<int64_t> ProcessedStrides(const SliceSpec& spec, const SliceMasks& masks, int n,
                                      const std::vector<int64_t>& final_strides) {
  const int rank = static_cast<int>(spec.taken.size());
  int consumed = 0;
  for (int i = 0; i < n; ++i) {
    consumed += !(masks.ellipsis >> i & 1) && !(masks.new_axis >> i & 1);
  }
  std::vector<int64_t> strides;
  size_t at = 0;
  const auto whole = [&](int count) {
    for (; count > 0; --count) strides.push_back(final_strides[at++]);
  };
  for (int i = 0; i < n; ++i) {
    if (masks.ellipsis >> i & 1) {
      whole(rank - consumed);
    } else if (masks.new_axis >> i & 1) {
      ++at;
    } else if (masks.shrink >> i & 1) {
      strides.push_back(0);
    } else {
      whole(1);
    }
  }
  whole(rank - static_cast<int>(strides.size()));
  return strides;
}

StatusOr<KernelPtr> BuildSliceUpdate(BuildContext& build) {
  const SliceMasks masks(build.attrs());
  return MakeKernel([masks](OpContext& ctx) -> Status {
    const Tensor &in = ctx.input(0), &value = ctx.input(4);
    Tensor& out = ctx.output(0);
    SM_ASSIGN_OR_RETURN(const SliceSpec spec, RuntimeSlice(ctx, in.shape(), masks));
    const auto strides = BroadcastStrides(value.shape(), spec.final);
    SM_CHECK_ARG(strides.has_value() || spec.final.num_elements() == 0, "value has shape ",
                 value.shape(), ", expected one that broadcasts to ", spec.final);
    CopyElements(in.dtype(), in.raw_data(), 0, out.raw_mutable_data(), 0, in.num_elements());
    if (spec.final.num_elements() == 0) return Status();
    Move move = SliceMove(spec, in.shape(), true);
    const int n = static_cast<int>(ctx.input(1).num_elements());
    const std::vector<int64_t> from = ProcessedStrides(spec, masks, n, *strides);
    for (size_t i = 0; i < from.size(); ++i) move.dims[i].in = from[i];
    StridedCopy(ctx, in.dtype(), value.raw_data(), out.raw_mutable_data(), move);
    return Status();
  });
}

#define SM_SLICE_MASKS                                                                       \
  "begin_mask: int = 0; end_mask: int = 0; ellipsis_mask: int = 0; new_axis_mask: int = 0; " \
  "shrink_axis_mask: int = 0"

constexpr OpDef kOps[] = {
    {.signature = "Slice(input: T, begin: Index, size: Index) -> (output: T); T: type; "
                  "Index: {int32,int64}",
     .shape = SliceShape,
     .build = BuildPlain<Slice>},
    {.signature = "StridedSlice(input: T, begin: Index, end: Index, strides: Index) -> "
                  "(output: T); T: type; Index: {int16,int32,int64}; " SM_SLICE_MASKS,
     .shape = StridedSliceShape,
     .build = BuildStridedSlice},
    {.signature = "StridedSliceGrad(shape: Index, begin: Index, end: Index, strides: Index, "
                  "dy: T) -> (output: T); T: type; Index: {int32,int64}; " SM_SLICE_MASKS,
     .shape = StridedSliceGradShape,
     .build = BuildStridedSliceGrad},
    {.signature = "TensorStridedSliceUpdate(input: T, begin: Index, end: Index, strides: Index, "
                  "value: T) -> (output: T); T: type; Index: {int32,int64}; " SM_SLICE_MASKS,
     .shape = SliceUpdateShape,
     .build = BuildSliceUpdate},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SliceOps() { return kOps; }

}  // namespace savedmodel
