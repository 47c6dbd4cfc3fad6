// Products of matrices and of batches of matrices.
#include <algorithm>
#include <complex>
#include <type_traits>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

struct MatMulAttrs {
  bool transpose_a = false, transpose_b = false;
  bool conjugate = false;  // the transpose is the adjoint
};

MatMulAttrs ReadAttrs(const Attrs& attrs) {
  if (attrs.Has("transpose_a")) {
    return {attrs.Bool("transpose_a"), attrs.Bool("transpose_b"), false};
  }
  return {attrs.Bool("adj_x"), attrs.Bool("adj_y"), true};
}

Status MergeInner(const Shape& a, const Shape& b, const MatMulAttrs& attrs, int64_t* m,
                  int64_t* n) {
  const int ra = a.rank(), rb = b.rank();
  const int64_t ka = a[attrs.transpose_a ? ra - 2 : ra - 1];
  const int64_t kb = b[attrs.transpose_b ? rb - 1 : rb - 2];
  SM_CHECK_ARG(ka == -1 || kb == -1 || ka == kb, "inputs disagree on depth: ", a,
               attrs.transpose_a ? " transposed" : "", " has ", ka, ", ", b,
               attrs.transpose_b ? " transposed" : "", " has ", kb, "; expected a [m,k], b [k,n]");
  *m = a[attrs.transpose_a ? ra - 1 : ra - 2];
  *n = b[attrs.transpose_b ? rb - 2 : rb - 1];
  return Status();
}

Status MatMulShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 2));
  const MatMulAttrs attrs = ReadAttrs(ctx.attrs());
  int64_t m = -1, n = -1;
  const Shape &a = ctx.input(0), &b = ctx.input(1);
  if (a.known_rank() && b.known_rank()) {
    SM_RETURN_IF_ERROR(MergeInner(a, b, attrs, &m, &n));
  } else if (a.known_rank()) {
    m = a[attrs.transpose_a ? 1 : 0];
  } else if (b.known_rank()) {
    n = b[attrs.transpose_b ? 0 : 1];
  }
  ctx.set_output(0, Shape({m, n}));
  return Status();
}

template <bool broadcast>
Status BatchMatMulShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(1, 2));
  const Shape &a = ctx.input(0), &b = ctx.input(1);
  if (!a.known_rank() || !b.known_rank()) return Status();
  int64_t m = -1, n = -1;
  SM_RETURN_IF_ERROR(MergeInner(a, b, ReadAttrs(ctx.attrs()), &m, &n));
  const Shape batch_a = a.Slice(0, a.rank() - 2), batch_b = b.Slice(0, b.rank() - 2);
  StatusOr<Shape> batch =
      broadcast ? shape::BroadcastShapes(batch_a, batch_b) : batch_a.Merge(batch_b);
  SM_CHECK_ARG(batch.ok(), "batches of ", a, " and ", b, " do not match");
  const Shape out = std::move(batch).value().Concat(Shape({m, n}));
  SM_CHECK_ARG(out.valid(), "the product of ", a, " and ", b, " is too large");
  ctx.set_output(0, out);
  return Status();
}

// Index of the matrix of `operand` for each matrix of the broadcast batch `batch`.
std::vector<int64_t> BatchIndices(const Shape& batch, const Shape& operand) {
  std::vector<int64_t> indices(batch.num_elements(), 0);
  int64_t stride = 1, repeat = 1;
  for (int i = batch.rank() - 1; i >= 0; --i) {
    const int at = i - (batch.rank() - operand.rank());
    if (at >= 0 && operand[at] != 1) {
      for (size_t j = 0; j < indices.size(); ++j) {
        indices[j] += static_cast<int64_t>(j) / repeat % batch[i] * stride;
      }
      stride *= operand[at];
    }
    repeat *= batch[i];
  }
  return indices;
}

template <class T>
constexpr bool kIsComplex =
    std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>;

// The type that products giving T are computed in.
template <class T>
using Compute =
    std::conditional_t<std::is_same_v<T, half> || std::is_same_v<T, bfloat16>, float, T>;

// sum += a * b; integers wrap around.
template <class T>
void MultiplyAdd(T a, T b, T* sum) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    *sum = static_cast<T>(static_cast<U>(*sum) + static_cast<U>(a) * static_cast<U>(b));
  } else {
    *sum += a * b;
  }
}

template <class C, class T>
void CopyMatrices(const Tensor& t, bool transpose, bool conjugate, const T* from, C* to) {
  const int rank = t.shape().rank();
  const int64_t rows = t.shape()[rank - 2], columns = t.shape()[rank - 1];
  for (int64_t at = 0; at < t.num_elements(); at += rows * columns) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        C v = C(from[at + r * columns + c]);
        if constexpr (kIsComplex<C>) v = conjugate ? std::conj(v) : v;
        to[at + (transpose ? c * rows + r : r * columns + c)] = v;
      }
    }
  }
}

