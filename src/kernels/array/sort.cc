// Ops about order: the largest elements, order statistics, binary search.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// A strict weak order, also among NaN: a before b when larger; NaN come last.
template <class T>
bool Larger(T a, T b) {
  if constexpr (!std::is_integral_v<T>) {
    if (b != b) return a == a;
  }
  return b < a;
}
template <class T>
bool Smaller(T a, T b) {
  if constexpr (!std::is_integral_v<T>) {
    if (b != b) return a == a;
  }
  return a < b;
}

// ------------------------------------------------------------------------------------------- TopK

Status SetTopKShape(ShapeContext& ctx, int64_t k, bool known) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 1));
  const Shape& in = ctx.input(0);
  SM_CHECK_ARG(!known || k >= 0, "k is ", k, ", expected k >= 0");
  if (!in.known_rank()) return Status();
  const int last = in.rank() - 1;
  SM_CHECK_ARG(!known || in[last] == -1 || in[last] >= k, "k is ", k, ", expected at most ",
               in[last], " as the last dimension of shape ", in);
  for (int i = 0; i < 2; ++i) ctx.set_output(i, in.WithDim(last, known ? k : -1));
  return Status();
}

Status TopKShape(ShapeContext& ctx) { return SetTopKShape(ctx, ctx.attrs().Int("k"), true); }

Status TopKV2Shape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 0));
  int64_t k = 0;
  SM_ASSIGN_OR_RETURN(const bool known, KnownScalar(ctx, 1, &k));
  return SetTopKShape(ctx, k, known);
}

// A number that is the smaller, the larger `x` is; the largest of all for NaN. Types of up to 32
// bits have keys of 32 bits.
template <class T>
uint64_t DescendingKey(T x) {
  constexpr bool is_wide = sizeof(T) == 8;
  using Bits = std::conditional_t<is_wide, uint64_t, uint32_t>;
  constexpr Bits kSign = Bits(1) << (8 * sizeof(Bits) - 1);
  if constexpr (std::is_integral_v<T>) {
    return static_cast<Bits>(~(static_cast<Bits>(x) ^ (std::is_signed_v<T> ? kSign : Bits(0))));
  } else {
    const std::conditional_t<is_wide, double, float> value(x + T(0));  // there is one zero
    Bits bits;
    std::memcpy(&bits, &value, sizeof(bits));
    bits = (bits & kSign) != 0 ? bits : static_cast<Bits>(~(bits | kSign));
    return value == value ? bits : static_cast<Bits>(-1);
  }
}

// Sorts numbers by their upper halves; those with equal ones keep their order.
void SortByUpperHalf(std::vector<uint64_t>* numbers, std::vector<uint64_t>* scratch) {
  constexpr int64_t kFew = 64;
  const int64_t n = static_cast<int64_t>(numbers->size());
  if (n <= kFew) {
    std::sort(numbers->begin(), numbers->end());
    return;
  }
  scratch->resize(n);
  for (int shift = 32; shift < 64; shift += 8) {
    int64_t ends[257] = {};
    const auto digit = [&](uint64_t x) { return x >> shift & 255; };
    for (int64_t i = 0; i < n; ++i) ++ends[digit((*numbers)[i]) + 1];
    if (ends[digit((*numbers)[0]) + 1] == n) continue;
    for (int i = 0; i < 256; ++i) ends[i + 1] += ends[i];
    for (int64_t i = 0; i < n; ++i) (*scratch)[ends[digit((*numbers)[i])]++] = (*numbers)[i];
    numbers->swap(*scratch);
  }
}

// The positions of the first elements of a row in the order of keys; among equals the lower one
// comes first.
class FirstPositions {
 public:
  template <class T>
  void Find(const T* row, int64_t n, int64_t k) {
    if (k == 1) {
      if constexpr (std::is_same_v<T, float>) {
        const int64_t best = Vectors().arg_best(true, row, n);
        if (row[best] > std::numeric_limits<float>::lowest()) {
          order_.assign(1, static_cast<int32_t>(best));
          return;
        }
      }
      int32_t best = 0;
      for (int64_t i = 1; i < n; ++i) {
        if (Larger(row[i], row[best])) best = static_cast<int32_t>(i);
      }
      order_.assign(1, best);
      return;
    }
    numbers_.resize(n);
    if constexpr (sizeof(T) == 8) {
      for (int64_t i = 0; i < n; ++i) numbers_[i] = DescendingKey(row[i]);
      FindByKeys(k);
    } else {
      for (int64_t i = 0; i < n; ++i) numbers_[i] = DescendingKey(row[i]) << 32 | i;
      FindByNumbers(k);
    }
  }
  int32_t operator[](int64_t i) const { return order_[i]; }

 private:
  static constexpr int64_t kMostInserted = 128;

  void FindByKeys(int64_t k) {
    order_.resize(numbers_.size());
    std::iota(order_.begin(), order_.end(), 0);
    const auto less = [this](int32_t a, int32_t b) {
      return numbers_[a] != numbers_[b] ? numbers_[a] < numbers_[b] : a < b;
    };
    if (k < static_cast<int64_t>(order_.size())) {
      std::nth_element(order_.begin(), order_.begin() + k, order_.end(), less);
    }
    std::sort(order_.begin(), order_.begin() + k, less);
  }

