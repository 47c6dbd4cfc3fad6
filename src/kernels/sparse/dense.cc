// Sparse tensors with dense ones: products, sums, elementwise operations.
#include <algorithm>
#include <functional>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/sparse/coo.h"
#include "src/kernels/sparse/sparse_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// ----------------------------------------------------------------------- SparseTensorDenseMatMul

constexpr DTypeSet kMatMulTypes = kFloats | Only(DType::kInt32) | kComplexes;

template <class T>
T Conjugate(const T& x) {
  if constexpr (std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>) {
    return std::conj(x);
  } else {
    return x;
  }
}

// What products of T are summed in.
template <class T>
using SumOf = std::conditional_t<std::is_same_v<T, half> || std::is_same_v<T, bfloat16>, float,
                                 std::conditional_t<std::is_same_v<T, int32_t>, uint32_t, T>>;

struct MatMulSpec {
  bool adjoint_a = false, adjoint_b = false;
  int64_t rows = 0, depth = 0, columns = 0;
};

// Adds all entries to output columns [begin, end) of `sums` [rows, columns].
template <class T>
void MultiplyColumns(const MatMulSpec& spec, const std::vector<int64_t>& indices, const T* values,
                     const T* b, int64_t begin, int64_t end, SumOf<T>* sums) {
  const size_t n = indices.size() / 2;
  for (size_t i = 0; i < n; ++i) {
    const int64_t m = indices[2 * i + (spec.adjoint_a ? 1 : 0)];
    const int64_t k = indices[2 * i + (spec.adjoint_a ? 0 : 1)];
    const SumOf<T> a = static_cast<SumOf<T>>(spec.adjoint_a ? Conjugate(values[i]) : values[i]);
    SumOf<T>* out = sums + m * spec.columns;
    if (spec.adjoint_b) {
      for (int64_t j = begin; j < end; ++j) {
        out[j] += a * static_cast<SumOf<T>>(Conjugate(b[j * spec.depth + k]));
      }
    } else {
      const T* row = b + k * spec.columns;
      for (int64_t j = begin; j < end; ++j) out[j] += a * static_cast<SumOf<T>>(row[j]);
    }
  }
}

template <class T>
Status Multiply(OpContext& ctx, const MatMulSpec& spec, const std::vector<int64_t>& indices) {
  const T* values = ctx.in<T>(1);
  const T* b = ctx.in<T>(3);
  T* out = ctx.out<T>(0);
  const int64_t size = spec.rows * spec.columns;
  Tensor temp;
  SumOf<T>* sums;
  if constexpr (std::is_same_v<SumOf<T>, float> && !std::is_same_v<T, float>) {
    SM_ASSIGN_OR_RETURN(temp, ctx.AllocateTemp(DType::kFloat, {size}));
    sums = temp.mutable_data<float>();
  } else {
    sums = reinterpret_cast<SumOf<T>*>(out);
  }
  std::fill_n(sums, size, SumOf<T>(0));
  // Columns in parallel: each sum is over the entries in their order.
  ctx.ParallelFor(spec.columns, static_cast<double>(indices.size()),
                  [&](int64_t begin, int64_t end) {
                    MultiplyColumns(spec, indices, values, b, begin, end, sums);
                  });
  if constexpr (std::is_same_v<SumOf<T>, float> && !std::is_same_v<T, float>) {
    for (int64_t i = 0; i < size; ++i) out[i] = static_cast<T>(sums[i]);
  }
  return Status();
}

Status MatMulShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ExpectCoo(ctx, 0));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(3, 2));
  std::vector<int64_t> a;
  const Shape& b = ctx.input(3);
  if (!ctx.IntValues(2, &a) || !b.known_rank()) return Status();
  SM_CHECK_ARG(a.size() == 2 && a[0] >= 0 && a[1] >= 0, "a_shape: found ", a,
               ", expected a matrix");
  const bool adjoint_a = ctx.attrs().Bool("adjoint_a"), adjoint_b = ctx.attrs().Bool("adjoint_b");
  const int64_t depth = a[adjoint_a ? 0 : 1], b_depth = b.dim(adjoint_b ? 1 : 0);
  SM_CHECK_ARG(b_depth < 0 || depth == b_depth,
               "Cannot multiply A and B because inner dimension does not match: ", depth, " vs. ",
               b_depth, ".  Did you forget a transpose?  Dimensions of A: ", a,
               ".  Dimensions of B: ", b);
  ctx.set_output(0, Shape({a[adjoint_a ? 1 : 0], b.dim(adjoint_b ? 0 : 1)}));
  return Status();
}

