// Products of matrices and of batches of matrices.
#include <algorithm>
#include <complex>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/layers.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/products.h"
#include "src/kernels/nn/spatial.h"
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

}  // namespace

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

namespace {

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

// A node's attributes, fused steps and packed weights.
struct MatMulNode {
  MatMulAttrs attrs;
  std::vector<EpilogueStep> epilogue;
  PackedMatrices packed;
};

// Which matrices of a and b each matrix of the output is the product of.
std::vector<std::pair<int64_t, int64_t>> Pairs(const Shape& a, const Shape& b, const Shape& out) {
  const Shape batch = out.Slice(0, out.rank() - 2);
  const std::vector<int64_t> of_a = BatchIndices(batch, a.Slice(0, a.rank() - 2));
  const std::vector<int64_t> of_b = BatchIndices(batch, b.Slice(0, b.rank() - 2));
  std::vector<std::pair<int64_t, int64_t>> pairs(of_a.size());
  for (size_t i = 0; i < pairs.size(); ++i) pairs[i] = {of_a[i], of_b[i]};
  return pairs;
}

template <class T>
Status Multiply(OpContext& ctx, const MatMulNode& node) {
  using C = ComputeType<T>;
  const Shape &a_shape = ctx.input(0).shape(), &b_shape = ctx.input(1).shape();
  const Shape out = ctx.output(0).shape();
  const MatMulAttrs& attrs = node.attrs;
  ProductOf<C> product{.m = out[out.rank() - 2],
                       .n = out[out.rank() - 1],
                       .k = a_shape[attrs.transpose_a ? a_shape.rank() - 2 : a_shape.rank() - 1],
                       .b_is_transposed = attrs.transpose_b && !kIsComplex<C>,
                       .packed = node.packed.get(),
                       .pairs = Pairs(a_shape, b_shape, out)};
  SM_ASSIGN_OR_RETURN(const Tensor a,
                      Prepare<C>(ctx, ctx.input(0), attrs.transpose_a, attrs.conjugate));
  SM_ASSIGN_OR_RETURN(const Tensor b,
                      Prepare<C>(ctx, ctx.input(1), attrs.transpose_b && !product.b_is_transposed,
                                 attrs.conjugate));
  product.a = a.data<C>();
  product.b = b.data<C>();
  if constexpr (std::is_same_v<T, C>) {
    product.c = ctx.out<T>(0);
    Epilogue epilogue;
    SM_RETURN_IF_ERROR(epilogue.Resolve(ctx, node.epilogue, out));
    product.epilogue = &epilogue;
    return MultiplyMatrices(ctx, product);
  } else {
    SM_ASSIGN_OR_RETURN(Tensor wide, ctx.AllocateTemp(DTypeOf<C>::value, out));
    product.c = static_cast<C*>(wide.raw_mutable_data());
    SM_RETURN_IF_ERROR(MultiplyMatrices(ctx, product));
    NarrowFromFloat(ctx, product.c, &ctx.output(0));
    return Status();
  }
}

// a [..., k] times the one packed matrix: its rows lie one after another.
Status MultiplyPacked(OpContext& ctx, const MatMulNode& node) {
  const Shape& out = ctx.output(0).shape();
  if (out.num_elements() == 0) return Status();
  Epilogue epilogue;
  SM_RETURN_IF_ERROR(epilogue.Resolve(ctx, node.epilogue, out));
  const Shape& shape = ctx.input(0).shape();
  const int64_t depth = shape[shape.rank() - 1], columns = out[out.rank() - 1];
  const float* a = ctx.in<float>(0);
  const EvenRuns runs{a, depth};
  RunProduct(ctx, {.rows = out.Product(0, out.rank() - 1),
                   .columns = columns,
                   .depth = depth,
                   .runs = runs,
                   .packed = node.packed->data(),
                   .c = ctx.out<float>(0),
                   .c_stride = columns,
                   .epilogue = &epilogue});
  return Status();
}

// Packs a constant float b.
StatusOr<PackedMatrices> PackSecond(BuildContext& build, bool transposed) {
  const Tensor* b = build.constant_input(1);
  if (b == nullptr || b->dtype() != DType::kFloat || build.input_dtype(0) != DType::kFloat ||
      b->shape().rank() < 2) {
    return PackedMatrices();
  }
  const Shape& shape = b->shape();
  const int rank = shape.rank();
  const int64_t k = shape[transposed ? rank - 1 : rank - 2];
  const int64_t n = shape[transposed ? rank - 2 : rank - 1];
  const std::string kind = StrCat("product ", k, transposed ? " transposed by " : " by ", n);
  return PackConstant(
      build, 1, kind, shape.Product(0, rank - 2), k, n, build.precision(), [&](int64_t i) {
        return MatrixView{b->data<float>() + i * k * n, transposed ? 1 : n, transposed ? k : 1};
      });
}

}  // namespace

