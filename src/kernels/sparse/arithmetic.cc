// Sparse tensors among themselves: sums, minima, maxima, reductions, softmax.
#include <algorithm>
#include <cmath>
#include <map>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/sparse/coo.h"
#include "src/kernels/sparse/sparse_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

template <class T>
T AddWrapping(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
  } else {
    return static_cast<T>(a + b);
  }
}

// ---------------------------------------------------------------------------- union of two inputs

// One index that is in one or both of two sparse tensors; -1 where it is not.
struct UnionEntry {
  int64_t a = -1, b = -1;
};

// Merges two tensors whose indices are in order, as TensorFlow assumes.
std::vector<UnionEntry> Merge(const Coo& a, const Coo& b) {
  std::vector<UnionEntry> merged;
  int64_t i = 0, j = 0;
  while (i < a.count || j < b.count) {
    const int order = i == a.count   ? 1
                      : j == b.count ? -1
                                     : CompareIndices(a.index(i), b.index(j), a.rank());
    merged.push_back({order <= 0 ? i : -1, order >= 0 ? j : -1});
    if (order <= 0) ++i;
    if (order >= 0) ++j;
  }
  return merged;
}

Status EmitUnion(OpContext& ctx, const Coo& a, const Coo& b,
                 const std::vector<UnionEntry>& entries) {
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, {static_cast<int64_t>(entries.size()), a.rank()}));
  int64_t* out = ctx.out<int64_t>(0);
  for (const UnionEntry& e : entries) {
    out = std::copy_n(e.a >= 0 ? a.index(e.a) : b.index(e.b), a.rank(), out);
  }
  return Status();
}

StatusOr<std::pair<Coo, Coo>> ReadPair(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(Coo a, ReadCoo(ctx, 0));
  SM_ASSIGN_OR_RETURN(Coo b, ReadCoo(ctx, 3));
  SM_CHECK_ARG(a.dims == b.dims, "Operands' shapes do not match: found ", a.shape, " and ",
               b.shape);
  return std::pair<Coo, Coo>(std::move(a), std::move(b));
}

// Where both tensors have an entry, its sum stays if its magnitude is at least the threshold.
template <class T, class Real>
Status AddOf(OpContext& ctx, const Coo& a, const Coo& b) {
  const Real threshold = *ctx.in<Real>(6);
  const T* a_values = ctx.in<T>(1);
  const T* b_values = ctx.in<T>(4);
  std::vector<UnionEntry> kept;
  std::vector<T> sums;
  for (const UnionEntry& e : Merge(a, b)) {
    const T sum = e.a < 0   ? b_values[e.b]
                  : e.b < 0 ? a_values[e.a]
                            : AddWrapping(a_values[e.a], b_values[e.b]);
    Real magnitude;
    if constexpr (std::is_integral_v<T>) {
      magnitude = static_cast<Real>(sum < T(0) ? AddWrapping<T>(static_cast<T>(~sum), T(1)) : sum);
    } else if constexpr (std::is_same_v<T, half> || std::is_same_v<T, bfloat16>) {
      magnitude = static_cast<Real>(std::abs(static_cast<float>(sum)));
    } else {
      magnitude = std::abs(sum);
    }
    if (e.a >= 0 && e.b >= 0 && !(threshold <= magnitude)) continue;
    kept.push_back(e);
    sums.push_back(sum);
  }
  SM_RETURN_IF_ERROR(EmitUnion(ctx, a, b, kept));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, {static_cast<int64_t>(sums.size())}));
  std::copy(sums.begin(), sums.end(), ctx.out<T>(1));
  return EmitInts(ctx, 2, a.dims);
}

Status Add(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const auto pair, ReadPair(ctx));
  const DType dtype = ctx.input(1).dtype(), real = ctx.input(6).dtype();
  const DType expected = dtype == DType::kComplex64    ? DType::kFloat
                         : dtype == DType::kComplex128 ? DType::kDouble
                                                       : dtype;
  SM_CHECK_ARG(real == expected, "thresh: found dtype ", real, ", expected ", expected);
  if (dtype == DType::kComplex64) {
    return AddOf<std::complex<float>, float>(ctx, pair.first, pair.second);
  }
  if (dtype == DType::kComplex128) {
    return AddOf<std::complex<double>, double>(ctx, pair.first, pair.second);
  }
  return VisitDType<kReals>(dtype, [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    return AddOf<T, T>(ctx, pair.first, pair.second);
  });
}

