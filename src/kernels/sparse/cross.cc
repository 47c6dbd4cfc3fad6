// Feature crosses: all combinations of one feature of each column, row by row, joined or hashed.
#include <algorithm>
#include <cstring>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/sparse/coo.h"
#include "src/kernels/sparse/ragged.h"
#include "src/kernels/sparse/sparse_ops.h"
#include "src/kernels/string/hash.h"

namespace savedmodel {
namespace {

// One column: the features of row r are values[order[i]] for starts[r] <= i < starts[r + 1], or
// values[i] where there is no order. Features are strings or int64.
struct Column {
  const Tensor* values = nullptr;
  std::vector<int64_t> starts, order;
  bool is_dense = false;

  int64_t rows() const { return static_cast<int64_t>(starts.size()) - 1; }
  int64_t count(int64_t row) const {
    return starts[static_cast<size_t>(row) + 1] - starts[static_cast<size_t>(row)];
  }
  int64_t position(int64_t row, int64_t n) const {
    const size_t at = static_cast<size_t>(starts[static_cast<size_t>(row)] + n);
    return order.empty() ? static_cast<int64_t>(at) : order[at];
  }
  std::string Text(int64_t i) const {
    const std::string* strings = values->data<std::string>();
    return strings != nullptr ? strings[i] : std::to_string(values->data<int64_t>()[i]);
  }
};

StatusOr<Column> SparseColumn(OpContext& ctx, int indices, int values, int shape) {
  SM_ASSIGN_OR_RETURN(const Coo in, ReadCoo(ctx, indices, values, shape));
  SM_CHECK_ARG(in.rank() == 2, "sparse column: found rank ", in.rank(), ", expected 2");
  SM_RETURN_IF_ERROR(in.CheckBounds());
  // As many rows as the shape says may be more than there is memory for.
  SM_RETURN_IF_ERROR(ctx.AllocateTemp(DType::kInt64, {in.dims[0]}).status());
  Column column;
  column.values = in.values;
  column.starts.assign(static_cast<size_t>(in.dims[0]) + 1, 0);
  for (int64_t i = 0; i < in.count; ++i) ++column.starts[static_cast<size_t>(in.index(i)[0]) + 1];
  for (size_t row = 1; row < column.starts.size(); ++row) {
    column.starts[row] += column.starts[row - 1];
  }
  column.order.resize(static_cast<size_t>(in.count));
  std::vector<int64_t> next = column.starts;
  for (int64_t i = 0; i < in.count; ++i) {
    column.order[static_cast<size_t>(next[static_cast<size_t>(in.index(i)[0])]++)] = i;
  }
  return column;
}

StatusOr<Column> DenseColumn(OpContext& ctx, int input) {
  const Shape& shape = ctx.input(input).shape();
  SM_CHECK_ARG(shape.rank() == 2, "dense column: found shape ", shape, ", expected a matrix");
  SM_RETURN_IF_ERROR(ctx.AllocateTemp(DType::kInt64, {shape.dim(0)}).status());
  Column column;
  column.values = &ctx.input(input);
  column.is_dense = true;
  for (int64_t row = 0; row <= shape.dim(0); ++row) column.starts.push_back(row * shape.dim(1));
  return column;
}

StatusOr<Column> RaggedColumn(OpContext& ctx, int values, int splits) {
  SM_CHECK_ARG(ctx.input(values).shape().rank() == 1, "ragged column: found values of shape ",
               ctx.input(values).shape(), ", expected a vector");
  SM_ASSIGN_OR_RETURN(auto all, ReadSplits(ctx, splits, 1, ctx.input(values).num_elements()));
  Column column;
  column.values = &ctx.input(values);
  column.starts = std::move(all[0]);
  return column;
}

// How the features of one combination become one value.
struct Combiner {
  bool hashes = false;
  std::string separator = "_X_";
  int64_t buckets = 0;
  bool has_seed = true;  // the hash starts with `seed`; else with the first feature
  uint64_t seed = 0;
  bool strong = false;
  uint64_t key[2] = {0, 0};

  uint64_t FeatureHash(const Column& column, int64_t i) const {
    if (const std::string* strings = column.values->data<std::string>(); strings != nullptr) {
      return strong ? SipHash(key, strings[i]) : FarmFingerprint64(strings[i]);
    }
    const int64_t value = column.values->data<int64_t>()[i];
    if (has_seed || column.is_dense) return static_cast<uint64_t>(value);
    // As in TensorFlow: of integers in sparse columns the low half is hashed.
    const std::string_view bytes(reinterpret_cast<const char*>(&value), 4);
    return strong ? SipHash(key, bytes) : FarmFingerprint64(bytes);
  }

