// Tensors and sparse tensors to and from serialized TensorProtos.
#include <algorithm>

#include "savedmodel/resource.h"
#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/io/io_ops.h"
#include "src/kernels/io/tensor_proto.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

StatusOr<KernelPtr> BuildParseTensor(BuildContext& build) {
  return MakeKernel([dtype = build.attrs().Type("out_type")](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(Tensor value, ParseTensorProto(*ctx.in<std::string>(0), ctx.run().budget));
    SM_CHECK_ARG(value.dtype() == dtype, "Type mismatch between parsed tensor (", value.dtype(),
                 ") and dtype (", dtype, ")");
    ctx.set_output(0, std::move(value));
    return Status();
  });
}

Status SerializeTensor(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(ctx.out<std::string>(0)[0], SerializeTensorProto(ctx.input(0)));
  return Status();
}

// A part of a sparse tensor as an element of a variant tensor.
class TensorVariant final : public VariantValue {
 public:
  explicit TensorVariant(Tensor tensor) : tensor_(std::move(tensor)) {}
  std::string_view kind() const override { return "tensor"; }
  const Tensor& tensor() const { return tensor_; }

 private:
  Tensor tensor_;
};

// Stores `tensor` as element `i` of output 0, a string or a variant.
Status Store(OpContext& ctx, int64_t i, const Tensor& tensor) {
  if (std::string* out = ctx.out<std::string>(0); out != nullptr) {
    SM_ASSIGN_OR_RETURN(out[i], SerializeTensorProto(tensor));
    return Status();
  }
  SM_ASSIGN_OR_RETURN(Tensor owned, tensor.Owned(ctx.run().budget));
  ctx.out<VariantRef>(0)[i] = std::make_shared<TensorVariant>(std::move(owned));
  return Status();
}

StatusOr<Tensor> LoadPart(OpContext& ctx, const Tensor& serialized, int64_t i) {
  if (const std::string* in = serialized.data<std::string>(); in != nullptr) {
    return ParseTensorProto(in[i], ctx.run().budget);
  }
  const auto* part = dynamic_cast<const TensorVariant*>(serialized.data<VariantRef>()[i].get());
  SM_CHECK_ARG(part != nullptr, "serialized_sparse: element ", i, " is no part of a sparse tensor");
  return part->tensor();
}

Status SparseShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  return ctx.ExpectRank(2, 1);
}

Status SerializeSparseShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(SparseShape(ctx));
  ctx.set_output(0, Shape({3}));
  return Status();
}

Status SerializeSparse(OpContext& ctx) {
  for (int i = 0; i < 3; ++i) SM_RETURN_IF_ERROR(Store(ctx, i, ctx.input(i)));
  return Status();
}

// ----------------------------------------------------------------------------- SerializeManySparse

Status SerializeManyShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(SparseShape(ctx));
  std::vector<int64_t> shape;
  const bool known = ctx.IntValues(2, &shape);
  SM_CHECK_ARG(!known || (shape.size() > 1 && shape[0] >= 0), "sparse_shape: found ", shape,
               ", expected rank > 1");
  ctx.set_output(0, Shape({known ? shape[0] : -1, 3}));
  return Status();
}

// Row `row` of the sparse tensor: entries [begin, end).
Status StoreRow(OpContext& ctx, int64_t row, int64_t begin, int64_t end) {
  const int64_t rank = ctx.input(2).num_elements(), n = end - begin;
  SM_ASSIGN_OR_RETURN(Tensor indices, ctx.AllocateTemp(DType::kInt64, {n, rank - 1}));
  const int64_t* in = ctx.in<int64_t>(0) + begin * rank;
  int64_t* out = indices.mutable_data<int64_t>();
  for (int64_t k = 0; k < n; ++k) {
    out = std::copy(in + k * rank + 1, in + (k + 1) * rank, out);
  }
  SM_RETURN_IF_ERROR(Store(ctx, 3 * row, indices));
  SM_RETURN_IF_ERROR(Store(ctx, 3 * row + 1, ctx.input(1).Rows(begin, end)));
  const std::vector<int64_t> shape = ctx.IntsInput(2);
  return Store(ctx, 3 * row + 2,
               Tensor::Vector(std::vector<int64_t>(shape.begin() + 1, shape.end())));
}