template <bool maximum>
Status Extreme(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const auto pair, ReadPair(ctx));
  const std::vector<UnionEntry> entries = Merge(pair.first, pair.second);
  SM_RETURN_IF_ERROR(EmitUnion(ctx, pair.first, pair.second, entries));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, {static_cast<int64_t>(entries.size())}));
  return VisitDType<kReals>(ctx.output_dtype(1), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* out = ctx.out<T>(1);
    for (const UnionEntry& e : entries) {
      const T a = e.a < 0 ? T(0) : ctx.in<T>(1)[e.a];
      const T b = e.b < 0 ? T(0) : ctx.in<T>(4)[e.b];
      *out++ = (maximum ? a < b : b < a) ? b : a;
    }
    return Status();
  });
}

Status PairShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ExpectCoo(ctx, 0));
  SM_RETURN_IF_ERROR(ExpectCoo(ctx, 3));
  return ctx.num_inputs() > 6 ? ctx.ExpectRank(6, 0) : Status();
}

// ------------------------------------------------------------------------------------- reductions

// Groups of entries that a reduction makes one: by index in the dimensions that stay.
struct Groups {
  Shape shape;                     // of the output
  std::map<int64_t, int64_t> ids;  // row-major position in it to group number
  std::vector<int64_t> group_of;   // per entry in sorted order
};

StatusOr<Groups> MakeGroups(OpContext& ctx, const Coo& in, const std::vector<int64_t>& order,
                            bool keep_dims) {
  std::vector<bool> reduced(in.dims.size(), false);
  for (const int64_t axis : ctx.IntsInput(3)) {
    SM_ASSIGN_OR_RETURN(const int64_t at, CheckedAxis(axis, in.rank()));
    reduced[static_cast<size_t>(at)] = true;
  }
  std::vector<int64_t> dims;
  for (size_t d = 0; d < reduced.size(); ++d) {
    if (!reduced[d]) dims.push_back(in.dims[d]);
    if (reduced[d] && keep_dims) dims.push_back(1);
  }
  Groups groups;
  SM_ASSIGN_OR_RETURN(groups.shape, ShapeFromDims(dims));
  for (const int64_t i : order) {
    int64_t flat = 0;
    for (size_t d = 0; d < reduced.size(); ++d) {
      if (!reduced[d]) flat = flat * in.dims[d] + in.index(i)[d];
    }
    const auto [it, added] = groups.ids.emplace(flat, static_cast<int64_t>(groups.ids.size()));
    groups.group_of.push_back(it->second);
  }
  return groups;
}

// One value per group.
template <class T, bool maximum>
std::vector<T> ReduceGroups(const Groups& groups, const std::vector<int64_t>& order,
                            const T* values) {
  std::vector<T> out(groups.ids.size(), T(0));
  std::vector<bool> begun(out.size(), false);
  for (size_t k = 0; k < order.size(); ++k) {
    const size_t group = static_cast<size_t>(groups.group_of[k]);
    const T value = values[order[k]];
    if (!begun[group]) {
      out[group] = value;
      begun[group] = true;
    } else if constexpr (maximum) {
      if (out[group] < value) out[group] = value;
    } else {
      out[group] = AddWrapping(out[group], value);
    }
  }
  return out;
}

template <bool maximum, bool sparse_output>
Status Reduce(OpContext& ctx, bool keep_dims) {
  constexpr DTypeSet kTypes = maximum ? kReals : kNumbers;
  SM_ASSIGN_OR_RETURN(const Coo in, ReadCoo(ctx, 0));
  SM_RETURN_IF_ERROR(in.CheckBounds());
  const std::vector<int64_t> order = in.SortedOrder();
  SM_ASSIGN_OR_RETURN(const Groups groups, MakeGroups(ctx, in, order, keep_dims));
  const int value_output = sparse_output ? 1 : 0;
  if (sparse_output) {
    const int64_t n = static_cast<int64_t>(groups.ids.size());
    const int rank = groups.shape.rank();
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, {n, rank}));
    int64_t* out = ctx.out<int64_t>(0);
    for (const auto& [flat, group] : groups.ids) {
      int64_t rest = flat;
      for (int d = rank - 1; d >= 0; --d) {
        out[d] = rest % groups.shape.dim(d);
        rest /= groups.shape.dim(d);
      }
      out += rank;
    }
    SM_RETURN_IF_ERROR(EmitInts(ctx, 2, groups.shape.ToVector()));
  }
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(
      value_output,
      sparse_output ? Shape({static_cast<int64_t>(groups.ids.size())}) : groups.shape));
  return VisitDType<kTypes>(ctx.output_dtype(value_output), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const std::vector<T> reduced = ReduceGroups<T, maximum>(groups, order, ctx.in<T>(1));
    T* out = ctx.out<T>(value_output);
    if (!sparse_output) std::fill_n(out, groups.shape.num_elements(), T(0));
    int64_t at = 0;
    for (const auto& [flat, group] : groups.ids) {
      out[sparse_output ? at++ : flat] = reduced[static_cast<size_t>(group)];
    }
    return Status();
  });
}

