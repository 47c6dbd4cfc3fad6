// ParseSequenceExample, ParseSequenceExampleV2, ParseSingleSequenceExample.
#include <algorithm>
#include <cstring>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/io/example.h"
#include "src/kernels/io/io_ops.h"
#include "src/kernels/io/wire.h"

namespace savedmodel {
namespace {

// Columns of one of the two maps of a SequenceExample: sparse, then dense, then ragged ones.
struct Section {
  std::vector<FeatureColumn> columns;
  KeyIndex index;
  size_t sparse = 0, dense = 0;

  size_t ragged() const { return columns.size() - sparse - dense; }
  void Add(FeatureColumn column) {
    index.Add(column);
    columns.push_back(std::move(column));
  }
  void AddLists(Span<const std::string> keys, const std::vector<DType>& types) {
    for (size_t i = 0; i < keys.size(); ++i) {
      FeatureColumn column;
      column.key = keys[i];
      column.dtype = types[i];
      Add(std::move(column));
    }
  }
};

struct Request {
  Section context, lists;
  std::vector<bool> may_miss;  // per dense feature list: a missing one is empty
  bool batched = true;
  bool emits_lengths = true;
};

// The steps of one feature list in all examples.
struct ListData {
  FeatureValues values;
  std::vector<int64_t> counts;  // of values, per step
  std::vector<int64_t> steps;   // per example
};

struct Parsed {
  std::vector<std::vector<ColumnData>> context;  // one run of examples
  std::vector<ListData> lists;
  KeyIndex::Order context_order, lists_order;
};

Status AppendList(const FeatureColumn& column, std::string_view list, Where where, ListData* data) {
  WireReader reader(list);
  int64_t steps = 0;
  while (reader.Next()) {
    if (reader.field() != 1 || !reader.is_bytes()) continue;
    DType found = DType::kInvalid;
    std::string_view values;
    SM_CHECK_ARG(ReadFeature(reader.bytes(), &found, &values), where(),
                 ", Feature list: ", column.key, ": malformed feature");
    const int64_t before = data->values.size(column.dtype);
    if (found != DType::kInvalid) {
      SM_CHECK_ARG(found == column.dtype, where(), ", Feature list: ", column.key,
                   ", Index: ", steps, ".  Data types don't match. Expected type: ", column.dtype,
                   ", found ", found);
      SM_CHECK_ARG(data->values.Append(found, values), where(), ", Feature list: ", column.key,
                   ": malformed values");
    }
    const int64_t count = data->values.size(column.dtype) - before;
    SM_CHECK_ARG(column.form == FeatureColumn::Form::kList || count == column.stride, where(),
                 ", Key: ", column.key, ", Index: ", steps,
                 ".  Number of values != expected.  values size: ", count,
                 " but output shape: ", column.shape);
    data->counts.push_back(count);
    ++steps;
  }
  SM_CHECK_ARG(reader.ok(), where(), ", Feature list: ", column.key, ": malformed list");
  data->steps.push_back(steps);
  return Status();
}

Status ParseOne(const Request& request, const std::string& serialized, Where where, Parsed* out) {
  const Section& context = request.context;
  const Section& lists = request.lists;
  std::vector<FoundValue> features(context.columns.size()), found(lists.columns.size());
  bool ok = true;
  WireReader example(serialized);
  while (ok && example.Next()) {
    if (!example.is_bytes()) continue;
    if (example.field() == 1)
      ok = context.index.Find(example.bytes(), &features, &out->context_order);
    if (example.field() == 2) ok = lists.index.Find(example.bytes(), &found, &out->lists_order);
  }
  SM_CHECK_ARG(ok && example.ok(), "Could not parse sequence example input, ", where());
  for (size_t i = 0; i < features.size(); ++i) {
    SM_RETURN_IF_ERROR(AppendFeature(context.columns[i], features[i], where, &out->context[0][i]));
  }
  for (size_t i = 0; i < found.size(); ++i) {
    const bool is_dense = i >= lists.sparse && i < lists.sparse + lists.dense;
    SM_CHECK_ARG(
        found[i].bytes.data() != nullptr || !is_dense || request.may_miss[i - lists.sparse],
        where(), ", Feature list '", lists.columns[i].key,
        "' is required but could not be found.  Did you mean to include it in "
        "feature_list_dense_missing_assumed_empty?");
    SM_RETURN_IF_ERROR(AppendList(lists.columns[i], found[i].bytes, where, &out->lists[i]));
  }
  return Status();
}

// --------------------------------------------------------------------------------------- outputs

int64_t Largest(const std::vector<int64_t>& values) {
  return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
}

Status EmitSparseList(OpContext& ctx, int output, int step, DType dtype, ListData* data,
                      bool batched) {
  const int64_t n = data->values.size(dtype);
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(output, {n, batched ? 3 : 2}));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(output + step, {n}));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(output + 2 * step, {batched ? 3 : 2}));
  data->values.CopyTo(dtype, 0, n, ctx.output(output + step).raw_mutable_data());
  int64_t* indices = ctx.out<int64_t>(output);
  size_t at = 0;
  for (size_t example = 0; example < data->steps.size(); ++example) {
    for (int64_t t = 0; t < data->steps[example]; ++t, ++at) {
      for (int64_t k = 0; k < data->counts[at]; ++k) {
        if (batched) *indices++ = static_cast<int64_t>(example);
        *indices++ = t;
        *indices++ = k;
      }
    }
  }
  int64_t* shape = ctx.out<int64_t>(output + 2 * step);
  if (batched) *shape++ = static_cast<int64_t>(data->steps.size());
  *shape++ = Largest(data->steps);
  *shape = Largest(data->counts);
  return Status();
}