  // Keys in the upper halves, positions in the lower ones.
  void FindByNumbers(int64_t k) {
    const auto begin = numbers_.begin(), middle = begin + k;
    if (middle == numbers_.end()) {
      SortByUpperHalf(&numbers_, &scratch_);
    } else if (k <= kMostInserted && k <= static_cast<int64_t>(numbers_.size()) / 8) {
      // Few numbers are smaller than the last of those that are in order.
      std::sort(begin, middle);
      for (auto at = middle; at != numbers_.end(); ++at) {
        const uint64_t number = *at;
        if (number >= *(middle - 1)) continue;
        auto to = middle - 1;
        for (; to != begin && *(to - 1) > number; --to) *to = *(to - 1);
        *to = number;
      }
    } else {
      std::nth_element(begin, middle, numbers_.end());
      std::sort(begin, middle);
    }
    order_.resize(k);
    for (int64_t i = 0; i < k; ++i) order_[i] = static_cast<int32_t>(numbers_[i]);
  }

  std::vector<uint64_t> numbers_, scratch_;
  std::vector<int32_t> order_;
};

Status TopK(OpContext& ctx) {
  const Shape& shape = ctx.input(0).shape();
  const int64_t n = shape[shape.rank() - 1], rows = shape.Product(0, shape.rank() - 1);
  const int64_t k = ctx.output(0).shape()[shape.rank() - 1];
  SM_CHECK_ARG(n <= INT32_MAX, "the last dimension of shape ", shape, " is too large");
  if (k == 0) return Status();
  Tensor& indices = ctx.output(1);
  return VisitDType<kReals>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* in = ctx.in<T>(0);
    T* out = ctx.out<T>(0);
    ctx.ParallelFor(rows, 4.0 * static_cast<double>(n + 4 * k), [&](int64_t begin, int64_t end) {
      FirstPositions order;
      for (int64_t r = begin; r < end; ++r) {
        order.Find(in + r * n, n, k);
        for (int64_t i = 0; i < k; ++i) {
          out[r * k + i] = in[r * n + order[i]];
          StoreInt(indices, r * k + i, order[i]);
        }
      }
    });
    return Status();
  });
}

// Exact: recall beyond what is asked for. Only the last dimension, as TensorFlow's CPU kernel.
Status ApproxTopKShape(ShapeContext& ctx) {
  const int64_t dim = ctx.attrs().Int("reduction_dimension");
  const Shape& in = ctx.input(0);
  SM_CHECK_ARG(dim == -1 || !in.known_rank() || dim == in.rank() - 1, "reduction_dimension is ",
               dim, ", expected the last one");
  return TopKShape(ctx);
}

StatusOr<KernelPtr> BuildApproxTopK(BuildContext& build) {
  if (!build.attrs().Bool("is_max_k")) {
    return Unimplemented("is_max_k is false; only the largest elements can be asked for");
  }
  return BuildPlain<TopK>(build);
}

Status NthElementShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 0));
  const Shape& in = ctx.input(0);
  int64_t n = 0;
  SM_ASSIGN_OR_RETURN(const bool known, KnownScalar(ctx, 1, &n));
  SM_CHECK_ARG(!known || n >= 0, "n is ", n, ", expected n >= 0");
  if (!in.known_rank()) return Status();
  ctx.set_output(0, in.Slice(0, in.rank() - 1));
  return Status();
}

StatusOr<KernelPtr> BuildNthElement(BuildContext& build) {
  const bool reverse = build.attrs().Bool("reverse");
  return MakeKernel([reverse](OpContext& ctx) -> Status {
    const Shape& shape = ctx.input(0).shape();
    const int64_t n = shape[shape.rank() - 1], rows = ctx.output(0).num_elements();
    int64_t nth = ctx.IntInput(1);
    SM_CHECK_ARG(nth >= 0 && nth < n, "n is ", nth, ", expected a value in [0, ", n, ")");
    if (reverse) nth = n - 1 - nth;
    return VisitDType<kReals>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T* in = ctx.in<T>(0);
      T* out = ctx.out<T>(0);
      ctx.ParallelFor(rows, 5.0 * static_cast<double>(n), [&](int64_t begin, int64_t end) {
        std::vector<T> row(n);
        for (int64_t r = begin; r < end; ++r) {
          std::copy_n(in + r * n, n, row.begin());
          std::nth_element(row.begin(), row.begin() + nth, row.end(), Smaller<T>);
          out[r] = row[nth];
        }
      });
      return Status();
    });
  });
}

// ----------------------------------------------------------------------------------------- InTopK

Status InTopKShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  const Shape &predictions = ctx.input(0), &targets = ctx.input(1);
  SM_CHECK_ARG(!predictions.known_rank() || predictions.Slice(0, 1).CompatibleWith(targets),
               "predictions and targets have shapes ", predictions, " and ", targets,
               ", expected as many rows");
  if (ctx.num_inputs() > 2) SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 0));
  ctx.set_output(0, targets);
  return Status();
}