StatusOr<KernelPtr> BuildMatMul(BuildContext& build) {
  const bool adjoint_a = build.attrs().Bool("adjoint_a");
  const bool adjoint_b = build.attrs().Bool("adjoint_b");
  return MakeKernel([adjoint_a, adjoint_b](OpContext& ctx) -> Status {
    MatMulSpec spec{adjoint_a, adjoint_b, ctx.output(0).shape().dim(0),
                    ctx.input(3).shape().dim(adjoint_b ? 1 : 0), ctx.output(0).shape().dim(1)};
    const std::vector<int64_t> indices = ctx.IntsInput(0);
    const int64_t n = ctx.input(1).num_elements();
    SM_CHECK_ARG(ctx.input(0).shape() == Shape({n, 2}), "a_indices: found shape ",
                 ctx.input(0).shape(), ", expected [", n, ",2]");
    for (size_t i = 0; i < indices.size(); i += 2) {
      const int64_t m = indices[i + (adjoint_a ? 1 : 0)], k = indices[i + (adjoint_a ? 0 : 1)];
      SM_CHECK_ARG(m >= 0 && m < spec.rows && k >= 0 && k < spec.depth, "a_indices[", i / 2,
                   "]: found (", m, ", ", k, "), out of bounds of ", spec.rows, " x ", spec.depth);
    }
    return VisitDType<kMatMulTypes>(ctx.input(1).dtype(), [&](auto tag) -> Status {
      return Multiply<typename decltype(tag)::type>(ctx, spec, indices);
    });
  });
}

// -------------------------------------------------------------------------- SparseTensorDenseAdd

Status DenseAddShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ExpectCoo(ctx, 0));
  ctx.set_output(0, ctx.input(3));
  return Status();
}

// Row-major position of an index of `shape`; -1 out of bounds.
int64_t FlatIndex(const int64_t* index, const Shape& shape) {
  int64_t flat = 0;
  for (int d = 0; d < shape.rank(); ++d) {
    if (index[d] < 0 || index[d] >= shape.dim(d)) return -1;
    flat = flat * shape.dim(d) + index[d];
  }
  return flat;
}

Status DenseAdd(OpContext& ctx) {
  const std::vector<int64_t> indices = ctx.IntsInput(0), dims = ctx.IntsInput(2);
  const Shape& shape = ctx.input(3).shape();
  const int64_t n = ctx.input(1).num_elements();
  SM_CHECK_ARG(dims == shape.ToVector(), "no broadcasting is supported: found sparse shape ", dims,
               " and dense shape ", shape);
  SM_CHECK_ARG(ctx.input(0).shape() == Shape({n, shape.rank()}), "a_indices: found shape ",
               ctx.input(0).shape(), ", expected [", n, ",", shape.rank(), "]");
  return VisitDType<kNumbers>(ctx.input(3).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* out = ctx.out<T>(0);
    const T* dense = ctx.in<T>(3);
    if (out != dense) std::copy_n(dense, shape.num_elements(), out);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t flat = FlatIndex(indices.data() + i * shape.rank(), shape);
      SM_CHECK_ARG(flat >= 0, "Sparse tensor has an invalid index: entry ", i,
                   ", dense tensor shape: ", shape);
      out[flat] = static_cast<T>(out[flat] + ctx.in<T>(1)[i]);
    }
    return Status();
  });
}

// ------------------------------------------------------------------------------ SparseDenseCwise…

Status CwiseShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ExpectCoo(ctx, 0));
  ctx.set_output(0, ctx.input(1));
  return Status();
}

// Steps through `dense` per dimension of the sparse shape, 0 where it is broadcast.
StatusOr<std::vector<int64_t>> DenseSteps(const Coo& sparse, const Shape& dense) {
  std::vector<int64_t> steps(sparse.dims.size(), 0);
  bool fits = dense.rank() <= sparse.rank();
  int64_t step = 1;
  for (int d = dense.rank() - 1; d >= 0 && fits; --d) {
    const size_t at = static_cast<size_t>(sparse.rank() - dense.rank() + d);
    fits = dense.dim(d) == 1 || dense.dim(d) == sparse.dims[at];
    if (dense.dim(d) != 1) steps[at] = step;
    step *= dense.dim(d);
  }
  SM_CHECK_ARG(fits, "broadcasts dense to sparse only; got incompatible shapes: ", sparse.shape,
               " vs. ", dense);
  return steps;
}