// `t` as elements of C, with the last two dimensions exchanged (and conjugated) where asked for:
// through a copy unless it is so already.
template <class C>
StatusOr<Tensor> Prepare(OpContext& ctx, const Tensor& t, bool transpose, bool conjugate) {
  if (t.dtype() == DTypeOf<C>::value && !transpose) return t;
  SM_ASSIGN_OR_RETURN(Tensor out, ctx.AllocateTemp(DTypeOf<C>::value, t.shape()));
  C* to = static_cast<C*>(out.raw_mutable_data());
  if constexpr (kIsComplex<C>) {
    if (t.dtype() != DTypeOf<C>::value) return Unimplemented("a product of dtype ", t.dtype());
    CopyMatrices(t, transpose, conjugate, t.data<C>(), to);
  } else {
    SM_RETURN_IF_ERROR(VisitDType<kReals>(t.dtype(), [&](auto tag) -> Status {
      CopyMatrices(t, transpose, false, t.data<typename decltype(tag)::type>(), to);
      return Status();
    }));
  }
  return out;
}

// What one product needs to know: sizes, and which matrices of a and b each output matrix is of.
struct Batch {
  int64_t m, n, k;
  std::vector<int64_t> a, b;
};

template <class T>
Status Multiply(OpContext& ctx, const MatMulAttrs& attrs, const Batch& batch) {
  using C = Compute<T>;
  SM_ASSIGN_OR_RETURN(const Tensor a_tensor,
                      Prepare<C>(ctx, ctx.input(0), attrs.transpose_a, attrs.conjugate));
  SM_ASSIGN_OR_RETURN(const Tensor b_tensor,
                      Prepare<C>(ctx, ctx.input(1), attrs.transpose_b, attrs.conjugate));
  const C *a = a_tensor.data<C>(), *b = b_tensor.data<C>();
  T* out = ctx.out<T>(0);
  const int64_t m = batch.m, n = batch.n, k = batch.k;
  const double cost = 0.3 * static_cast<double>(n) * static_cast<double>(k);
  ctx.ParallelFor(static_cast<int64_t>(batch.a.size()) * m, cost, [&](int64_t begin, int64_t end) {
    std::vector<C> sums(n);
    for (int64_t row = begin; row < end; ++row) {
      const C* x = a + (batch.a[row / m] * m + row % m) * k;
      const C* y = b + batch.b[row / m] * k * n;
      std::fill(sums.begin(), sums.end(), C(0));
      for (int64_t i = 0; i < k; ++i) {
        for (int64_t j = 0; j < n; ++j) MultiplyAdd(x[i], y[i * n + j], &sums[j]);
      }
      for (int64_t j = 0; j < n; ++j) out[row * n + j] = T(sums[j]);
    }
  });
  return Status();
}

Status RunMatMul(OpContext& ctx, const MatMulAttrs& attrs) {
  const Shape &a = ctx.input(0).shape(), &b = ctx.input(1).shape(), &out = ctx.output(0).shape();
  if (out.num_elements() == 0) return Status();
  const Shape batch_shape = out.Slice(0, out.rank() - 2);
  Batch batch{out[out.rank() - 2], out[out.rank() - 1],
              a[attrs.transpose_a ? a.rank() - 2 : a.rank() - 1],
              BatchIndices(batch_shape, a.Slice(0, a.rank() - 2)),
              BatchIndices(batch_shape, b.Slice(0, b.rank() - 2))};
  return VisitDType<kNumbers>(ctx.output_dtype(0), [&](auto tag) {
    return Multiply<typename decltype(tag)::type>(ctx, attrs, batch);
  });
}

StatusOr<KernelPtr> BuildMatMul(BuildContext& build) {
  const MatMulAttrs attrs = ReadAttrs(build.attrs());
  return MakeKernel([attrs](OpContext& ctx) { return RunMatMul(ctx, attrs); });
}

constexpr OpDef kOps[] = {
    {.signature = "BatchMatMul(x: T, y: T) -> (output: T); "
                  "T: {bfloat16,half,float,double,int32,int64,complex64,complex128}; "
                  "adj_x: bool = false; adj_y: bool = false; grad_x: bool = false; "
                  "grad_y: bool = false",
     .shape = BatchMatMulShape<false>,
     .build = BuildMatMul},
    {.signature = "BatchMatMulV2(x: T, y: T) -> (output: T); "
                  "T: {bfloat16,half,float,double,int16,int32,int64,uint8,uint16,uint32,uint64,"
                  "complex64,complex128}; adj_x: bool = false; adj_y: bool = false; "
                  "grad_x: bool = false; grad_y: bool = false",
     .shape = BatchMatMulShape<true>,
     .build = BuildMatMul},
    {.signature = "BatchMatMulV3(x: Ta, y: Tb) -> (output: Tout); "
                  "Ta: {bfloat16,half,float,double,uint8,int8,int16,int32,int64,complex64,"
                  "complex128}; Tb: {bfloat16,half,float,double,uint8,int8,int16,int32,int64,"
                  "complex64,complex128}; Tout: {bfloat16,half,float,double,int16,int32,int64,"
                  "complex64,complex128}; adj_x: bool = false; adj_y: bool = false; "
                  "grad_x: bool = false; grad_y: bool = false",
     .shape = BatchMatMulShape<true>,
     .build = BuildMatMul},
    {.signature = "MatMul(a: T, b: T) -> (product: T); transpose_a: bool = false; "
                  "transpose_b: bool = false; T: {bfloat16,half,float,double,int32,int64,uint8,"
                  "uint16,uint32,uint64,complex64,complex128}; grad_a: bool = false; "
                  "grad_b: bool = false",
     .shape = MatMulShape,
     .build = BuildMatMul},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> MatMulOps() { return kOps; }

}  // namespace savedmodel