Status RunInTopK(OpContext& ctx, int64_t k) {
  const float* predictions = ctx.in<float>(0);
  const IntReader targets(ctx.input(1));
  bool* out = ctx.out<bool>(0);
  const int64_t rows = ctx.input(0).shape()[0], classes = ctx.input(0).shape()[1];
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = predictions + r * classes;
    const int64_t target = targets[r];
    bool comparable = target >= 0 && target < classes && std::isfinite(row[target]);
    int64_t larger = 0;
    for (int64_t c = 0; c < classes && comparable && larger <= k; ++c) {
      comparable = std::isfinite(row[c]);
      larger += row[c] > row[target];
    }
    out[r] = comparable && larger < k;
  }
  return Status();
}

StatusOr<KernelPtr> BuildInTopK(BuildContext& build) {
  const int64_t k = build.attrs().Int("k");
  return MakeKernel([k](OpContext& ctx) { return RunInTopK(ctx, k); });
}

Status InTopKV2(OpContext& ctx) { return RunInTopK(ctx, ctx.IntInput(2)); }

// ---------------------------------------------------------------------------------- binary search

Status BoundShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 2));
  const Shape &sorted = ctx.input(0), &values = ctx.input(1);
  SM_CHECK_ARG(!sorted.known_rank() || !values.known_rank() ||
                   sorted.Slice(0, 1).CompatibleWith(values.Slice(0, 1)),
               "sorted_inputs and values have shapes ", sorted, " and ", values,
               ", expected as many rows");
  ctx.set_output(0, values);
  return Status();
}

// How many elements of a sorted row are before `value`, or, for `upper`, not after it. Without
// branches, which nobody could predict.
template <bool upper, class T>
int64_t CountBefore(const T* row, int64_t n, T value) {
  const auto is_before = [value](T x) { return upper ? !(value < x) : x < value; };
  const T* at = row;
  // By a mask: a branch would be foreseen half of the time.
  for (; n > 1; n -= n / 2) at += -static_cast<int64_t>(is_before(at[n / 2 - 1])) & n / 2;
  return at - row + (n == 1 && is_before(*at) ? 1 : 0);
}

template <bool upper>
Status Bound(OpContext& ctx) {
  const Shape &sorted = ctx.input(0).shape(), &values = ctx.input(1).shape();
  const int64_t n = sorted[1], m = values[1];
  return VisitDType<kReals | Only(DType::kBool)>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    for (int64_t r = 0; r < values[0]; ++r) {
      const T *row = ctx.in<T>(0) + r * n, *value = ctx.in<T>(1) + r * m;
      for (int64_t i = 0; i < m; ++i) {
        StoreInt(ctx.output(0), r * m + i, CountBefore<upper>(row, n, value[i]));
      }
    }
    return Status();
  });
}

#define SM_REALS "T: {float,double,int32,uint8,int16,int8,int64,bfloat16,uint16,half,uint32,uint64}"

constexpr OpDef kOps[] = {
    {.signature = "ApproxTopK(input: T) -> (values: T, indices: int32); k: int >= 0; "
                  "reduction_dimension: int = -1; recall_target: float = 0.95; "
                  "is_max_k: bool = true; reduction_input_size_override: int = -1; "
                  "aggregate_to_topk: bool = true; T: {half,bfloat16,float}",
     .shape = ApproxTopKShape,
     .build = BuildApproxTopK},
    {.signature = "InTopK(predictions: float, targets: T) -> (precision: bool); k: int; "
                  "T: {int32,int64} = int32",
     .shape = InTopKShape,
     .build = BuildInTopK},
    {.signature = "InTopKV2(predictions: float, targets: T, k: T) -> (precision: bool); "
                  "T: {int32,int64} = int32",
     .shape = InTopKShape,
     .build = BuildPlain<InTopKV2>},
    {.signature = "LowerBound(sorted_inputs: T, values: T) -> (output: out_type); T: type; "
                  "out_type: {int32,int64} = int32",
     .shape = BoundShape,
     .build = BuildPlain<Bound<false>>},
    {.signature = "NthElement(input: T, n: int32) -> (values: T); reverse: bool = false; " SM_REALS,
     .shape = NthElementShape,
     .build = BuildNthElement},
    {.signature = "TopK(input: T) -> (values: T, indices: int32); k: int >= 0; "
                  "sorted: bool = true; " SM_REALS,
     .shape = TopKShape,
     .build = BuildPlain<TopK>},
    {.signature = "TopKV2(input: T, k: Tk) -> (values: T, indices: index_type); "
                  "sorted: bool = true; " SM_REALS
                  "; Tk: {int16,int32,int64} = int32; index_type: {int16,int32,int64} = int32",
     .shape = TopKV2Shape,
     .build = BuildPlain<TopK>},
    {.signature = "UpperBound(sorted_inputs: T, values: T) -> (output: out_type); T: type; "
                  "out_type: {int32,int64} = int32",
     .shape = BoundShape,
     .build = BuildPlain<Bound<true>>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SortOps() { return kOps; }

}  // namespace savedmodel