// Examples with fewer steps than others end in zeros or empty strings.
Status EmitDenseList(OpContext& ctx, int output, const FeatureColumn& column, ListData* data,
                     bool batched) {
  const int64_t longest = Largest(data->steps);
  Shape shape = column.shape.WithInserted(0, longest);
  if (batched) shape = shape.WithInserted(0, static_cast<int64_t>(data->steps.size()));
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(output, shape));
  Tensor* out = &ctx.output(output);
  if (out->num_elements() == 0) return Status();
  if (IsPlainData(out->dtype())) std::memset(out->raw_mutable_data(), 0, out->num_bytes());
  const int64_t example_bytes =
      longest * column.stride * static_cast<int64_t>(DTypeSize(out->dtype()));
  char* to = static_cast<char*>(out->raw_mutable_data());
  int64_t from = 0;
  for (const int64_t steps : data->steps) {
    data->values.CopyTo(out->dtype(), from, steps * column.stride, to);
    from += steps * column.stride;
    to += example_bytes;
  }
  return Status();
}

Status EmitLengths(OpContext& ctx, int output, const ListData& data, bool batched) {
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(
      output, batched ? Shape({static_cast<int64_t>(data.steps.size())}) : Shape()));
  std::copy(data.steps.begin(), data.steps.end(), ctx.out<int64_t>(output));
  return Status();
}

Status EmitRaggedList(OpContext& ctx, int output, int step, DType dtype, ListData* data,
                      bool batched) {
  const int64_t n = data->values.size(dtype);
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(output, {n}));
  data->values.CopyTo(dtype, 0, n, ctx.output(output).raw_mutable_data());
  std::vector<int64_t> outer = {0}, inner = {0};
  for (const int64_t steps : data->steps) outer.push_back(outer.back() + steps);
  for (const int64_t count : data->counts) inner.push_back(inner.back() + count);
  if (batched) {
    SM_RETURN_IF_ERROR(EmitSplits(ctx, output + step, {static_cast<int64_t>(outer.size())}, outer));
  } else {
    SM_RETURN_IF_ERROR(EmitSplits(ctx, output + step, Shape(), {outer.back()}));
  }
  return EmitSplits(ctx, output + 2 * step, {static_cast<int64_t>(inner.size())}, inner);
}