  int64_t Hash(const std::vector<Column>& columns, const std::vector<int64_t>& positions) const {
    uint64_t hash = has_seed ? seed : FeatureHash(columns[0], positions[0]);
    for (size_t c = has_seed ? 0 : 1; c < columns.size(); ++c) {
      hash = FingerprintCat64(hash, FeatureHash(columns[c], positions[c]));
    }
    return static_cast<int64_t>(hash % static_cast<uint64_t>(buckets > 0 ? buckets : INT64_MAX));
  }

  std::string Join(const std::vector<Column>& columns,
                   const std::vector<int64_t>& positions) const {
    std::string out;
    for (size_t c = 0; c < columns.size(); ++c) {
      if (c > 0) out += separator;
      out += columns[c].Text(positions[c]);
    }
    return out;
  }
};

// The number of combinations in each row, summed up.
StatusOr<std::vector<int64_t>> CrossSplits(const std::vector<Column>& columns) {
  SM_CHECK_ARG(!columns.empty(), "found no columns to cross, expected at least one");
  for (size_t c = 1; c < columns.size(); ++c) {
    SM_CHECK_ARG(columns[c].rows() == columns[0].rows(), "Expected batch size ", columns[0].rows(),
                 " got ", columns[c].rows(), " in column ", c);
  }
  std::vector<int64_t> splits = {0};
  for (int64_t row = 0; row < columns[0].rows(); ++row) {
    int64_t count = 1;
    for (const Column& column : columns) {
      // A later column may still be empty, so that an overflow before it would not matter.
      if (column.count(row) == 0) count = 0;
    }
    for (const Column& column : columns) {
      SM_CHECK_ARG(count == 0 || !__builtin_mul_overflow(count, column.count(row), &count),
                   "too many combinations in row ", row);
    }
    int64_t total = 0;
    SM_CHECK_ARG(!__builtin_add_overflow(splits.back(), count, &total),
                 "too many combinations up to row ", row);
    splits.push_back(total);
  }
  return splits;
}

// All combinations as output `output`; the last column varies fastest.
Status EmitCrosses(OpContext& ctx, int output, const std::vector<Column>& columns,
                   const std::vector<int64_t>& splits, const Combiner& combiner) {
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(output, {splits.back()}));
  int64_t* hashes = ctx.out<int64_t>(output);
  std::string* strings = ctx.out<std::string>(output);
  std::vector<int64_t> feature(columns.size()), positions(columns.size());
  for (int64_t row = 0, at = 0; row < columns[0].rows(); ++row) {
    SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
    std::fill(feature.begin(), feature.end(), 0);
    for (; at < splits[static_cast<size_t>(row) + 1]; ++at) {
      for (size_t c = 0; c < columns.size(); ++c) {
        positions[c] = columns[c].position(row, feature[c]);
      }
      if (combiner.hashes) {
        hashes[at] = combiner.Hash(columns, positions);
      } else {
        strings[at] = combiner.Join(columns, positions);
      }
      for (size_t c = columns.size(); c-- > 0;) {
        if (++feature[c] < columns[c].count(row)) break;
        feature[c] = 0;
      }
    }
  }
  return Status();
}

Status EmitSparseCross(OpContext& ctx, const std::vector<Column>& columns,
                       const Combiner& combiner) {
  SM_ASSIGN_OR_RETURN(const std::vector<int64_t> splits, CrossSplits(columns));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, {splits.back(), 2}));
  int64_t* indices = ctx.out<int64_t>(0);
  int64_t widest = 0;
  for (size_t row = 0; row + 1 < splits.size(); ++row) {
    const int64_t count = splits[row + 1] - splits[row];
    widest = std::max(widest, count);
    for (int64_t k = 0; k < count; ++k) {
      *indices++ = static_cast<int64_t>(row);
      *indices++ = k;
    }
  }
  SM_RETURN_IF_ERROR(EmitInts(ctx, 2, {columns[0].rows(), widest}));
  return EmitCrosses(ctx, 1, columns, splits, combiner);
}

