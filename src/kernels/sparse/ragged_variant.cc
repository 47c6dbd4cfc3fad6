// Ragged tensors inside variants, as map functions and data sets pass them.
#include <algorithm>

#include "savedmodel/resource.h"
#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/sparse/ragged.h"
#include "src/kernels/sparse/sparse_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

class RaggedVariant final : public VariantValue {
 public:
  std::string_view kind() const override { return "ragged tensor"; }

  std::vector<std::vector<int64_t>> splits;
  Tensor values;

  int64_t rows() const {
    return splits.empty() ? values.shape().dim(0) : static_cast<int64_t>(splits[0].size()) - 1;
  }
};

// Row `row` of a ragged (or, without splits, dense) tensor.
StatusOr<VariantRef> RowOf(OpContext& ctx, const std::vector<std::vector<int64_t>>& splits,
                           const Tensor& values, int64_t row) {
  auto out = std::make_shared<RaggedVariant>();
  int64_t begin = row, end = row + 1;
  for (size_t level = 0; level < splits.size(); ++level) {
    const std::vector<int64_t>& s = splits[level];
    if (level > 0) {
      std::vector<int64_t> cut(s.begin() + begin, s.begin() + end + 1);
      for (int64_t& split : cut) split -= s[static_cast<size_t>(begin)];
      out->splits.push_back(std::move(cut));
    }
    begin = s[static_cast<size_t>(begin)];
    end = s[static_cast<size_t>(end)];
  }
  Tensor rows = values.Rows(begin, end);
  if (splits.empty()) rows = std::move(rows).WithShape(values.shape().WithRemoved(0));
  SM_ASSIGN_OR_RETURN(out->values, rows.Owned(ctx.run().budget));
  return VariantRef(std::move(out));
}

StatusOr<KernelPtr> BuildToVariant(BuildContext& build) {
  const int levels = static_cast<int>(build.attrs().Int("RAGGED_RANK"));
  return MakeKernel(
      [levels, batched = build.attrs().Bool("batched_input")](OpContext& ctx) -> Status {
        const Tensor& values = ctx.input(levels);
        SM_CHECK_ARG(values.shape().rank() >= 1 || (levels == 0 && !batched),
                     "rt_dense_values: found a scalar, expected rank >= 1");
        SM_ASSIGN_OR_RETURN(auto splits,
                            ReadSplits(ctx, 0, levels, levels == 0 ? 0 : values.shape().dim(0)));
        if (!batched) {
          auto all = std::make_shared<RaggedVariant>();
          all->splits = std::move(splits);
          SM_ASSIGN_OR_RETURN(all->values, values.Owned(ctx.run().budget));
          SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, Shape()));
          ctx.out<VariantRef>(0)[0] = std::move(all);
          return Status();
        }
        const int64_t rows =
            levels == 0 ? values.shape().dim(0) : static_cast<int64_t>(splits[0].size()) - 1;
        SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, {rows}));
        for (int64_t row = 0; row < rows; ++row) {
          SM_ASSIGN_OR_RETURN(ctx.out<VariantRef>(0)[row], RowOf(ctx, splits, values, row));
        }
        return Status();
      });
}

// ------------------------------------------------------------------------ RaggedTensorFromVariant

using Components = std::vector<const RaggedVariant*>;

StatusOr<Components> ReadComponents(const Tensor& encoded, size_t ragged_rank, DType dtype) {
  Components out;
  for (int64_t i = 0; i < encoded.num_elements(); ++i) {
    const auto* part = dynamic_cast<const RaggedVariant*>(encoded.data<VariantRef>()[i].get());
    SM_CHECK_ARG(part != nullptr, "Input Variant element at index ", i,
                 " doesn't hold a RaggedTensorVariant");
    SM_CHECK_ARG(part->splits.size() == ragged_rank, "Encoded input RaggedTensorVariant has ",
                 "ragged_rank=", part->splits.size(), ".  Expected ragged_rank=", ragged_rank);
    SM_CHECK_ARG(part->values.dtype() == dtype, "Expected values Tensor dtype: ", dtype,
                 ", found: ", part->values.dtype());
    out.push_back(part);
  }
  return out;
}

// Values of all components one after another, each element of dimension 0; `shape` is the output's.
Status EmitValues(OpContext& ctx, int output, const Components& parts, const Shape& shape) {
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(output, shape));
  return VisitByElementSize(ctx.output_dtype(output), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* out = static_cast<T*>(ctx.output(output).raw_mutable_data());
    for (const RaggedVariant* part : parts) {
      out = std::copy_n(static_cast<const T*>(part->values.raw_data()), part->values.num_elements(),
                        out);
    }
    return Status();
  });
}