Status EmitContext(OpContext& ctx, const Request& request, Parsed* parsed, int* output) {
  const Section& section = request.context;
  const int sparse = static_cast<int>(section.sparse), ragged = static_cast<int>(section.ragged());
  for (size_t i = 0; i < section.columns.size(); ++i) {
    const FeatureColumn& column = section.columns[i];
    const int at = *output + static_cast<int>(i);
    if (i < section.sparse) {
      SM_RETURN_IF_ERROR(EmitSparse(ctx, at, at + sparse, at + 2 * sparse, column.dtype,
                                    parsed->context, i, request.batched));
    } else if (column.form == FeatureColumn::Form::kPadded) {
      SM_RETURN_IF_ERROR(
          EmitPadded(ctx, at + 2 * sparse, column, parsed->context, i, request.batched));
    } else if (i >= section.sparse + section.dense) {
      SM_RETURN_IF_ERROR(EmitRagged(ctx, at + 2 * sparse, at + 2 * sparse + ragged, column.dtype,
                                    parsed->context, i, request.batched));
    }
  }
  *output += 3 * sparse + static_cast<int>(section.dense) + 2 * ragged;
  return Status();
}

Status EmitLists(OpContext& ctx, const Request& request, Parsed* parsed, int output) {
  const Section& section = request.lists;
  const int sparse = static_cast<int>(section.sparse), dense = static_cast<int>(section.dense);
  for (size_t i = 0; i < section.columns.size(); ++i) {
    const FeatureColumn& column = section.columns[i];
    ListData* data = &parsed->lists[i];
    const int at = output + static_cast<int>(i);
    if (i < section.sparse) {
      SM_RETURN_IF_ERROR(EmitSparseList(ctx, at, sparse, column.dtype, data, request.batched));
    } else if (i < section.sparse + section.dense) {
      SM_RETURN_IF_ERROR(EmitDenseList(ctx, at + 2 * sparse, column, data, request.batched));
      if (request.emits_lengths) {
        SM_RETURN_IF_ERROR(EmitLengths(ctx, at + 2 * sparse + dense, *data, request.batched));
      }
    } else {
      SM_RETURN_IF_ERROR(EmitRaggedList(ctx, at + 2 * sparse + dense,
                                        static_cast<int>(section.ragged()), column.dtype, data,
                                        request.batched));
    }
  }
  return Status();
}

Status Run(OpContext& ctx, const Request& request, Span<const std::string> names) {
  const Span<const std::string> examples = ctx.input(0).values<std::string>();
  SM_CHECK_ARG(names.empty() || names.size() == examples.size(), "debug_name: found ", names.size(),
               ", expected one for each of ", examples.size(), " examples, or none");
  Parsed parsed;
  parsed.context.emplace_back(request.context.columns.size());
  parsed.lists.resize(request.lists.columns.size());
  for (size_t i = 0; i < request.context.columns.size(); ++i) {
    const FeatureColumn& column = request.context.columns[i];
    if (column.form != FeatureColumn::Form::kDense) continue;
    const int output = static_cast<int>(2 * request.context.sparse + i);
    SM_RETURN_IF_ERROR(
        PlaceDense(ctx, output, column, static_cast<int64_t>(examples.size()), request.batched));
    parsed.context[0][i].row = ctx.output(output).raw_mutable_data();
  }
  for (size_t i = 0; i < examples.size(); ++i) {
    SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
    const auto where = [&] {
      return names.empty() ? StrCat("Index: ", i) : StrCat("Name: ", names[i], ", Index: ", i);
    };
    SM_RETURN_IF_ERROR(ParseOne(request, examples[i], where, &parsed));
  }
  int output = 0;
  SM_RETURN_IF_ERROR(EmitContext(ctx, request, &parsed, &output));
  return EmitLists(ctx, request, &parsed, output);
}

// ------------------------------------------------------------------------------- building requests

// What the attributes of all three ops say.
struct Spec {
  std::vector<DType> context_sparse, context_dense, context_ragged;
  std::vector<Shape> context_shapes;
  std::vector<DType> list_sparse, list_dense, list_ragged;
  std::vector<Shape> list_shapes;
};

