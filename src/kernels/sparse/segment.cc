// Sums, means and the like of rows picked by index, grouped by sorted segment ids.
#include <cmath>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/sparse/sparse_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

enum class Scale : uint8_t { kSum, kMean, kSqrtN };

// Half and bfloat16 are summed as floats.
template <class T>
struct Sum {
  using type = T;
};
template <>
struct Sum<half> {
  using type = float;
};
template <>
struct Sum<bfloat16> {
  using type = float;
};

// Segments of sorted `ids`: bounds[s] is where segment s starts, bounds.back() the end.
StatusOr<std::vector<int64_t>> SegmentBounds(const std::vector<int64_t>& ids, int64_t segments) {
  std::vector<int64_t> bounds;
  for (size_t i = 0; i < ids.size(); ++i) {
    SM_CHECK_ARG(ids[i] >= 0, "Segment id ", ids[i], " out of range [0, ", segments, ")");
    SM_CHECK_ARG(i == 0 || ids[i] >= ids[i - 1], "segment ids are not increasing");
    SM_CHECK_ARG(ids[i] < segments, "segment ids must be < num_segments: found ", ids[i],
                 ", expected below ", segments);
    bounds.resize(static_cast<size_t>(ids[i]) + 1, static_cast<int64_t>(i));
  }
  bounds.resize(static_cast<size_t>(segments) + 1, static_cast<int64_t>(ids.size()));
  return bounds;
}

// What the sum of `count` rows is divided by.
double DivisorOf(Scale scale, int64_t count) {
  const double n = static_cast<double>(count);
  return scale == Scale::kSum ? 1 : scale == Scale::kMean ? n : std::sqrt(n);
}

template <class T>
void SumSegment(const T* data, const int64_t* rows, int64_t count, int64_t width, Scale scale,
                typename Sum<T>::type* sums, T* out) {
  using S = typename Sum<T>::type;
  std::fill_n(sums, width, S(0));
  for (int64_t r = 0; r < count; ++r) {
    const T* row = data + rows[r] * width;
    for (int64_t k = 0; k < width; ++k) {
      if constexpr (std::is_integral_v<S>) {
        using U = std::make_unsigned_t<S>;
        sums[k] = static_cast<S>(static_cast<U>(sums[k]) + static_cast<U>(row[k]));
      } else {
        sums[k] += static_cast<S>(row[k]);
      }
    }
  }
  if constexpr (!std::is_integral_v<S>) {
    if (count > 0 && scale != Scale::kSum) {
      const S divisor = static_cast<S>(DivisorOf(scale, count));
      for (int64_t k = 0; k < width; ++k) sums[k] /= divisor;
    }
  }
  for (int64_t k = 0; k < width; ++k) out[k] = static_cast<T>(sums[k]);
}

// The same of floats; `row_of` is scratch.
void SumFloatSegment(const float* data, const int64_t* rows, int64_t count, int64_t width,
                     Scale scale, std::vector<const float*>* row_of, float* out) {
  if (count == 0) {
    std::fill_n(out, width, 0.0f);
    return;
  }
  row_of->clear();
  for (int64_t r = 0; r < count; ++r) row_of->push_back(data + rows[r] * width);
  Vectors().pool_sum({.taps = row_of->data(),
                      .num_taps = count,
                      .channels = width,
                      .scale = 1 / static_cast<float>(DivisorOf(scale, count)),
                      .y = out});
}

Status SparseSegment(OpContext& ctx, Scale scale) {
  const Shape& data_shape = ctx.input(0).shape();
  const std::vector<int64_t> rows = ctx.IntsInput(1), ids = ctx.IntsInput(2);
  SM_CHECK_ARG(rows.size() == ids.size(), "segment_ids and indices should have same size: found ",
               ids.size(), " and ", rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    SM_CHECK_ARG(rows[i] >= 0 && rows[i] < data_shape.dim(0), "Bad: indices[", i, "] == ", rows[i],
                 " out of range [0, ", data_shape.dim(0), ")");
  }
  int64_t segments = ids.empty() ? 0 : ids.back() + 1;
  if (ctx.num_inputs() > 3) segments = ctx.IntInput(3);
  SM_CHECK_ARG(segments >= 0, "found ", segments, " segments, expected >= 0");
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, data_shape.WithDim(0, segments)));
  if (ctx.output(0).num_elements() == 0 && ids.empty()) return Status();
  // The bounds of segments are as many as rows; rows without elements must not hide a giant count.
  SM_RETURN_IF_ERROR(ctx.AllocateTemp(DType::kInt64, {segments}).status());
  SM_ASSIGN_OR_RETURN(const std::vector<int64_t> bounds, SegmentBounds(ids, segments));
  const int64_t width = data_shape.Product(1, data_shape.rank());
  const double cost = 1.0 * static_cast<double>(width) *
                      (1 + static_cast<double>(rows.size()) / static_cast<double>(segments + 1));
  return VisitDType<kReals>(ctx.output_dtype(0), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* data = ctx.in<T>(0);
    T* out = ctx.out<T>(0);
    ctx.ParallelFor(segments, cost, [&](int64_t begin, int64_t end) {
      std::vector<std::conditional_t<std::is_same_v<T, float>, const float*, typename Sum<T>::type>>
          scratch(std::is_same_v<T, float> ? 0 : static_cast<size_t>(width));
      for (int64_t s = begin; s < end; ++s) {
        const int64_t from = bounds[static_cast<size_t>(s)];
        const int64_t count = bounds[static_cast<size_t>(s) + 1] - from;
        if constexpr (std::is_same_v<T, float>) {
          SumFloatSegment(data, rows.data() + from, count, width, scale, &scratch, out + s * width);
        } else {
          SumSegment(data, rows.data() + from, count, width, scale, scratch.data(),
                     out + s * width);
        }
      }
    });
    return Status();
  });
}