template <bool maximum, bool sparse_output>
StatusOr<KernelPtr> BuildReduce(BuildContext& build) {
  return MakeKernel([keep_dims = build.attrs().Bool("keep_dims")](OpContext& ctx) {
    return Reduce<maximum, sparse_output>(ctx, keep_dims);
  });
}

// ---------------------------------------------------------------------------------------- softmax

// Softmax over the entries of each row of the last dimension. Values come out in sorted order.
Status Softmax(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Coo in, ReadCoo(ctx, 0));
  SM_CHECK_ARG(in.rank() >= 2, "Input should have rank >= 2, but received rank ", in.rank());
  const std::vector<int64_t> order = in.SortedOrder();
  return VisitDType<kFloats>(ctx.output_dtype(0), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* values = ctx.in<T>(1);
    T* out = ctx.out<T>(0);
    for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
      T largest = values[order[begin]];
      for (end = begin;
           end < order.size() &&
           CompareIndices(in.index(order[begin]), in.index(order[end]), in.rank() - 1) == 0;
           ++end) {
        largest = std::max(largest, values[order[end]]);
      }
      T sum = T(0);
      for (size_t k = begin; k < end; ++k) {
        using std::exp;
        if constexpr (sizeof(T) == 2) {
          out[k] = T(std::exp(static_cast<float>(T(values[order[k]] - largest))));
        } else {
          out[k] = exp(values[order[k]] - largest);
        }
        sum = T(sum + out[k]);
      }
      for (size_t k = begin; k < end; ++k) out[k] = T(out[k] / sum);
    }
    return Status();
  });
}

Status SoftmaxShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ExpectCoo(ctx, 0));
  ctx.set_output(0, ctx.input(1));
  return Status();
}

#define SM_ALL_NUMBERS                                                                    \
  "T: {float,double,int32,uint8,int16,int8,complex64,int64,qint8,quint8,qint32,bfloat16," \
  "qint16,quint16,uint16,complex128,half,uint32,uint64}"
#define SM_ALL_REALS \
  "T: {float,double,int32,uint8,int16,int8,int64,bfloat16,uint16,half,uint32,uint64}"
#define SM_REDUCE_INPUTS \
  "(input_indices: int64, input_values: T, input_shape: int64, reduction_axes: int32) -> "
#define SM_SPARSE_OUTPUT "(output_indices: int64, output_values: T, output_shape: int64); "
#define SM_PAIR                                                                     \
  "(a_indices: int64, a_values: T, a_shape: int64, b_indices: int64, b_values: T, " \
  "b_shape: int64"

constexpr OpDef kOps[] = {
    {.signature = "SparseAdd" SM_PAIR ", thresh: Treal) -> (sum_indices: int64, sum_values: T, "
                  "sum_shape: int64); " SM_ALL_NUMBERS
                  "; Treal: {float,double,int32,uint8,int16,int8,int64,bfloat16,uint16,half,"
                  "uint32,uint64}",
     .shape = PairShape,
     .build = BuildPlain<Add>},
    {.signature =
         "SparseReduceMax" SM_REDUCE_INPUTS "(output: T); keep_dims: bool = false; " SM_ALL_REALS,
     .shape = CooInputShape,
     .build = BuildReduce<true, false>},
    {.signature = "SparseReduceMaxSparse" SM_REDUCE_INPUTS SM_SPARSE_OUTPUT
                  "keep_dims: bool = false; " SM_ALL_REALS,
     .shape = CooInputShape,
     .build = BuildReduce<true, true>},
    {.signature =
         "SparseReduceSum" SM_REDUCE_INPUTS "(output: T); keep_dims: bool = false; " SM_ALL_NUMBERS,
     .shape = CooInputShape,
     .build = BuildReduce<false, false>},
    {.signature = "SparseReduceSumSparse" SM_REDUCE_INPUTS SM_SPARSE_OUTPUT
                  "keep_dims: bool = false; " SM_ALL_NUMBERS,
     .shape = CooInputShape,
     .build = BuildReduce<false, true>},
    {.signature = "SparseSoftmax(sp_indices: int64, sp_values: T, sp_shape: int64) -> "
                  "(output: T); T: {half,float,double}",
     .shape = SoftmaxShape,
     .build = BuildPlain<Softmax>},
    {.signature = "SparseSparseMaximum" SM_PAIR
                  ") -> (output_indices: int64, output_values: T); " SM_ALL_REALS,
     .shape = PairShape,
     .build = BuildPlain<Extreme<true>>},
    {.signature = "SparseSparseMinimum" SM_PAIR
                  ") -> (output_indices: int64, output_values: T); " SM_ALL_NUMBERS,
     .shape = PairShape,
     .build = BuildPlain<Extreme<false>>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SparseArithmeticOps() { return kOps; }

}  // namespace savedmodel