// The inputs that the three sparse ops share: n indices, n values, n shapes, `dense` matrices.
StatusOr<std::vector<Column>> ReadColumns(OpContext& ctx, int n, int dense) {
  std::vector<Column> columns;
  for (int i = 0; i < n; ++i) {
    SM_ASSIGN_OR_RETURN(Column column, SparseColumn(ctx, i, n + i, 2 * n + i));
    columns.push_back(std::move(column));
  }
  for (int i = 0; i < dense; ++i) {
    SM_ASSIGN_OR_RETURN(Column column, DenseColumn(ctx, 3 * n + i));
    columns.push_back(std::move(column));
  }
  return columns;
}

struct Counts {
  int sparse = 0, dense = 0;
};

StatusOr<Counts> ReadCounts(const Attrs& attrs) {
  const Counts counts{static_cast<int>(attrs.Int("N")),
                      static_cast<int>(attrs.Types("dense_types").size())};
  SM_CHECK_ARG(static_cast<int>(attrs.Types("sparse_types").size()) == counts.sparse,
               "sparse_types: found ", attrs.Types("sparse_types").size(), ", expected ",
               counts.sparse);
  return counts;
}

StatusOr<KernelPtr> BuildCross(BuildContext& build) {
  const Attrs& attrs = build.attrs();
  SM_ASSIGN_OR_RETURN(const Counts counts, ReadCounts(attrs));
  Combiner combiner;
  combiner.hashes = attrs.Bool("hashed_output");
  combiner.buckets = attrs.Int("num_buckets");
  combiner.seed = static_cast<uint64_t>(attrs.Int("hash_key"));
  const DType internal = attrs.Type("internal_type");
  SM_CHECK_ARG(attrs.Type("out_type") == (combiner.hashes ? DType::kInt64 : DType::kString),
               "out_type: found ", attrs.Type("out_type"), ", expected int64 for hashed output, ",
               "string otherwise");
  for (const char* name : {"sparse_types", "dense_types"}) {
    for (const DType dtype : attrs.Types(name)) {
      // An internal type of int64 takes strings too: their fingerprints.
      SM_CHECK_ARG(internal != DType::kString || dtype == internal,
                   "Input values should be of internal type ", internal, " but received ", dtype);
    }
  }
  return MakeKernel([counts, combiner](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const std::vector<Column> columns,
                        ReadColumns(ctx, counts.sparse, counts.dense));
    return EmitSparseCross(ctx, columns, combiner);
  });
}

StatusOr<KernelPtr> BuildCrossV2(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const Counts counts, ReadCounts(build.attrs()));
  return MakeKernel([counts](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const std::vector<Column> columns,
                        ReadColumns(ctx, counts.sparse, counts.dense));
    const int separator = 3 * counts.sparse + counts.dense;
    SM_CHECK_ARG(ctx.input(separator).num_elements() == 1, "sep: found shape ",
                 ctx.input(separator).shape(), ", expected a scalar");
    Combiner combiner;
    combiner.separator = *ctx.in<std::string>(separator);
    return EmitSparseCross(ctx, columns, combiner);
  });
}

StatusOr<KernelPtr> BuildCrossHashed(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const Counts counts, ReadCounts(build.attrs()));
  return MakeKernel([counts](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const std::vector<Column> columns,
                        ReadColumns(ctx, counts.sparse, counts.dense));
    const int first = 3 * counts.sparse + counts.dense;
    SM_CHECK_ARG(ctx.input(first).num_elements() == 1 && ctx.input(first + 1).num_elements() == 1 &&
                     ctx.input(first + 2).num_elements() == 2,
                 "found num_buckets ", ctx.input(first).shape(), ", strong_hash ",
                 ctx.input(first + 1).shape(), ", salt ", ctx.input(first + 2).shape(),
                 ", expected [], [], [2]");
    Combiner combiner;
    combiner.hashes = true;
    combiner.has_seed = false;
    combiner.buckets = ctx.IntInput(first);
    combiner.strong = *ctx.in<bool>(first + 1);
    std::memcpy(combiner.key, ctx.in<int64_t>(first + 2), sizeof(combiner.key));
    return EmitSparseCross(ctx, columns, combiner);
  });
}

// ----------------------------------------------------------------------------------- RaggedCross