Status SerializeManySparse(OpContext& ctx) {
  const int64_t rank = ctx.input(2).num_elements(), rows = ctx.in<int64_t>(2)[0];
  const int64_t n = ctx.input(0).shape().dim(0);
  SM_CHECK_ARG(ctx.input(0).shape().dim(1) == rank && ctx.input(1).shape().dim(0) == n,
               "found indices ", ctx.input(0).shape(), ", values ", ctx.input(1).shape(), ", rank ",
               rank, ", expected [n,rank] and [n]");
  const int64_t* indices = ctx.in<int64_t>(0);
  int64_t at = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t begin = at;
    while (at < n && indices[at * rank] == row) ++at;
    SM_RETURN_IF_ERROR(StoreRow(ctx, row, begin, at));
  }
  SM_CHECK_ARG(at == n, "sparse_indices: found row ", indices[at * rank], " at entry ", at,
               ", expected rows in order, below ", rows);
  return Status();
}

// -------------------------------------------------------------------------------- Deserialize…

struct SparseParts {
  Tensor indices, values, shape;
};

StatusOr<SparseParts> LoadSparse(OpContext& ctx, const Tensor& serialized, int64_t i) {
  const DType dtype = ctx.output_dtype(1);
  SparseParts parts;
  SM_ASSIGN_OR_RETURN(parts.indices, LoadPart(ctx, serialized, 3 * i));
  SM_ASSIGN_OR_RETURN(parts.values, LoadPart(ctx, serialized, 3 * i + 1));
  SM_ASSIGN_OR_RETURN(parts.shape, LoadPart(ctx, serialized, 3 * i + 2));
  SM_CHECK_ARG(parts.indices.dtype() == DType::kInt64 && parts.shape.dtype() == DType::kInt64 &&
                   parts.values.dtype() == dtype,
               "serialized sparse tensor ", i, ": found dtypes ", parts.indices.dtype(), ", ",
               parts.values.dtype(), ", ", parts.shape.dtype(), ", expected int64, ", dtype,
               ", int64");
  SM_CHECK_ARG(parts.indices.shape().rank() == 2 && parts.values.shape().rank() == 1 &&
                   parts.shape.shape().rank() == 1 &&
                   parts.indices.shape().dim(0) == parts.values.shape().dim(0) &&
                   parts.indices.shape().dim(1) == parts.shape.shape().dim(0),
               "serialized sparse tensor ", i, ": found indices ", parts.indices.shape(),
               ", values ", parts.values.shape(), ", shape ", parts.shape.shape(),
               ", expected [n,rank], [n], [rank]");
  return parts;
}