StatusOr<Spec> ParseSpec(const Attrs& attrs) {
  Spec spec;
  spec.context_sparse = attrs.Types("context_sparse_types");
  spec.context_dense = attrs.Types("Tcontext_dense");
  spec.context_ragged = attrs.Types("context_ragged_value_types");
  spec.context_shapes = attrs.Get<std::vector<Shape>>("context_dense_shapes");
  spec.list_sparse = attrs.Types("feature_list_sparse_types");
  spec.list_dense = attrs.Types("feature_list_dense_types");
  spec.list_ragged = attrs.Types("feature_list_ragged_value_types");
  spec.list_shapes = attrs.Get<std::vector<Shape>>("feature_list_dense_shapes");
  const bool fits =
      spec.context_shapes.size() == spec.context_dense.size() &&
      spec.list_shapes.size() == spec.list_dense.size() &&
      attrs.Int("Ncontext_sparse") == static_cast<int64_t>(spec.context_sparse.size()) &&
      attrs.Int("Nfeature_list_sparse") == static_cast<int64_t>(spec.list_sparse.size()) &&
      attrs.Int("Nfeature_list_dense") == static_cast<int64_t>(spec.list_dense.size()) &&
      attrs.Types("context_ragged_split_types").size() == spec.context_ragged.size() &&
      attrs.Types("feature_list_ragged_split_types").size() == spec.list_ragged.size();
  SM_CHECK_ARG(fits, "attributes disagree on the number of features");
  return spec;
}

// Keys of all features, in the order sparse, dense, ragged of both maps.
struct Keys {
  std::vector<std::string> context_sparse, context_dense, context_ragged;
  std::vector<std::string> list_sparse, list_dense, list_ragged;
};

// `defaults` is the input of the first default of a dense context feature.
StatusOr<Request> MakeRequest(OpContext& ctx, const Spec& spec, const Keys& keys, int defaults) {
  const bool fits = keys.context_sparse.size() == spec.context_sparse.size() &&
                    keys.context_dense.size() == spec.context_dense.size() &&
                    keys.context_ragged.size() == spec.context_ragged.size() &&
                    keys.list_sparse.size() == spec.list_sparse.size() &&
                    keys.list_dense.size() == spec.list_dense.size() &&
                    keys.list_ragged.size() == spec.list_ragged.size();
  SM_CHECK_ARG(fits, "keys and types disagree on the number of features");
  Request request;
  request.batched = ctx.input(0).shape().rank() == 1;
  SM_CHECK_ARG(ctx.input(0).shape().rank() <= 1, "serialized: found shape ", ctx.input(0).shape(),
               ", expected a scalar or a vector");
  request.context.sparse = keys.context_sparse.size();
  request.context.dense = keys.context_dense.size();
  request.context.AddLists(keys.context_sparse, spec.context_sparse);
  for (size_t i = 0; i < keys.context_dense.size(); ++i) {
    SM_ASSIGN_OR_RETURN(FeatureColumn column,
                        DenseColumn(keys.context_dense[i], spec.context_shapes[i],
                                    ctx.input(defaults + static_cast<int>(i)), request.batched));
    request.context.Add(std::move(column));
  }
  request.context.AddLists(keys.context_ragged, spec.context_ragged);
  request.lists.sparse = keys.list_sparse.size();
  request.lists.dense = keys.list_dense.size();
  request.lists.AddLists(keys.list_sparse, spec.list_sparse);
  for (size_t i = 0; i < keys.list_dense.size(); ++i) {
    SM_CHECK_ARG(spec.list_shapes[i].fully_known(), "feature_list_dense_shapes[", i, "]: found ",
                 spec.list_shapes[i], ", expected a fully known shape");
    FeatureColumn column;
    column.key = keys.list_dense[i];
    column.dtype = spec.list_dense[i];
    column.form = FeatureColumn::Form::kDense;
    column.shape = spec.list_shapes[i];
    column.stride = column.shape.num_elements();
    request.lists.Add(std::move(column));
  }
  request.lists.AddLists(keys.list_ragged, spec.list_ragged);
  return request;
}

