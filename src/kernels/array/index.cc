// Ops about indices: one-hot, permutations, partition and stitch.
#include <algorithm>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/array/strided_copy.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// ----------------------------------------------------------------------------------------- OneHot

StatusOr<int> OneHotAxis(int64_t axis, int rank) {
  SM_CHECK_ARG(axis >= -1 && axis <= rank, "axis is ", axis, ", expected -1 or a value in [0, ",
               rank, "]");
  SM_CHECK_ARG(rank < Shape::kMaxRank, "indices of rank ", rank, " have too many dimensions");
  return static_cast<int>(axis == -1 ? rank : axis);
}

Status OneHotShape(ShapeContext& ctx) {
  for (int i = 1; i <= 3; ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 0));
  int64_t depth = 0;
  SM_ASSIGN_OR_RETURN(const bool known, KnownScalar(ctx, 1, &depth));
  SM_CHECK_ARG(!known || depth >= 0, "depth is ", depth, ", expected depth >= 0");
  const Shape& indices = ctx.input(0);
  if (!indices.known_rank()) return Status();
  SM_ASSIGN_OR_RETURN(const int axis, OneHotAxis(ctx.attrs().Int("axis"), indices.rank()));
  SM_ASSIGN_OR_RETURN(Shape out,
                      Shape::Make(indices.WithInserted(axis, known ? depth : -1).ToVector()));
  ctx.set_output(0, std::move(out));
  return Status();
}

StatusOr<KernelPtr> BuildOneHot(BuildContext& build) {
  const int64_t axis_value = build.attrs().Int("axis");
  return MakeKernel([axis_value](OpContext& ctx) -> Status {
    const Shape& indices = ctx.input(0).shape();
    SM_ASSIGN_OR_RETURN(const int axis, OneHotAxis(axis_value, indices.rank()));
    Tensor& out = ctx.output(0);
    if (out.num_elements() == 0) return Status();
    const int64_t depth = out.shape()[axis], outer = indices.Product(0, axis);
    const int64_t inner = indices.Product(axis, indices.rank());
    const IntReader index(ctx.input(0));
    return VisitByElementSize(out.dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T &on = *static_cast<const T*>(ctx.input(2).raw_data()),
              &off = *static_cast<const T*>(ctx.input(3).raw_data());
      T* to = static_cast<T*>(out.raw_mutable_data());
      ctx.ParallelFor(outer, 0.3 * static_cast<double>(depth * inner),
                      [&](int64_t begin, int64_t end) {
                        std::fill(to + begin * depth * inner, to + end * depth * inner, off);
                        for (int64_t o = begin; o < end; ++o) {
                          for (int64_t i = 0; i < inner; ++i) {
                            const int64_t at = index[o * inner + i];
                            if (at >= 0 && at < depth) to[(o * depth + at) * inner + i] = on;
                          }
                        }
                      });
      return Status();
    });
  });
}

// ---------------------------------------------------------------------------------- permutations

Status VectorShape(ShapeContext& ctx) {
  ctx.set_output(0, ctx.input(0));
  return ctx.ExpectRank(0, 1);
}

Status InvertPermutation(OpContext& ctx) {
  const IntReader x(ctx.input(0));
  const int64_t n = ctx.input(0).num_elements();
  std::vector<bool> seen(n);
  for (int64_t i = 0; i < n; ++i) {
    SM_CHECK_ARG(x[i] >= 0 && x[i] < n, "x[", i, "] is ", x[i], ", expected a value in [0, ", n,
                 ")");
    SM_CHECK_ARG(!seen[x[i]], x[i], " occurs twice, expected a permutation");
    seen[x[i]] = true;
    StoreInt(ctx.output(0), x[i], i);
  }
  return Status();
}

Status UnravelIndexShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  const Shape &indices = ctx.input(0), &dims = ctx.input(1);
  SM_CHECK_ARG(indices.rank() <= 1, "indices have shape ", indices,
               ", expected a scalar or a vector");
  if (indices.known_rank() && dims.known_rank()) ctx.set_output(0, dims.Concat(indices));
  return Status();
}

Status UnravelIndex(OpContext& ctx) {
  const Tensor& indices = ctx.input(0);
  const std::vector<int64_t> dims = ReadInts(ctx.input(1));
  const int64_t n = indices.num_elements();
  SM_CHECK_ARG(n > 0, "found no indices, expected at least one");
  std::vector<int64_t> strides(dims.size());
  int64_t stride = 1;
  for (size_t d = dims.size(); d-- > 0;) {
    SM_CHECK_ARG(dims[d] != 0, "dims are ", dims, ", expected none of 0");
    strides[d] = stride;
    SM_CHECK_ARG(!__builtin_mul_overflow(stride, dims[d], &stride), "dims ", dims,
                 " have too many elements");
  }
  const IntReader index(indices);
  for (int64_t i = 0; i < n; ++i) {
    SM_CHECK_ARG(index[i] < stride, "indices[", i, "] is ", index[i], ", expected less than ",
                 stride, " for dims ", dims);
    int64_t rest = index[i];
    for (size_t d = 0; d < dims.size(); ++d) {
      StoreInt(ctx.output(0), static_cast<int64_t>(d) * n + i, rest / strides[d]);
      rest %= strides[d];
    }
  }
  return Status();
}

// ---------------------------------------------------------------------------- partition and stitch