// Puts several sparse tensors one after another along new leading dimensions `batch`.
Status EmitStacked(OpContext& ctx, const Shape& batch, const std::vector<SparseParts>& all) {
  const int64_t inner = all[0].shape.num_elements(), outer = batch.rank();
  int64_t n = 0;
  std::vector<int64_t> shape = batch.ToVector();
  shape.resize(static_cast<size_t>(outer + inner), 0);
  for (const SparseParts& parts : all) {
    SM_CHECK_ARG(parts.shape.num_elements() == inner, "serialized sparse tensors: found ranks ",
                 parts.shape.num_elements(), " and ", inner, ", expected equal ranks");
    n += parts.values.num_elements();
    for (int64_t k = 0; k < inner; ++k) {
      int64_t& dim = shape[static_cast<size_t>(outer + k)];
      dim = std::max(dim, parts.shape.data<int64_t>()[k]);
    }
  }
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, {n, outer + inner}));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(1, {n}));
  int64_t* indices = ctx.out<int64_t>(0);
  for (size_t i = 0; i < all.size(); ++i) {
    for (int64_t e = 0; e < all[i].values.num_elements(); ++e) {
      int64_t rest = static_cast<int64_t>(i);
      for (int64_t d = outer - 1; d >= 0; --d) {
        indices[d] = rest % batch.dim(static_cast<int>(d));
        rest /= batch.dim(static_cast<int>(d));
      }
      const int64_t* from = all[i].indices.data<int64_t>() + e * inner;
      indices = std::copy(from, from + inner, indices + outer);
    }
  }
  ctx.set_output(2, Tensor::Vector(shape));
  return VisitByElementSize(ctx.output_dtype(1), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* out = static_cast<T*>(ctx.output(1).raw_mutable_data());
    for (const SparseParts& parts : all) {
      const T* from = static_cast<const T*>(parts.values.raw_data());
      out = std::copy(from, from + parts.values.num_elements(), out);
    }
    return Status();
  });
}

// DeserializeSparse and DeserializeManySparse.
Status Deserialize(OpContext& ctx) {
  const Tensor& serialized = ctx.input(0);
  const Shape& shape = serialized.shape();
  SM_CHECK_ARG(shape.rank() >= 1 && shape.dim(shape.rank() - 1) == 3,
               "serialized_sparse: found shape ", shape, ", expected 3 as the last dimension");
  const Shape batch = shape.WithRemoved(shape.rank() - 1);
  SM_CHECK_ARG(batch.num_elements() > 0, "Must have at least 1 serialized SparseTensor, but got 0");
  std::vector<SparseParts> all;
  for (int64_t i = 0; i < batch.num_elements(); ++i) {
    SM_ASSIGN_OR_RETURN(SparseParts parts, LoadSparse(ctx, serialized, i));
    all.push_back(std::move(parts));
  }
  return EmitStacked(ctx, batch, all);
}

Status DeserializeManyShape(ShapeContext& ctx) { return ctx.ExpectRank(0, 2); }

Status ParseTensorShape(ShapeContext& ctx) { return ctx.ExpectRank(0, 0); }

constexpr OpDef kOps[] = {
    {.signature = "DeserializeManySparse(serialized_sparse: string) -> (sparse_indices: int64, "
                  "sparse_values: dtype, sparse_shape: int64); dtype: type",
     .shape = DeserializeManyShape,
     .build = BuildPlain<Deserialize>},
    {.signature = "DeserializeSparse(serialized_sparse: Tserialized) -> (sparse_indices: int64, "
                  "sparse_values: dtype, sparse_shape: int64); dtype: type; "
                  "Tserialized: {string,variant} = string",
     .shape = shape::Unknown,
     .build = BuildPlain<Deserialize>},
    {.signature = "ParseTensor(serialized: string) -> (output: out_type); out_type: type",
     .shape = ParseTensorShape,
     .build = BuildParseTensor},
    {.signature = "SerializeManySparse(sparse_indices: int64, sparse_values: T, "
                  "sparse_shape: int64) -> (serialized_sparse: out_type); T: type; "
                  "out_type: {string,variant} = string",
     .shape = SerializeManyShape,
     .build = BuildPlain<SerializeManySparse>},
    {.signature = "SerializeSparse(sparse_indices: int64, sparse_values: T, sparse_shape: int64) "
                  "-> (serialized_sparse: out_type); T: type; out_type: {string,variant} = string",
     .shape = SerializeSparseShape,
     .build = BuildPlain<SerializeSparse>},
    {.signature = "SerializeTensor(tensor: T) -> (serialized: string); T: type",
     .shape = shape::Scalar,
     .build = BuildPlain<SerializeTensor>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> TensorProtoOps() { return kOps; }

}  // namespace savedmodel
