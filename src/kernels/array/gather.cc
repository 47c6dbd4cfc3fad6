// Ops that pick rows by index.
#include "src/kernels/array/gather.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/array/array_ops.h"
#include "src/kernels/array/ints.h"
#include "src/kernels/array/strided_copy.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// params [batch..., outer..., axis, inner...] by indices [batch..., rows...].
struct GatherDims {
  int axis = 0;
  int batch_dims = 0;
};

StatusOr<GatherDims> ResolveGather(const Shape& params, const Shape& indices, int64_t axis_value,
                                   int64_t batch_dims) {
  GatherDims dims;
  SM_CHECK_ARG(params.rank() > 0, "params are a scalar, expected rank at least 1");
  SM_ASSIGN_OR_RETURN(dims.axis, shape::NormalizeAxis(axis_value, params.rank()));
  SM_CHECK_ARG(batch_dims >= -indices.rank() && batch_dims <= indices.rank(), "batch_dims is ",
               batch_dims, ", expected a value in [", -indices.rank(), ", ", indices.rank(), "]");
  dims.batch_dims = static_cast<int>(batch_dims < 0 ? batch_dims + indices.rank() : batch_dims);
  SM_CHECK_ARG(dims.batch_dims == 0 || dims.batch_dims < params.rank(), "batch_dims is ",
               dims.batch_dims, ", expected less than the rank of params of shape ", params);
  SM_CHECK_ARG(dims.axis >= dims.batch_dims, "batch_dims is ", dims.batch_dims,
               ", expected at most axis ", dims.axis);
  for (int i = 0; i < dims.batch_dims; ++i) {
    SM_CHECK_ARG(params[i] == indices[i] || params[i] == -1 || indices[i] == -1,
                 "params and indices have shapes ", params, " and ", indices,
                 ", expected the first ", dims.batch_dims, " dimensions to be equal");
  }
  return dims;
}

Status InferGather(ShapeContext& ctx, int64_t axis, int64_t batch_dims) {
  const Shape &params = ctx.input(0), &indices = ctx.input(1);
  SM_ASSIGN_OR_RETURN(const GatherDims d, ResolveGather(params, indices, axis, batch_dims));
  const Shape out = params.Slice(0, d.axis)
                        .Concat(indices.Slice(d.batch_dims, indices.rank()))
                        .Concat(params.Slice(d.axis + 1, params.rank()));
  if (!out.valid()) return Shape::Make(out.ToVector()).status();
  ctx.set_output(0, out);
  return Status();
}

Status GatherShape(ShapeContext& ctx) {
  if (!ctx.input(0).known_rank() || !ctx.input(1).known_rank()) return Status();
  return InferGather(ctx, 0, 0);
}

Status GatherV2Shape(ShapeContext& ctx) {
  int64_t axis = 0;
  SM_ASSIGN_OR_RETURN(const bool known, KnownScalar(ctx, 2, &axis));
  if (!known || !ctx.input(0).known_rank() || !ctx.input(1).known_rank()) return Status();
  return InferGather(ctx, axis, ctx.attrs().Int("batch_dims"));
}

// memcpy, without a call for numbers and pairs of them.
inline void CopyBytes(void* to, const void* from, int64_t bytes) {
  switch (bytes) {
    case 4:
      std::memcpy(to, from, 4);
      return;
    case 8:
      std::memcpy(to, from, 8);
      return;
    case 16:
      std::memcpy(to, from, 16);
      return;
    default:
      std::memcpy(to, from, static_cast<size_t>(bytes));
  }
}