void SetMayMiss(const std::vector<std::string>& names, const Keys& keys, Request* request) {
  for (const std::string& key : keys.list_dense) {
    request->may_miss.push_back(std::find(names.begin(), names.end(), key) != names.end());
  }
}

StatusOr<KernelPtr> BuildV1(BuildContext& build) {
  const Attrs& attrs = build.attrs();
  SM_ASSIGN_OR_RETURN(const Spec spec, ParseSpec(attrs));
  Keys keys;
  keys.context_sparse = attrs.Get<std::vector<std::string>>("context_sparse_keys");
  keys.context_dense = attrs.Get<std::vector<std::string>>("context_dense_keys");
  keys.list_sparse = attrs.Get<std::vector<std::string>>("feature_list_sparse_keys");
  keys.list_dense = attrs.Get<std::vector<std::string>>("feature_list_dense_keys");
  return MakeKernel([spec, keys,
                     may_miss = attrs.Get<std::vector<std::string>>(
                         "feature_list_dense_missing_assumed_empty")](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(Request request, MakeRequest(ctx, spec, keys, 2));
    SetMayMiss(may_miss, keys, &request);
    return Run(ctx, request, ctx.input(1).values<std::string>());
  });
}

StatusOr<KernelPtr> BuildV2(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const Spec spec, ParseSpec(build.attrs()));
  return MakeKernel([spec](OpContext& ctx) -> Status {
    const auto read = [&](int input) { return ctx.input(input).ToVector<std::string>(); };
    const Keys keys{read(2), read(3), read(4), read(5), read(6), read(7)};
    SM_ASSIGN_OR_RETURN(Request request, MakeRequest(ctx, spec, keys, 9));
    request.may_miss = ctx.input(8).ToVector<bool>();
    SM_CHECK_ARG(request.may_miss.size() == keys.list_dense.size(),
                 "feature_list_dense_missing_assumed_empty: found ", request.may_miss.size(),
                 " elements, expected ", keys.list_dense.size());
    return Run(ctx, request, ctx.input(1).values<std::string>());
  });
}

StatusOr<KernelPtr> BuildSingle(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const Spec spec, ParseSpec(build.attrs()));
  return MakeKernel([spec](OpContext& ctx) -> Status {
    SM_CHECK_ARG(ctx.input(0).shape().rank() == 0, "serialized: found shape ", ctx.input(0).shape(),
                 ", expected a scalar");
    int input = 2;
    Status status;
    const auto read = [&](size_t n) {
      std::vector<std::string> keys;
      for (size_t i = 0; i < n; ++i, ++input) {
        if (ctx.input(input).num_elements() != 1) {
          status = InvalidArgument("feature key: found shape ", ctx.input(input).shape(),
                                   ", expected a scalar");
          return keys;
        }
        keys.push_back(*ctx.in<std::string>(input));
      }
      return keys;
    };
    Keys keys;
    keys.context_sparse = read(spec.context_sparse.size());
    keys.context_dense = read(spec.context_dense.size());
    keys.list_sparse = read(spec.list_sparse.size());
    keys.list_dense = read(spec.list_dense.size());
    SM_RETURN_IF_ERROR(status);
    SM_ASSIGN_OR_RETURN(Request request, MakeRequest(ctx, spec, keys, input));
    request.emits_lengths = false;
    SetMayMiss(ctx.input(1).ToVector<std::string>(), keys, &request);
    const Tensor& name = ctx.input(ctx.num_inputs() - 1);
    return Run(ctx, request,
               name.num_elements() == 1 ? name.values<std::string>() : Span<const std::string>());
  });
}

#define SM_TYPES "list({float,int64,string}) >= 0 = []"
#define SM_COUNTS                                                 \
  "Ncontext_sparse: int >= 0 = 0; Ncontext_dense: int >= 0 = 0; " \
  "Nfeature_list_sparse: int >= 0 = 0; Nfeature_list_dense: int >= 0 = 0; "