StatusOr<KernelPtr> BuildRaggedCross(BuildContext& build) {
  const Attrs& attrs = build.attrs();
  const int ragged = static_cast<int>(attrs.Types("ragged_values_types").size());
  const int sparse = static_cast<int>(attrs.Int("Nsparse"));
  const int dense = static_cast<int>(attrs.Types("dense_types").size());
  SM_CHECK_ARG(static_cast<int>(attrs.Types("ragged_splits_types").size()) == ragged &&
                   static_cast<int>(attrs.Types("sparse_values_types").size()) == sparse,
               "ragged values and splits, or sparse indices and values, differ in number");
  const std::string& order = attrs.String("input_order");
  const auto count = [&](char c) { return std::count(order.begin(), order.end(), c); };
  SM_CHECK_ARG(count('R') == ragged && count('S') == sparse && count('D') == dense &&
                   static_cast<int>(order.size()) == ragged + sparse + dense,
               "input_order: found '", order, "', expected ", ragged, " R, ", sparse, " S and ",
               dense, " D");
  Combiner combiner;
  combiner.hashes = attrs.Bool("hashed_output");
  combiner.buckets = attrs.Int("num_buckets");
  combiner.seed = static_cast<uint64_t>(attrs.Int("hash_key"));
  SM_CHECK_ARG(attrs.Type("out_values_type") == (combiner.hashes ? DType::kInt64 : DType::kString),
               "out_values_type: found ", attrs.Type("out_values_type"),
               ", expected int64 for hashed output, string otherwise");
  return MakeKernel([=](OpContext& ctx) -> Status {
    std::vector<Column> columns;
    int next_ragged = 0, next_sparse = 2 * ragged, next_dense = 2 * ragged + 3 * sparse;
    for (const char kind : order) {
      SM_ASSIGN_OR_RETURN(Column column,
                          kind == 'R'   ? RaggedColumn(ctx, next_ragged, ragged + next_ragged)
                          : kind == 'S' ? SparseColumn(ctx, next_sparse, sparse + next_sparse,
                                                       2 * sparse + next_sparse)
                                        : DenseColumn(ctx, next_dense));
      ++(kind == 'R' ? next_ragged : kind == 'S' ? next_sparse : next_dense);
      columns.push_back(std::move(column));
    }
    SM_ASSIGN_OR_RETURN(const std::vector<int64_t> splits, CrossSplits(columns));
    SM_RETURN_IF_ERROR(EmitRowSplits(ctx, 1, splits));
    return EmitCrosses(ctx, 0, columns, splits, combiner);
  });
}

#define SM_CROSS_INPUTS \
  "(indices: N * int64, values: sparse_types, shapes: N * int64, dense_inputs: dense_types"
#define SM_CROSS_TYPES                                     \
  "N: int >= 0; sparse_types: list({int64,string}) >= 0; " \
  "dense_types: list({int64,string}) >= 0"

constexpr OpDef kOps[] = {
    {.signature =
         "RaggedCross(ragged_values: ragged_values_types, ragged_row_splits: ragged_splits_types, "
         "sparse_indices: Nsparse * int64, sparse_values: sparse_values_types, "
         "sparse_shape: Nsparse * int64, dense_inputs: dense_types) -> "
         "(output_values: out_values_type, output_row_splits: out_row_splits_type); "
         "Nsparse: int >= 0; input_order: string; hashed_output: bool; num_buckets: int >= 0; "
         "hash_key: int; ragged_values_types: list({int64,string}) >= 0; "
         "ragged_splits_types: list({int32,int64}) >= 0; "
         "sparse_values_types: list({int64,string}) >= 0; "
         "dense_types: list({int64,string}) >= 0; out_values_type: {int64,string}; "
         "out_row_splits_type: {int32,int64}",
     .shape = shape::Unknown,
     .build = BuildRaggedCross},
    {.signature = "SparseCross" SM_CROSS_INPUTS ") -> (output_indices: int64, "
                  "output_values: out_type, output_shape: int64); hashed_output: bool; "
                  "num_buckets: int >= 0; hash_key: int; out_type: {int64,string}; "
                  "internal_type: {int64,string}; " SM_CROSS_TYPES,
     .shape = shape::Unknown,
     .build = BuildCross},
    {.signature = "SparseCrossHashed" SM_CROSS_INPUTS ", num_buckets: int64, strong_hash: bool, "
                  "salt: int64) -> (output_indices: int64, output_values: int64, "
                  "output_shape: int64); " SM_CROSS_TYPES,
     .shape = shape::Unknown,
     .build = BuildCrossHashed},
    {.signature = "SparseCrossV2" SM_CROSS_INPUTS ", sep: string) -> (output_indices: int64, "
                  "output_values: string, output_shape: int64); " SM_CROSS_TYPES,
     .shape = shape::Unknown,
     .build = BuildCrossV2},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> CrossOps() { return kOps; }

}  // namespace savedmodel
