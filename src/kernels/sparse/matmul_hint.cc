// SparseMatMul: a product of two dense matrices of which one has many zeros.
#include <algorithm>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/sparse/sparse_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// Input `i` as floats, transposed where `transpose` says so.
StatusOr<Tensor> ToFloats(OpContext& ctx, int i, bool transpose) {
  const Shape& shape = ctx.input(i).shape();
  const int64_t rows = shape.dim(0), columns = shape.dim(1);
  SM_ASSIGN_OR_RETURN(Tensor out, ctx.AllocateTemp(DType::kFloat, {shape.num_elements()}));
  float* to = out.mutable_data<float>();
  SM_RETURN_IF_ERROR(VisitDType<Only(DType::kFloat) | Only(DType::kBFloat16)>(
      ctx.input(i).dtype(), [&](auto tag) -> Status {
        const auto* from = ctx.in<typename decltype(tag)::type>(i);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t c = 0; c < columns; ++c) {
            to[transpose ? c * rows + r : r * columns + c] =
                static_cast<float>(from[r * columns + c]);
          }
        }
        return Status();
      }));
  return out;
}

StatusOr<KernelPtr> BuildSparseMatMul(BuildContext& build) {
  const bool transpose_a = build.attrs().Bool("transpose_a");
  const bool transpose_b = build.attrs().Bool("transpose_b");
  return MakeKernel([transpose_a, transpose_b](OpContext& ctx) -> Status {
    const int64_t depth = ctx.input(0).shape().dim(transpose_a ? 0 : 1);
    const int64_t rows = ctx.output(0).shape().dim(0), columns = ctx.output(0).shape().dim(1);
    SM_ASSIGN_OR_RETURN(const Tensor a, ToFloats(ctx, 0, transpose_a));
    SM_ASSIGN_OR_RETURN(const Tensor b, ToFloats(ctx, 1, transpose_b));
    float* out = ctx.out<float>(0);
    const double cost = 0.3 * static_cast<double>(depth) * static_cast<double>(columns);
    ctx.ParallelFor(rows, cost, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        float* row = out + r * columns;
        std::fill_n(row, columns, 0.0f);
        for (int64_t k = 0; k < depth; ++k) {
          const float factor = a.data<float>()[r * depth + k];
          const float* from = b.data<float>() + k * columns;
          for (int64_t c = 0; c < columns; ++c) row[c] += factor * from[c];
        }
      }
    });
    return Status();
  });
}

Status SparseMatMulShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 2));
  const Shape& a = ctx.input(0);
  const Shape& b = ctx.input(1);
  if (!a.known_rank() || !b.known_rank()) return Status();
  const bool transpose_a = ctx.attrs().Bool("transpose_a");
  const bool transpose_b = ctx.attrs().Bool("transpose_b");
  const int64_t depth = a.dim(transpose_a ? 0 : 1), b_depth = b.dim(transpose_b ? 1 : 0);
  SM_CHECK_ARG(depth < 0 || b_depth < 0 || depth == b_depth, "Matrix size incompatible: a: ", a,
               ", b: ", b);
  ctx.set_output(0, Shape({a.dim(transpose_a ? 1 : 0), b.dim(transpose_b ? 0 : 1)}));
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "SparseMatMul(a: Ta, b: Tb) -> (product: float); transpose_a: bool = false; "
                  "transpose_b: bool = false; a_is_sparse: bool = false; "
                  "b_is_sparse: bool = false; Ta: {float,bfloat16} = float; "
                  "Tb: {float,bfloat16} = float",
     .shape = SparseMatMulShape,
     .build = BuildSparseMatMul},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SparseMatMulOps() { return kOps; }

}  // namespace savedmodel
