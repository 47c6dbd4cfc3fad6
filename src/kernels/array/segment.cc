// Reductions over rows grouped by segment ids, sorted or not.
#include <algorithm>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/combine.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// ----------------------------------------------------------------------------------- sorted ids

// Output rows follow from the last id, or from input 2 where there is one.
Status SegmentShape(ShapeContext& ctx) {
  const Shape &data = ctx.input(0), &ids = ctx.input(1);
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  SM_CHECK_ARG(!data.known_rank() || !ids.known_rank() || data.Slice(0, 1).CompatibleWith(ids),
               "segment_ids have shape ", ids, ", expected as many as rows of data of shape ",
               data);
  int64_t rows = -1;
  if (ctx.num_inputs() > 2) {
    SM_ASSIGN_OR_RETURN(const bool known, KnownScalar(ctx, 2, &rows));
    SM_CHECK_ARG(!known || rows >= 0, "num_segments is ", rows, ", expected none below 0");
    if (!known) rows = -1;
  } else if (const Tensor* t = ctx.value(1)) {
    const int64_t n = t->num_elements();
    const int64_t last = n == 0 ? -1 : IntReader(*t)[n - 1];
    SM_CHECK_ARG(last >= -1 && last < INT64_MAX && (n == 0 || last >= 0), "segment id ", last,
                 " is out of range, expected ids >= 0");
    rows = last + 1;
  }
  if (!data.known_rank()) return Status();
  SM_ASSIGN_OR_RETURN(Shape out, Shape::Make(data.WithDim(0, rows).ToVector()));
  ctx.set_output(0, std::move(out));
  return Status();
}

Status CheckSortedIds(const std::vector<int64_t>& ids, int64_t segments) {
  for (size_t i = 0; i < ids.size(); ++i) {
    SM_CHECK_ARG(ids[i] >= 0 && ids[i] < segments, "segment_ids[", i, "] is ", ids[i],
                 ", expected an id in [0, ", segments, ")");
    SM_CHECK_ARG(i == 0 || ids[i] >= ids[i - 1], "segment_ids[", i, "] is ", ids[i], " after ",
                 ids[i - 1], ", expected increasing ids");
  }
  return Status();
}

template <class T>
void DivideRow(T* row, int64_t inner, int64_t count) {
  for (int64_t i = 0; i < inner; ++i) {
    if constexpr (std::is_integral_v<T>) {
      row[i] = static_cast<T>(row[i] / static_cast<T>(count == 0 ? 1 : count));
    } else if constexpr (sizeof(T) == 2) {
      row[i] = T(static_cast<float>(row[i]) / static_cast<float>(count));
    } else {
      row[i] = row[i] / T(static_cast<double>(count));
    }
  }
}

// row[i] = row[i] op in[i] of each of `rows` rows in turn.
template <class T>
void CombineRows(Combine op, T* row, const T* in, int64_t rows, int64_t inner) {
  if constexpr (std::is_same_v<T, float>) {
    if (op == Combine::kAdd) {
      return Vectors().combine_rows(ScalarOp::kAdd, in, inner, rows, inner, row);
    }
  }
  for (int64_t r = 0; r < rows; ++r) CombineRow(op, row, in + r * inner, inner);
}

// Segments without rows become 0, or 1 for products.
Status ReduceSegments(OpContext& ctx, Combine op, bool mean) {
  const std::vector<int64_t> ids = ReadInts(ctx.input(1));
  const int64_t n = static_cast<int64_t>(ids.size());
  const Shape& shape = ctx.output(0).shape();
  const int64_t segments = shape[0], inner = shape.Product(1, shape.rank());
  SM_RETURN_IF_ERROR(CheckSortedIds(ids, segments));
  return VisitDType<kNumbers>(ctx.output_dtype(0), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* data = ctx.in<T>(0);
    T* out = ctx.out<T>(0);
    std::fill_n(out, segments * inner, T(op == Combine::kMul ? 1 : 0));
    for (int64_t begin = 0, end = 0; begin < n; begin = end) {
      T* row = out + ids[begin] * inner;
      std::copy_n(data + begin * inner, inner, row);
      end = begin + 1;
      while (end < n && ids[end] == ids[begin]) ++end;
      CombineRows(op, row, data + (begin + 1) * inner, end - begin - 1, inner);
      if (mean && end - begin > 1) DivideRow(row, inner, end - begin);
    }
    return Status();
  });
}

template <Combine op, bool mean = false>
Status SegmentReduce(OpContext& ctx) {
  return ReduceSegments(ctx, op, mean);
}

// --------------------------------------------------------------------------------- unsorted ids

Status UnsortedShape(ShapeContext& ctx) {
  const Shape &data = ctx.input(0), &ids = ctx.input(1);
  int64_t segments = -1;
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 0));
  SM_ASSIGN_OR_RETURN(const bool known, KnownScalar(ctx, 2, &segments));
  SM_CHECK_ARG(!known || segments >= 0, "num_segments is ", segments, ", expected none below 0");
  if (!data.known_rank() || !ids.known_rank()) return Status();
  SM_CHECK_ARG(ids.rank() <= data.rank() && data.Slice(0, ids.rank()).CompatibleWith(ids),
               "segment_ids have shape ", ids, ", expected a prefix of that of data, ", data);
  std::vector<int64_t> dims = {known ? segments : -1};
  dims.insert(dims.end(), data.begin() + ids.rank(), data.end());
  SM_ASSIGN_OR_RETURN(Shape out, Shape::Make(dims));
  ctx.set_output(0, std::move(out));
  return Status();
}