StatusOr<KernelPtr> BuildMatMul(BuildContext& build) {
  MatMulNode node{.attrs = ReadAttrs(build.attrs())};
  node.epilogue.assign(build.epilogue().begin(), build.epilogue().end());
  SM_ASSIGN_OR_RETURN(node.packed, PackSecond(build, node.attrs.transpose_b));
  const bool one_matrix = node.packed != nullptr && build.constant_input(1)->shape().rank() == 2;
  if (one_matrix && !node.attrs.transpose_a && build.output_dtype(0) == DType::kFloat) {
    return MakeKernel([node](OpContext& ctx) { return MultiplyPacked(ctx, node); },
                      DebugString(node.packed));
  }
  return MakeKernel(
      [node](OpContext& ctx) -> Status {
        if (ctx.output(0).num_elements() == 0) return Status();
        return VisitDType<kNumbers>(ctx.output_dtype(0), [&](auto tag) {
          return Multiply<typename decltype(tag)::type>(ctx, node);
        });
      },
      DebugString(node.packed));
}

namespace {

constexpr OpDef kOps[] = {
    {.signature = "BatchMatMul(x: T, y: T) -> (output: T); "
                  "T: {bfloat16,half,float,double,int32,int64,complex64,complex128}; "
                  "adj_x: bool = false; adj_y: bool = false; grad_x: bool = false; "
                  "grad_y: bool = false",
     .shape = BatchMatMulShape<false>,
     .build = BuildMatMul,
     .fusion = {.accepts_epilogue = true}},
    {.signature = "BatchMatMulV2(x: T, y: T) -> (output: T); "
                  "T: {bfloat16,half,float,double,int16,int32,int64,uint8,uint16,uint32,uint64,"
                  "complex64,complex128}; adj_x: bool = false; adj_y: bool = false; "
                  "grad_x: bool = false; grad_y: bool = false",
     .shape = BatchMatMulShape<true>,
     .build = BuildMatMul,
     .fusion = {.accepts_epilogue = true}},
    {.signature = "BatchMatMulV3(x: Ta, y: Tb) -> (output: Tout); "
                  "Ta: {bfloat16,half,float,double,uint8,int8,int16,int32,int64,complex64,"
                  "complex128}; Tb: {bfloat16,half,float,double,uint8,int8,int16,int32,int64,"
                  "complex64,complex128}; Tout: {bfloat16,half,float,double,int16,int32,int64,"
                  "complex64,complex128}; adj_x: bool = false; adj_y: bool = false; "
                  "grad_x: bool = false; grad_y: bool = false",
     .shape = BatchMatMulShape<true>,
     .build = BuildMatMul,
     .fusion = {.accepts_epilogue = true}},
    {.signature = "MatMul(a: T, b: T) -> (product: T); transpose_a: bool = false; "
                  "transpose_b: bool = false; T: {bfloat16,half,float,double,int32,int64,uint8,"
                  "uint16,uint32,uint64,complex64,complex128}; grad_a: bool = false; "
                  "grad_b: bool = false",
     .shape = MatMulShape,
     .build = BuildMatMul,
     .fusion = {.accepts_epilogue = true}},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> MatMulOps() { return kOps; }

}  // namespace savedmodel
