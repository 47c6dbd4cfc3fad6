// Assigning to a strided slice of a variable.
#include <algorithm>
#include <utility>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/state/state_ops.h"
#include "src/kernels/state/variable_input.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

struct Masks {
  int64_t begin = 0, end = 0, ellipsis = 0, new_axis = 0, shrink_axis = 0;
};

// The elements of one dimension of the variable that the slice has.
struct Range {
  int64_t begin = 0, step = 1, count = 0;
  int dim = -1;  // the slice's dimension for it; none where a single index was given
};

struct SliceSpec {
  std::vector<Range> ranges;  // one for each dimension of the variable
  std::vector<int64_t> dims;  // shape of the slice as the value sees it
};

bool Bit(int64_t mask, size_t i) { return i < 63 && (mask >> i & 1) != 0; }

StatusOr<Range> RangeOf(int64_t begin, int64_t end, int64_t step, int64_t size, bool no_begin,
                        bool no_end) {
  SM_CHECK_ARG(step != 0, "found stride 0, expected another");
  // Positions from which, and up to which, elements can be taken in this direction.
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
  const auto clamp = [&](int64_t x) { return std::min(high, std::max(low, x < 0 ? x + size : x)); };
  const int64_t from = no_begin ? (step > 0 ? low : high) : clamp(begin);
  const int64_t to = no_end ? (step > 0 ? high : low) : clamp(end);
  Range range{from, step, 0, -1};
  if (step > 0 && to > from) range.count = (to - from - 1) / step + 1;
  if (step < 0 && to < from) range.count = (from - to - 1) / -std::max(step, -INT64_MAX) + 1;
  return range;
}

// Reads a numpy-like index expression, given as TensorFlow does, against `shape`.
StatusOr<SliceSpec> ParseSlice(const std::vector<int64_t>& begin, const std::vector<int64_t>& end,
                               const std::vector<int64_t>& strides, const Masks& masks,
                               const Shape& shape) {
  const size_t n = begin.size();
  SM_CHECK_ARG(n == end.size() && n == strides.size() && n <= 64, "begin, end and strides have ", n,
               ", ", end.size(), " and ", strides.size(), " elements, expected the same number");
  int used = 0, ellipses = 0;
  for (size_t i = 0; i < n; ++i) {
    if (Bit(masks.ellipsis, i)) {
      ++ellipses;
    } else if (!Bit(masks.new_axis, i)) {
      ++used;
    }
  }
  SM_CHECK_ARG(ellipses <= 1, "found ", ellipses, " ellipses, expected at most one");
  SM_CHECK_ARG(used <= shape.rank(), "the slice has ", used,
               " dimensions, the variable's shape is ", shape);
  SliceSpec spec;
  const auto take = [&](Range range) {
    range.dim = static_cast<int>(spec.dims.size());
    spec.ranges.push_back(range);
    spec.dims.push_back(range.count);
  };
  const auto take_whole = [&](int count) {
    for (int k = 0; k < count; ++k) take({0, 1, shape[static_cast<int>(spec.ranges.size())], -1});
  };
  for (size_t i = 0; i < n; ++i) {
    if (Bit(masks.ellipsis, i)) {
      take_whole(shape.rank() - used);
    } else if (Bit(masks.new_axis, i)) {
      spec.dims.push_back(1);
    } else if (Bit(masks.shrink_axis, i)) {
      const int64_t size = shape[static_cast<int>(spec.ranges.size())];
      const int64_t index = begin[i] < 0 ? begin[i] + size : begin[i];
      SM_CHECK_ARG(index >= 0 && index < size, "index ", begin[i],
                   " is out of range in a dimension of ", size);
      SM_CHECK_ARG(strides[i] > 0, "found stride ", strides[i],
                   " for a single index, expected one > 0");
      spec.ranges.push_back({index, 1, 1, -1});
    } else {
      const int64_t size = shape[static_cast<int>(spec.ranges.size())];
      SM_ASSIGN_OR_RETURN(const Range range, RangeOf(begin[i], end[i], strides[i], size,
                                                     Bit(masks.begin, i), Bit(masks.end, i)));
      take(range);
    }
  }
  take_whole(shape.rank() - static_cast<int>(spec.ranges.size()));
  return spec;
}