// Components that are dense and become rows: all of one shape.
Status StackDense(OpContext& ctx, const Shape& encoded, const Components& parts) {
  int output = 0;
  SM_RETURN_IF_ERROR(EmitUniformSplits(ctx, encoded, &output));
  Shape inner;
  for (const RaggedVariant* part : parts) {
    SM_CHECK_ARG(part == parts[0] || part->values.shape() == parts[0]->values.shape(),
                 "All flat_values must have compatible shapes: found ", part->values.shape(),
                 " and ", parts[0]->values.shape());
    inner = part->values.shape();
  }
  return EmitValues(ctx, output, parts, inner.WithInserted(0, static_cast<int64_t>(parts.size())));
}

Status StackRagged(OpContext& ctx, const Shape& encoded, const Components& parts,
                   size_t ragged_rank) {
  int output = 0;
  SM_RETURN_IF_ERROR(EmitUniformSplits(ctx, encoded, &output));
  int64_t rows = 0;
  Shape inner({0});
  std::vector<int64_t> starts = {0};
  for (const RaggedVariant* part : parts) {
    const Shape& shape = part->values.shape();
    SM_CHECK_ARG(shape.rank() >= 1, "found a scalar component, expected rank >= 1");
    SM_CHECK_ARG(part == parts[0] || shape.WithRemoved(0) == inner.WithRemoved(0),
                 "All flat_values must have compatible shapes: found ", shape, " and ", inner);
    inner = shape;
    rows += shape.dim(0);
    starts.push_back(starts.back() + part->rows());
  }
  if (encoded.rank() > 0) SM_RETURN_IF_ERROR(EmitRowSplits(ctx, output++, starts));
  for (size_t level = 0; level < ragged_rank; ++level) {
    std::vector<int64_t> joined = {0};
    for (const RaggedVariant* part : parts) {
      const int64_t offset = joined.back();
      for (size_t i = 1; i < part->splits[level].size(); ++i) {
        joined.push_back(offset + part->splits[level][i]);
      }
    }
    SM_RETURN_IF_ERROR(EmitRowSplits(ctx, output++, joined));
  }
  return EmitValues(ctx, output, parts, inner.WithDim(0, rows));
}

StatusOr<KernelPtr> BuildFromVariant(BuildContext& build) {
  const int64_t given = build.attrs().Int("input_ragged_rank");
  const int64_t output_rank = build.attrs().Int("output_ragged_rank");
  return MakeKernel([given, output_rank](OpContext& ctx) -> Status {
    const Tensor& encoded = ctx.input(0);
    const int64_t inferred = output_rank - encoded.shape().rank();
    SM_CHECK_ARG(given == -1 || given == inferred, "output_ragged_rank must be equal to ",
                 "input_ragged_rank + encoded_ragged.dims; found ", output_rank, ", ", given,
                 " and ", encoded.shape().rank());
    SM_CHECK_ARG(inferred >= -1, "Inferred input_ragged_rank (output_ragged_rank - ",
                 "encoded_variant.dims()) must be >= -1, found ", inferred);
    SM_ASSIGN_OR_RETURN(const Components parts,
                        ReadComponents(encoded, static_cast<size_t>(std::max<int64_t>(inferred, 0)),
                                       ctx.output_dtype(ctx.num_outputs() - 1)));
    if (inferred == -1) return StackDense(ctx, encoded.shape(), parts);
    if (encoded.shape().rank() == 0 && inferred == 0) {
      ctx.set_output(0, parts[0]->values);
      return Status();
    }
    return StackRagged(ctx, encoded.shape(), parts, static_cast<size_t>(inferred));
  });
}

constexpr OpDef kOps[] = {
    {.signature = "RaggedTensorFromVariant(encoded_ragged: variant) -> "
                  "(output_nested_splits: output_ragged_rank * Tsplits, "
                  "output_dense_values: Tvalues); input_ragged_rank: int >= -1; "
                  "output_ragged_rank: int >= 0; Tvalues: type; Tsplits: {int32,int64} = int64",
     .shape = shape::Unknown,
     .build = BuildFromVariant},
    {.signature = "RaggedTensorToVariant(rt_nested_splits: RAGGED_RANK * Tsplits, "
                  "rt_dense_values: Tvalues) -> (encoded_ragged: variant); RAGGED_RANK: int >= 0; "
                  "Tvalues: type; Tsplits: {int32,int64} = int64; batched_input: bool",
     .shape = shape::Unknown,
     .build = BuildToVariant},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> RaggedVariantOps() { return kOps; }

}  // namespace savedmodel