Status DynamicPartitionShape(ShapeContext& ctx) {
  const Shape &data = ctx.input(0), &partitions = ctx.input(1);
  if (!data.known_rank() || !partitions.known_rank()) return Status();
  SM_CHECK_ARG(partitions.rank() <= data.rank() &&
                   data.Slice(0, partitions.rank()).CompatibleWith(partitions),
               "partitions have shape ", partitions, ", expected a prefix of that of data, ", data);
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    ctx.set_output(i, Shape({-1}).Concat(data.Slice(partitions.rank(), data.rank())));
  }
  return Status();
}

Status DynamicPartition(OpContext& ctx) {
  const Tensor& data = ctx.input(0);
  const int64_t n = ctx.input(1).num_elements();
  const Shape rest = data.shape().Slice(ctx.input(1).shape().rank(), data.shape().rank());
  const IntReader part(ctx.input(1));
  std::vector<int64_t> sizes(ctx.num_outputs()), filled(ctx.num_outputs());
  for (int64_t i = 0; i < n; ++i) {
    SM_CHECK_ARG(part[i] >= 0 && part[i] < ctx.num_outputs(), "partitions[", i, "] is ", part[i],
                 ", expected a value in [0, ", ctx.num_outputs(), ")");
    ++sizes[part[i]];
  }
  for (int i = 0; i < ctx.num_outputs(); ++i) {
    SM_RETURN_IF_ERROR(ctx.AllocateOutput(i, Shape({sizes[i]}).Concat(rest)));
  }
  const int64_t inner = rest.num_elements();
  for (int64_t i = 0; i < n; ++i) {
    Tensor& out = ctx.output(static_cast<int>(part[i]));
    CopyElements(data.dtype(), data.raw_data(), i * inner, out.raw_mutable_data(),
                 filled[part[i]]++ * inner, inner);
  }
  return Status();
}

// Inputs [0, n) are indices, [n, 2n) the data for them.
Status DynamicStitchShape(ShapeContext& ctx) {
  const int n = ctx.num_inputs() / 2;
  Shape rest = Shape::Unknown();
  int64_t rows = 0;
  for (int i = 0; i < n; ++i) {
    const Shape &indices = ctx.input(i), &data = ctx.input(n + i);
    if (const Tensor* t = ctx.value(i); t != nullptr && rows >= 0) {
      for (int64_t index : ReadInts(*t)) rows = std::max(rows, index + 1);
    } else {
      rows = -1;
    }
    if (!indices.known_rank() || !data.known_rank()) continue;
    SM_CHECK_ARG(
        indices.rank() <= data.rank() && data.Slice(0, indices.rank()).CompatibleWith(indices),
        "indices[", i, "] have shape ", indices, ", expected a prefix of that of data[", i, "], ",
        data);
    const StatusOr<Shape> both = rest.Merge(data.Slice(indices.rank(), data.rank()));
    SM_CHECK_ARG(both.ok(), "data[", i, "] has shape ", data, " for indices of shape ", indices,
                 ", expected rows of shape ", rest);
    rest = *both;
  }
  if (!rest.known_rank()) return Status();
  SM_ASSIGN_OR_RETURN(Shape out, Shape::Make(Shape({rows}).Concat(rest).ToVector()));
  ctx.set_output(0, std::move(out));
  return Status();
}

// Rows that no index names are zero; of rows named twice the last one stays.
Status DynamicStitch(OpContext& ctx) {
  const int n = ctx.num_inputs() / 2;
  Tensor& out = ctx.output(0);
  const int64_t rows = out.shape()[0], inner = out.shape().Product(1, out.shape().rank());
  ZeroElements(out.dtype(), out.raw_mutable_data(), out.num_elements());
  for (int k = 0; k < n; ++k) {
    const IntReader index(ctx.input(k));
    const Tensor& data = ctx.input(n + k);
    for (int64_t i = 0; i < ctx.input(k).num_elements(); ++i) {
      SM_CHECK_ARG(index[i] >= 0 && index[i] < rows, "indices[", k, "][", i, "] is ", index[i],
                   ", expected an index in [0, ", rows, ")");
      CopyElements(data.dtype(), data.raw_data(), i * inner, out.raw_mutable_data(),
                   index[i] * inner, inner);
    }
  }
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "DynamicPartition(data: T, partitions: int32) -> (outputs: num_partitions * T); "
                  "num_partitions: int >= 1; T: type",
     .shape = DynamicPartitionShape,
     .build = BuildPlain<DynamicPartition>},
    {.signature = "DynamicStitch(indices: N * int32, data: N * T) -> (merged: T); N: int >= 1; "
                  "T: type",
     .shape = DynamicStitchShape,
     .build = BuildPlain<DynamicStitch>},
    {.signature = "InvertPermutation(x: T) -> (y: T); T: {int32,int64} = int32",
     .shape = VectorShape,
     .build = BuildPlain<InvertPermutation>},
    {.signature = "OneHot(indices: TI, depth: int32, on_value: T, off_value: T) -> (output: T); "
                  "axis: int = -1; T: type; TI: {uint8,int8,int32,int64} = int64",
     .shape = OneHotShape,
     .build = BuildOneHot},
    {.signature = "ParallelDynamicStitch(indices: N * int32, data: N * T) -> (merged: T); "
                  "N: int >= 1; T: type",
     .shape = DynamicStitchShape,
     .build = BuildPlain<DynamicStitch>},
    {.signature = "UnravelIndex(indices: Tidx, dims: Tidx) -> (output: Tidx); "
                  "Tidx: {int32,int64} = int32",
     .shape = UnravelIndexShape,
     .build = BuildPlain<UnravelIndex>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> IndexOps() { return kOps; }

}  // namespace savedmodel