template <class T, class Fn>
Status CwiseOf(OpContext& ctx, bool divides, Fn fn) {
  SM_ASSIGN_OR_RETURN(const Coo sparse, ReadCoo(ctx, 0));
  SM_ASSIGN_OR_RETURN(const std::vector<int64_t> steps, DenseSteps(sparse, ctx.input(3).shape()));
  SM_RETURN_IF_ERROR(sparse.CheckBounds());
  const Span<const T> dense = ctx.input(3).values<T>();
  if (divides) {
    SM_CHECK_ARG(std::find(dense.begin(), dense.end(), T(0)) == dense.end(),
                 "cannot divide by zero, but input dense tensor contains zero");
  }
  const T* values = ctx.in<T>(1);
  T* out = ctx.out<T>(0);
  for (int64_t i = 0; i < sparse.count; ++i) {
    int64_t at = 0;
    for (size_t d = 0; d < steps.size(); ++d) at += sparse.index(i)[d] * steps[d];
    out[i] = static_cast<T>(fn(values[i], dense[static_cast<size_t>(at)]));
  }
  return Status();
}

enum class Cwise : uint8_t { kAdd, kMul, kDiv };

template <class T>
T Apply(Cwise op, T a, T b) {
  if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
    // Overflow wraps around.
    using U = std::make_unsigned_t<std::conditional_t<(sizeof(T) < 4), int32_t, T>>;
    if (op == Cwise::kAdd) return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
    if (op == Cwise::kMul) return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
    if (b == T(-1)) return static_cast<T>(U(0) - static_cast<U>(a));
    return static_cast<T>(a / b);
  } else {
    return static_cast<T>(op == Cwise::kAdd ? a + b : op == Cwise::kMul ? a * b : a / b);
  }
}

template <Cwise op>
Status RunCwise(OpContext& ctx) {
  return VisitDType<kNumbers>(ctx.input(1).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    return CwiseOf<T>(ctx, op == Cwise::kDiv, [](T a, T b) { return Apply<T>(op, a, b); });
  });
}

#define SM_CWISE_SIGNATURE                                                                     \
  "(sp_indices: int64, sp_values: T, sp_shape: int64, dense: T) -> (output: T); T: {float,"    \
  "double,int32,uint8,int16,int8,complex64,int64,qint8,quint8,qint32,bfloat16,qint16,quint16," \
  "uint16,complex128,half,uint32,uint64}"

constexpr OpDef kOps[] = {
    {.signature = "SparseDenseCwiseAdd" SM_CWISE_SIGNATURE,
     .shape = CwiseShape,
     .build = BuildPlain<RunCwise<Cwise::kAdd>>},
    {.signature = "SparseDenseCwiseDiv" SM_CWISE_SIGNATURE,
     .shape = CwiseShape,
     .build = BuildPlain<RunCwise<Cwise::kDiv>>},
    {.signature = "SparseDenseCwiseMul" SM_CWISE_SIGNATURE,
     .shape = CwiseShape,
     .build = BuildPlain<RunCwise<Cwise::kMul>>},
    {.signature = "SparseTensorDenseAdd(a_indices: Tindices, a_values: T, a_shape: Tindices, b: T) "
                  "-> (output: T); T: {float,double,int32,uint8,int16,int8,complex64,int64,qint8,"
                  "quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,half,uint32,uint64}; "
                  "Tindices: {int32,int64}",
     .shape = DenseAddShape,
     .build = BuildPlain<DenseAdd>},
    {.signature = "SparseTensorDenseMatMul(a_indices: Tindices, a_values: T, a_shape: int64, b: T) "
                  "-> (product: T); T: type; Tindices: {int32,int64} = int64; "
                  "adjoint_a: bool = false; adjoint_b: bool = false",
     .shape = MatMulShape,
     .build = BuildMatMul},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SparseDenseOps() { return kOps; }

}  // namespace savedmodel