Status RunGather(OpContext& ctx, int64_t axis_value, int64_t batch_value) {
  const Tensor &params = ctx.input(0), &indices = ctx.input(1);
  SM_ASSIGN_OR_RETURN(const GatherDims d,
                      ResolveGather(params.shape(), indices.shape(), axis_value, batch_value));
  const int64_t batch = params.shape().Product(0, d.batch_dims);
  const int64_t outer = params.shape().Product(d.batch_dims, d.axis);
  const int64_t size = params.shape()[d.axis];
  const int64_t inner = params.shape().Product(d.axis + 1, params.shape().rank());
  const int64_t rows = indices.shape().Product(d.batch_dims, indices.shape().rank());
  const IntReader index(indices);
  for (int64_t i = 0; i < batch * rows; ++i) {
    SM_CHECK_ARG(index[i] >= 0 && index[i] < size, "indices[", i, "] is ", index[i],
                 ", expected an index in [0, ", size, ")");
  }
  const DType dtype = params.dtype();
  const void* from = params.raw_data();
  void* to = ctx.output(0).raw_mutable_data();
  if (inner == 0) return Status();
  const bool is_plain = IsPlainData(dtype);
  const int64_t bytes = inner * static_cast<int64_t>(DTypeSize(dtype));
  const double cost = 4 + 0.1 * static_cast<double>(bytes);
  ctx.ParallelFor(batch * outer * rows, cost, [&](int64_t begin, int64_t end) {
    int64_t row = begin % rows, block = begin / rows;  // block: index over batch and outer
    int64_t first = block / outer * rows;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t source = block * size + index[first + row];
      if (is_plain) {
        constexpr int64_t kAhead = 8;
        if (row + kAhead < rows) FetchRow(from, block * size + index[first + row + kAhead], bytes);
        CopyBytes(static_cast<char*>(to) + i * bytes,
                  static_cast<const char*>(from) + source * bytes, bytes);
      } else {
        CopyElements(dtype, from, source * inner, to, i * inner, inner);
      }
      if (++row == rows) {
        row = 0;
        ++block;
        first = block / outer * rows;
      }
    }
  });
  return Status();
}

Status Gather(OpContext& ctx) { return RunGather(ctx, 0, 0); }

StatusOr<KernelPtr> BuildGatherV2(BuildContext& build) {
  const int64_t batch_dims = build.attrs().Int("batch_dims");
  return MakeKernel([batch_dims](OpContext& ctx) {
    return RunGather(ctx, IntReader(ctx.input(2))[0], batch_dims);
  });
}

Status GatherNdShape(ShapeContext& ctx) {
  const Shape &params = ctx.input(0), &indices = ctx.input(1);
  SM_CHECK_ARG(params.rank() != 0, "params are a scalar, expected rank at least 1");
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(1, 1));
  if (!params.known_rank() || !indices.known_rank()) return Status();
  const int64_t depth = indices[indices.rank() - 1];
  if (depth < 0) return Status();
  SM_CHECK_ARG(depth <= params.rank(), "indices have shape ", indices, "; expected at most ",
               params.rank(), " as last dimension, for params of shape ", params);
  const Shape out = indices.Slice(0, indices.rank() - 1)
                        .Concat(params.Slice(static_cast<int>(depth), params.rank()));
  if (!out.valid()) return Shape::Make(out.ToVector()).status();
  ctx.set_output(0, out);
  return Status();
}

constexpr int64_t kRowsAtOnce = 128;

// Numbers of the n elements of a tensor of these sizes that rows of indices name; -1 for those
// outside.
template <class T>
void FlatIndices(const T* index, int64_t n, const std::vector<int64_t>& sizes, int64_t* numbers) {
  for (int64_t i = 0; i < n; ++i) {
    uint64_t at = 0;
    bool inside = true;
    for (const int64_t size : sizes) {
      const auto k = static_cast<uint64_t>(*index++);
      inside &= k < static_cast<uint64_t>(size);
      at = at * static_cast<uint64_t>(size) + k;
    }
    numbers[i] = inside ? static_cast<int64_t>(at) : -1;
  }
}