// Calls fn(number of an element in the variable, number of the value's element for it) for all
// elements of a slice that is not empty. The value is broadcast to the slice.
template <class F>
void ForEachElement(const SliceSpec& spec, const Shape& variable, const Shape& value, F&& fn) {
  const int rank = static_cast<int>(spec.ranges.size());
  const int value_offset = static_cast<int>(spec.dims.size()) - value.rank();
  std::vector<int64_t> to_step(rank), from_step(rank), at(rank);
  int64_t stride = 1, to = 0, from = 0;
  for (int k = rank - 1; k >= 0; --k) {
    const Range& range = spec.ranges[k];
    to_step[k] = range.step * stride;
    to += range.begin * stride;
    stride *= variable[k];
    const int d = range.dim - value_offset;
    if (range.dim < 0 || d < 0 || value[d] == 1) continue;
    from_step[k] = value.Product(d + 1, value.rank());
  }
  for (;;) {
    fn(to, from);
    int k = rank - 1;
    for (; k >= 0; --k) {
      if (++at[k] < spec.ranges[k].count) break;
      to -= to_step[k] * (at[k] - 1);
      from -= from_step[k] * (at[k] - 1);
      at[k] = 0;
    }
    if (k < 0) return;
    to += to_step[k];
    from += from_step[k];
  }
}

Status AssignSlice(OpContext& ctx, Tensor& variable, const Masks& masks) {
  SM_ASSIGN_OR_RETURN(const SliceSpec spec, ParseSlice(ctx.IntsInput(1), ctx.IntsInput(2),
                                                       ctx.IntsInput(3), masks, variable.shape()));
  const Tensor& value = ctx.input(4);
  const Shape slice(spec.dims);
  const auto broadcast = shape::BroadcastShapes(slice, value.shape());
  SM_CHECK_ARG(broadcast.ok() && *broadcast == slice, "the slice has shape ", slice, ", the value ",
               value.shape(), " cannot be broadcast to it");
  if (slice.num_elements() == 0) return Status();
  SM_RETURN_IF_ERROR(MakeExclusive(ctx, variable));
  return VisitByElementSize(variable.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* to = static_cast<T*>(variable.raw_mutable_data());
    const T* from = static_cast<const T*>(value.raw_data());
    ForEachElement(spec, variable.shape(), value.shape(),
                   [&](int64_t i, int64_t j) { to[i] = from[j]; });
    return Status();
  });
}

StatusOr<KernelPtr> BuildStridedSliceAssign(BuildContext& build) {
  Masks masks;
  masks.begin = build.attrs().Int("begin_mask");
  masks.end = build.attrs().Int("end_mask");
  masks.ellipsis = build.attrs().Int("ellipsis_mask");
  masks.new_axis = build.attrs().Int("new_axis_mask");
  masks.shrink_axis = build.attrs().Int("shrink_axis_mask");
  return MakeKernel([masks, dtype = build.input_dtype(4),
                     reference = ReturnsReference(build)](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(VariableResource * variable, reference
                                                         ? VariableInput(ctx, 0, dtype)
                                                         : InitializedVariableInput(ctx, 0, dtype));
    SM_RETURN_IF_ERROR(
        variable->Update([&](Tensor& value) { return AssignSlice(ctx, value, masks); }));
    return reference ? ForwardHandle(ctx) : Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "ResourceStridedSliceAssign(ref: resource, begin: Index, end: Index, "
                  "strides: Index, value: T) -> (); T: type; Index: {int32,int64}; "
                  "begin_mask: int = 0; end_mask: int = 0; ellipsis_mask: int = 0; "
                  "new_axis_mask: int = 0; shrink_axis_mask: int = 0",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildStridedSliceAssign},
    {.signature = "StridedSliceAssign(ref: Ref(T), begin: Index, end: Index, strides: Index, "
                  "value: T) -> (output_ref: Ref(T)); T: type; Index: {int32,int64}; "
                  "begin_mask: int = 0; end_mask: int = 0; ellipsis_mask: int = 0; "
                  "new_axis_mask: int = 0; shrink_axis_mask: int = 0",
     .effects = Effects::kWritesState,
     .shape = shape::Unknown,
     .build = BuildStridedSliceAssign},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> StridedAssignOps() { return kOps; }

}  // namespace savedmodel