#define SM_CONTEXT_OUTPUTS                                                                        \
  "context_sparse_indices: Ncontext_sparse * int64, context_sparse_values: context_sparse_types," \
  " context_sparse_shapes: Ncontext_sparse * int64, context_dense_values: Tcontext_dense, "
#define SM_LIST_OUTPUTS                                         \
  "feature_list_sparse_indices: Nfeature_list_sparse * int64, " \
  "feature_list_sparse_values: feature_list_sparse_types, "     \
  "feature_list_sparse_shapes: Nfeature_list_sparse * int64, "  \
  "feature_list_dense_values: feature_list_dense_types"
#define SM_COMMON_ATTRS                                           \
  "context_sparse_types: " SM_TYPES "; Tcontext_dense: " SM_TYPES \
  "; feature_list_dense_types: " SM_TYPES                         \
  "; context_dense_shapes: list(shape) >= 0 = []; "               \
  "feature_list_sparse_types: " SM_TYPES "; feature_list_dense_shapes: list(shape) >= 0 = []"

constexpr OpDef kOps[] = {
    {.signature = "ParseSequenceExample(serialized: string, debug_name: string, "
                  "context_dense_defaults: Tcontext_dense) -> (" SM_CONTEXT_OUTPUTS SM_LIST_OUTPUTS
                  ", feature_list_dense_lengths: Nfeature_list_dense * int64); "
                  "feature_list_dense_missing_assumed_empty: list(string) >= 0; "
                  "context_sparse_keys: list(string) >= 0; context_dense_keys: list(string) >= 0; "
                  "feature_list_sparse_keys: list(string) >= 0; "
                  "feature_list_dense_keys: list(string) >= 0; " SM_COUNTS SM_COMMON_ATTRS,
     .shape = shape::Unknown,
     .build = BuildV1},
    {.signature =
         "ParseSequenceExampleV2(serialized: string, debug_name: string, "
         "context_sparse_keys: string, context_dense_keys: string, context_ragged_keys: string, "
         "feature_list_sparse_keys: string, feature_list_dense_keys: string, "
         "feature_list_ragged_keys: string, feature_list_dense_missing_assumed_empty: bool, "
         "context_dense_defaults: Tcontext_dense) -> (" SM_CONTEXT_OUTPUTS
         "context_ragged_values: context_ragged_value_types, "
         "context_ragged_row_splits: context_ragged_split_types, " SM_LIST_OUTPUTS
         ", feature_list_dense_lengths: Nfeature_list_dense * int64, "
         "feature_list_ragged_values: feature_list_ragged_value_types, "
         "feature_list_ragged_outer_splits: feature_list_ragged_split_types, "
         "feature_list_ragged_inner_splits: feature_list_ragged_split_types); "
         "Ncontext_sparse: int >= 0 = 0; context_ragged_value_types: " SM_TYPES
         "; context_ragged_split_types: list({int32,int64}) >= 0 = []; "
         "Nfeature_list_sparse: int >= 0 = 0; Nfeature_list_dense: int >= 0 = 0; "
         "feature_list_ragged_value_types: " SM_TYPES
         "; feature_list_ragged_split_types: list({int32,int64}) >= 0 = []; " SM_COMMON_ATTRS,
     .shape = shape::Unknown,
     .build = BuildV2},
    {.signature =
         "ParseSingleSequenceExample(serialized: string, "
         "feature_list_dense_missing_assumed_empty: string, "
         "context_sparse_keys: Ncontext_sparse * string, "
         "context_dense_keys: Ncontext_dense * string, "
         "feature_list_sparse_keys: Nfeature_list_sparse * string, "
         "feature_list_dense_keys: Nfeature_list_dense * string, "
         "context_dense_defaults: Tcontext_dense, debug_name: string) -> (" SM_CONTEXT_OUTPUTS
             SM_LIST_OUTPUTS "); " SM_COUNTS SM_COMMON_ATTRS,
     .shape = shape::Unknown,
     .build = BuildSingle},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ParseSequenceExampleOps() { return kOps; }

}  // namespace savedmodel