template <class T>
T Neutral(Combine op) {
  if constexpr (!kIsComplex<T>) {
    if (op == Combine::kMinOrNew) return HighestOf<T>();
    if (op == Combine::kMaxOrNew) return LowestOf<T>();
  }
  return T(op == Combine::kMul ? 1 : 0);
}

// Rows with a negative id are dropped.
Status ReduceUnsorted(OpContext& ctx, Combine op) {
  const std::vector<int64_t> ids = ReadInts(ctx.input(1));
  const int64_t n = static_cast<int64_t>(ids.size());
  const Shape& shape = ctx.output(0).shape();
  const int64_t segments = shape[0], inner = shape.Product(1, shape.rank());
  for (int64_t i = 0; i < n; ++i) {
    SM_CHECK_ARG(ids[i] < segments, "segment_ids[", i, "] is ", ids[i],
                 ", expected an id below num_segments ", segments);
  }
  return VisitDType<kNumbers>(ctx.output_dtype(0), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* data = ctx.in<T>(0);
    T* out = ctx.out<T>(0);
    std::fill_n(out, segments * inner, Neutral<T>(op));
    for (int64_t i = 0; i < n; ++i) {
      if (ids[i] >= 0) CombineRow(op, out + ids[i] * inner, data + i * inner, inner);
    }
    return Status();
  });
}

template <Combine op>
Status UnsortedReduce(OpContext& ctx) {
  return ReduceUnsorted(ctx, op);
}

#define SM_NUMBERS                                                                               \
  "T: {float,double,int32,uint8,int16,int8,complex64,int64,qint8,quint8,qint32,bfloat16,qint16," \
  "quint16,uint16,complex128,half,uint32,uint64}; "
#define SM_REALS \
  "T: {float,double,int32,uint8,int16,int8,int64,bfloat16,uint16,half,uint32,uint64}; "
#define SM_SEGMENT(name, types, op, ...)                                                          \
  {                                                                                               \
    .signature =                                                                                  \
        name "(data: T, segment_ids: Tindices) -> (output: T); " types "Tindices: {int32,int64}", \
    .shape = SegmentShape, .build = BuildPlain<SegmentReduce<op __VA_OPT__(, ) __VA_ARGS__>>      \
  }
#define SM_SEGMENT_V2(name, types, op)                                                        \
  {                                                                                           \
    .signature = name                                                                         \
        "(data: T, segment_ids: Tindices, num_segments: Tnumsegments) -> "                    \
        "(output: T); " types "Tindices: {int32,int64}; Tnumsegments: {int32,int64} = int32", \
    .shape = SegmentShape, .build = BuildPlain<SegmentReduce<op>>                             \
  }
#define SM_UNSORTED(name, types, indices, op)                                               \
  {                                                                                         \
    .signature = name                                                                       \
        "(data: T, segment_ids: Tindices, num_segments: Tnumsegments) -> "                  \
        "(output: T); " types "Tindices: " indices "; Tnumsegments: {int32,int64} = int32", \
    .shape = UnsortedShape, .build = BuildPlain<UnsortedReduce<op>>                         \
  }

constexpr OpDef kOps[] = {
    SM_SEGMENT("SegmentMax", SM_REALS, Combine::kMaxOrNew),
    SM_SEGMENT_V2("SegmentMaxV2", SM_REALS, Combine::kMaxOrNew),
    SM_SEGMENT("SegmentMean", SM_NUMBERS, Combine::kAdd, true),
    SM_SEGMENT("SegmentMin", SM_REALS, Combine::kMinOrNew),
    SM_SEGMENT_V2("SegmentMinV2", SM_REALS, Combine::kMinOrNew),
    SM_SEGMENT("SegmentProd", SM_NUMBERS, Combine::kMul),
    SM_SEGMENT_V2("SegmentProdV2", SM_NUMBERS, Combine::kMul),
    SM_SEGMENT("SegmentSum", SM_NUMBERS, Combine::kAdd),
    SM_SEGMENT_V2("SegmentSumV2", SM_NUMBERS, Combine::kAdd),
    SM_UNSORTED("UnsortedSegmentMax", SM_REALS, "{int32,int64}", Combine::kMaxOrNew),
    SM_UNSORTED("UnsortedSegmentMin", SM_REALS, "{int32,int64}", Combine::kMinOrNew),
    SM_UNSORTED("UnsortedSegmentProd", SM_NUMBERS, "{int32,int64}", Combine::kMul),
    SM_UNSORTED("UnsortedSegmentSum", SM_NUMBERS, "{int16,int32,int64}", Combine::kAdd),
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SegmentOps() { return kOps; }

}  // namespace savedmodel