template <Scale scale>
Status Run(OpContext& ctx) {
  return SparseSegment(ctx, scale);
}

Status SegmentShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 1));
  SM_CHECK_ARG(ctx.input(1).CompatibleWith(ctx.input(2)),
               "segment_ids and indices should have same size: found ", ctx.input(2), " and ",
               ctx.input(1));
  int64_t segments = -1;
  if (ctx.num_inputs() > 3) {
    SM_RETURN_IF_ERROR(ctx.ExpectRank(3, 0));
    SM_CHECK_ARG(!ctx.IntValue(3, &segments) || segments >= 0, "found ", segments,
                 " segments, expected >= 0");
  }
  if (ctx.input(0).known_rank()) ctx.set_output(0, ctx.input(0).WithDim(0, segments));
  return Status();
}

#define SM_SEGMENT_FLOATS                                          \
  "T: {bfloat16,half,float,double}; Tidx: {int32,int64} = int32; " \
  "Tsegmentids: {int32,int64} = int32; sparse_gradient: bool = false"
#define SM_SEGMENT_REALS                                                                \
  "T: {float,double,int32,uint8,int16,int8,int64,bfloat16,uint16,half,uint32,uint64}; " \
  "Tidx: {int32,int64} = int32; Tsegmentids: {int32,int64} = int32; "                   \
  "sparse_gradient: bool = false"
#define SM_NUM_SEGMENTS "; Tnumsegments: {int32,int64} = int32"

constexpr OpDef kOps[] = {
    {.signature = "SparseSegmentMean(data: T, indices: Tidx, segment_ids: Tsegmentids) -> "
                  "(output: T); " SM_SEGMENT_FLOATS,
     .shape = SegmentShape,
     .build = BuildPlain<Run<Scale::kMean>>},
    {.signature = "SparseSegmentMeanWithNumSegments(data: T, indices: Tidx, "
                  "segment_ids: Tsegmentids, num_segments: Tnumsegments) -> "
                  "(output: T); " SM_SEGMENT_FLOATS SM_NUM_SEGMENTS,
     .shape = SegmentShape,
     .build = BuildPlain<Run<Scale::kMean>>},
    {.signature = "SparseSegmentSqrtN(data: T, indices: Tidx, segment_ids: Tsegmentids) -> "
                  "(output: T); " SM_SEGMENT_FLOATS,
     .shape = SegmentShape,
     .build = BuildPlain<Run<Scale::kSqrtN>>},
    {.signature = "SparseSegmentSqrtNWithNumSegments(data: T, indices: Tidx, "
                  "segment_ids: Tsegmentids, num_segments: Tnumsegments) -> "
                  "(output: T); " SM_SEGMENT_FLOATS SM_NUM_SEGMENTS,
     .shape = SegmentShape,
     .build = BuildPlain<Run<Scale::kSqrtN>>},
    {.signature = "SparseSegmentSum(data: T, indices: Tidx, segment_ids: Tsegmentids) -> "
                  "(output: T); " SM_SEGMENT_REALS,
     .shape = SegmentShape,
     .build = BuildPlain<Run<Scale::kSum>>},
    {.signature = "SparseSegmentSumWithNumSegments(data: T, indices: Tidx, "
                  "segment_ids: Tsegmentids, num_segments: Tnumsegments) -> "
                  "(output: T); " SM_SEGMENT_REALS SM_NUM_SEGMENTS,
     .shape = SegmentShape,
     .build = BuildPlain<Run<Scale::kSum>>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SparseSegmentOps() { return kOps; }

}  // namespace savedmodel