StatusOr<KernelPtr> BuildGatherNd(BuildContext& build) {
  const std::string& policy = build.attrs().String("bad_indices_policy");
  SM_CHECK_ARG(policy.empty() || policy == "DEFAULT" || policy == "ERROR" || policy == "IGNORE",
               "bad_indices_policy is ", policy, ", expected DEFAULT, ERROR or IGNORE");
  const bool ignore = policy == "IGNORE";
  return MakeKernel([ignore](OpContext& ctx) -> Status {
    const Tensor &params = ctx.input(0), &indices = ctx.input(1);
    const Shape& shape = params.shape();
    const int depth = static_cast<int>(indices.shape()[indices.shape().rank() - 1]);
    const int64_t rows = indices.shape().Product(0, indices.shape().rank() - 1);
    const int64_t inner = shape.Product(depth, shape.rank());
    const std::vector<int64_t> sizes(shape.begin(), shape.begin() + depth);
    std::atomic<int64_t> bad{-1};
    const DType dtype = params.dtype();
    void* out = ctx.output(0).raw_mutable_data();
    const auto copy = [&](const int64_t* sources, int64_t first, int64_t n) {
      if (IsPlainData(dtype) && inner * static_cast<int64_t>(DTypeSize(dtype)) == 4) {
        const uint32_t* from = static_cast<const uint32_t*>(params.raw_data());
        uint32_t* to = static_cast<uint32_t*>(out) + first;
        for (int64_t i = 0; i < n; ++i) to[i] = sources[i] < 0 ? 0 : from[sources[i]];
        return;
      }
      for (int64_t i = 0; i < n; ++i) {
        const int64_t at = (first + i) * inner;
        if (sources[i] < 0) {
          ZeroElements(dtype, Element(out, dtype, at), inner);
        } else {
          CopyElements(dtype, params.raw_data(), sources[i] * inner, out, at, inner);
        }
      }
    };
    const auto flatten = [&](int64_t first, int64_t n, int64_t* sources) {
      (void)VisitDType<Only(DType::kInt16) | kInt32Or64>(indices.dtype(), [&](auto tag) -> Status {
        using T = typename decltype(tag)::type;
        FlatIndices(static_cast<const T*>(indices.raw_data()) + first * depth, n, sizes, sources);
        return Status();
      });
    };
    ctx.ParallelFor(rows, 5 + 2 * depth + 0.4 * static_cast<double>(inner),
                    [&](int64_t begin, int64_t end) {
                      // Of some rows, so that those of params are fetched while the next are looked
                      // up.
                      int64_t sources[kRowsAtOnce];
                      for (int64_t first = begin; first < end; first += kRowsAtOnce) {
                        const int64_t n = std::min(kRowsAtOnce, end - first);
                        flatten(first, n, sources);
                        for (int64_t i = 0; !ignore && i < n; ++i) {
                          if (sources[i] < 0) bad.store(first + i, std::memory_order_relaxed);
                        }
                        copy(sources, first, n);
                      }
                    });
    const int64_t row = bad.load();
    SM_CHECK_ARG(row < 0, "indices[", row, "] does not index into params of shape ", shape);
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "Gather(params: Tparams, indices: Tindices) -> (output: Tparams); "
                  "validate_indices: bool = true; Tparams: type; Tindices: {int32,int64}",
     .shape = GatherShape,
     .build = BuildPlain<Gather>},
    {.signature = "GatherNd(params: Tparams, indices: Tindices) -> (output: Tparams); "
                  "Tparams: type; Tindices: {int16,int32,int64}; bad_indices_policy: string = ''",
     .shape = GatherNdShape,
     .build = BuildGatherNd},
    {.signature = "GatherV2(params: Tparams, indices: Tindices, axis: Taxis) -> "
                  "(output: Tparams); batch_dims: int = 0; Tparams: type; "
                  "Tindices: {int16,int32,int64}; Taxis: {int32,int64}",
     .shape = GatherV2Shape,
     .build = BuildGatherV2},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> GatherOps() { return kOps; }

}  // namespace savedmodel
