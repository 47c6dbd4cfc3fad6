// ParseExample, ParseExampleV2, ParseSingleExample.
#include <algorithm>
#include <memory>

#include "src/base/ceil_div.h"
#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/io/example.h"
#include "src/kernels/io/io_ops.h"
#include "src/kernels/io/wire.h"

namespace savedmodel {
namespace {

using Parts = std::vector<std::vector<ColumnData>>;

// All features asked for: first the sparse, then the dense, then the ragged ones.
struct Request {
  std::vector<FeatureColumn> columns;
  KeyIndex index;
  size_t num_sparse = 0, num_dense = 0;
  bool batched = true;

  // The first output of column i: indices of sparse, values of dense and ragged columns.
  int OutputOf(size_t i) const { return static_cast<int>(i < num_sparse ? i : 2 * num_sparse + i); }
  void Add(FeatureColumn column) {
    index.Add(column);
    columns.push_back(std::move(column));
  }
  void AddList(const std::string& key, DType dtype) {
    FeatureColumn column;
    column.key = key;
    column.dtype = dtype;
    Add(std::move(column));
  }
};

// What parsing a run of examples needs again and again.
struct Scratch {
  std::vector<FoundValue> found;
  KeyIndex::Order order;
};

Status ParseOne(const Request& request, const std::string& serialized, Where where,
                Scratch* scratch, std::vector<ColumnData>* out) {
  std::vector<FoundValue>& found = scratch->found;
  found.resize(request.columns.size());
  bool ok = true;
  WireReader example(serialized);
  while (ok && example.Next()) {
    if (example.field() == 1 && example.is_bytes()) {
      ok = request.index.Find(example.bytes(), &found, &scratch->order);
    }
  }
  SM_CHECK_ARG(ok && example.ok(), "Could not parse example input, ", where());
  const FeatureColumn* column = request.columns.data();
  ColumnData* data = out->data();
  for (FoundValue& value : found) {
    SM_RETURN_IF_ERROR(AppendFeature(*column++, value, where, data++));
    value = {};
  }
  return Status();
}

// Columns for examples [begin, end), with room for one value of each.
std::vector<ColumnData> ColumnsFor(OpContext& ctx, const Request& request, size_t begin,
                                   size_t end) {
  std::vector<ColumnData> columns(request.columns.size());
  for (size_t i = 0; i < columns.size(); ++i) {
    const FeatureColumn& column = request.columns[i];
    if (column.form == FeatureColumn::Form::kDense) {
      columns[i].row = static_cast<char*>(ctx.output(request.OutputOf(i)).raw_mutable_data()) +
                       begin * static_cast<size_t>(column.stride) * DTypeSize(column.dtype);
    } else {
      columns[i].counts.reserve(end - begin);
      columns[i].values.Reserve(column.dtype, static_cast<int64_t>(end - begin));
    }
  }
  return columns;
}

// Examples in runs, several runs at once. The error is that of the first example
// that has one.
StatusOr<Parts> ParseAll(OpContext& ctx, const Request& request, Span<const std::string> examples,
                         Span<const std::string> names) {
  const int64_t n = std::max<int64_t>(static_cast<int64_t>(examples.size()), 1);
  const int threads = ctx.run().pool == nullptr ? 1 : ctx.run().pool->num_threads();
  // Of several threads, four runs each, in steps of 16: rows of a run fill whole cache lines.
  const size_t run = static_cast<size_t>(threads == 1 ? n : CeilDiv(n, threads * 4 * 16) * 16);
  Parts parts((examples.size() + run - 1) / run);
  std::vector<Status> errors(parts.size());
  size_t bytes = 0;
  for (const std::string& example : examples) bytes += example.size();
  const double cost = 1000 + 1.0 * static_cast<double>(bytes / std::max<size_t>(parts.size(), 1));
  ctx.ParallelFor(static_cast<int64_t>(parts.size()), cost, [&](int64_t begin, int64_t end) {
    for (size_t part = static_cast<size_t>(begin); part < static_cast<size_t>(end); ++part) {
      const size_t last = std::min(examples.size(), (part + 1) * run);
      parts[part] = ColumnsFor(ctx, request, part * run, last);
      Scratch scratch;
      for (size_t i = part * run; i < last && errors[part].ok(); ++i) {
        const auto where = [&] {
          return names.empty() ? StrCat("Index: ", i) : StrCat("Name: ", names[i], ", Index: ", i);
        };
        errors[part] = ParseOne(request, examples[i], where, &scratch, &parts[part]);
      }
    }
  });
  for (Status& error : errors) SM_RETURN_IF_ERROR(std::move(error));
  return parts;
}

// Outputs come in the order of the signature: indices, values and shapes of all sparse features,
// then dense values, then values and splits of ragged features.
Status Emit(OpContext& ctx, const Request& request, Parts parts) {
  const int sparse = static_cast<int>(request.num_sparse);
  const size_t lists = request.num_sparse + request.num_dense;
  const int ragged = static_cast<int>(request.columns.size() - lists);
  for (size_t i = 0; i < request.columns.size(); ++i) {
    const FeatureColumn& column = request.columns[i];
    const int output = request.OutputOf(i);
    if (i < request.num_sparse) {
      SM_RETURN_IF_ERROR(EmitSparse(ctx, output, output + sparse, output + 2 * sparse, column.dtype,
                                    parts, i, request.batched));
    } else if (column.form == FeatureColumn::Form::kPadded) {
      SM_RETURN_IF_ERROR(EmitPadded(ctx, output, column, parts, i, request.batched));
    } else if (i >= lists) {
      SM_RETURN_IF_ERROR(
          EmitRagged(ctx, output, output + ragged, column.dtype, parts, i, request.batched));
    }
  }
  return Status();
}

Status Run(OpContext& ctx, const Request& request, Span<const std::string> names) {
  const Span<const std::string> examples = ctx.input(0).values<std::string>();
  SM_CHECK_ARG(names.empty() || names.size() == examples.size(), "names: found ", names.size(),
               ", expected one for each of ", examples.size(), " examples, or none");
  for (size_t i = 0; i < request.columns.size(); ++i) {
    if (request.columns[i].form != FeatureColumn::Form::kDense) continue;
    SM_RETURN_IF_ERROR(PlaceDense(ctx, request.OutputOf(i), request.columns[i],
                                  static_cast<int64_t>(examples.size()), request.batched));
  }
  SM_ASSIGN_OR_RETURN(Parts parts, ParseAll(ctx, request, examples, names));
  // Where there is no example there still are (empty) columns.
  if (parts.empty()) parts.emplace_back(request.columns.size());
  return Emit(ctx, request, std::move(parts));
}

// ------------------------------------------------------------------------------- ParseExample V1

StatusOr<KernelPtr> BuildParseExample(BuildContext& build) {
  const Attrs& attrs = build.attrs();
  const int num_sparse = static_cast<int>(attrs.Int("Nsparse"));
  const int num_dense = static_cast<int>(attrs.Int("Ndense"));
  const std::vector<DType> sparse_types = attrs.Types("sparse_types");
  const std::vector<Shape> shapes = attrs.Get<std::vector<Shape>>("dense_shapes");
  SM_CHECK_ARG(static_cast<int>(sparse_types.size()) == num_sparse &&
                   static_cast<int>(shapes.size()) == num_dense &&
                   static_cast<int>(attrs.Types("Tdense").size()) == num_dense,
               "found ", sparse_types.size(), " sparse types, ", shapes.size(),
               " dense shapes, expected ", num_sparse, " and ", num_dense);
  return MakeKernel([=](OpContext& ctx) -> Status {
    Request request;
    request.num_sparse = static_cast<size_t>(num_sparse);
    request.num_dense = static_cast<size_t>(num_dense);
    for (int i = 2; i < 2 + num_sparse + num_dense; ++i) {
      SM_CHECK_ARG(ctx.input(i).num_elements() == 1, "feature key: found shape ",
                   ctx.input(i).shape(), ", expected a scalar");
    }
    for (int i = 0; i < num_sparse; ++i) {
      request.AddList(*ctx.in<std::string>(2 + i), sparse_types[static_cast<size_t>(i)]);
    }
    for (int i = 0; i < num_dense; ++i) {
      SM_ASSIGN_OR_RETURN(
          FeatureColumn column,
          DenseColumn(*ctx.in<std::string>(2 + num_sparse + i), shapes[static_cast<size_t>(i)],
                      ctx.input(2 + num_sparse + num_dense + i), true));
      request.Add(std::move(column));
    }
    return Run(ctx, request, ctx.input(1).values<std::string>());
  });
}

// ------------------------------------------------------------------------------- ParseExample V2

// Types and shapes that the node's attributes say.
struct TypesV2 {
  std::vector<DType> sparse, ragged;
  std::vector<Shape> dense;
};

// `input(i)` is input i of the node; names and examples are not looked at.
StatusOr<Request> RequestV2(const TypesV2& types, FunctionRef<const Tensor&(int)> input,
                            bool batched) {
  const Span<const std::string> sparse_keys = input(2).values<std::string>();
  const Span<const std::string> dense_keys = input(3).values<std::string>();
  const Span<const std::string> ragged_keys = input(4).values<std::string>();
  SM_CHECK_ARG(sparse_keys.size() == types.sparse.size() &&
                   dense_keys.size() == types.dense.size() &&
                   ragged_keys.size() == types.ragged.size(),
               "found ", sparse_keys.size(), " sparse, ", dense_keys.size(), " dense and ",
               ragged_keys.size(), " ragged keys, expected ", types.sparse.size(), ", ",
               types.dense.size(), " and ", types.ragged.size());
  Request request;
  request.num_sparse = types.sparse.size();
  request.num_dense = types.dense.size();
  request.batched = batched;
  for (size_t i = 0; i < sparse_keys.size(); ++i) request.AddList(sparse_keys[i], types.sparse[i]);
  for (size_t i = 0; i < dense_keys.size(); ++i) {
    SM_ASSIGN_OR_RETURN(FeatureColumn column, DenseColumn(dense_keys[i], types.dense[i],
                                                          input(5 + static_cast<int>(i)), batched));
    request.Add(std::move(column));
  }
  for (size_t i = 0; i < ragged_keys.size(); ++i) request.AddList(ragged_keys[i], types.ragged[i]);
  return request;
}

// The request of a batch, made once where keys and defaults are constants; null where they are not,
// or do not go together, which the run reports.
std::shared_ptr<const Request> ConstantRequestV2(const BuildContext& build, const TypesV2& types) {
  for (int i = 2; i < build.num_inputs(); ++i) {
    if (build.constant_input(i) == nullptr) return nullptr;
  }
  StatusOr<Request> request = RequestV2(
      types, [&](int i) -> const Tensor& { return *build.constant_input(i); }, true);
  return request.ok() ? std::make_shared<const Request>(*std::move(request)) : nullptr;
}

StatusOr<KernelPtr> BuildParseExampleV2(BuildContext& build) {
  const Attrs& attrs = build.attrs();
  const size_t num_sparse = static_cast<size_t>(attrs.Int("num_sparse"));
  const TypesV2 types{.sparse = attrs.Types("sparse_types"),
                      .ragged = attrs.Types("ragged_value_types"),
                      .dense = attrs.Get<std::vector<Shape>>("dense_shapes")};
  SM_CHECK_ARG(types.sparse.size() == num_sparse &&
                   types.dense.size() == attrs.Types("Tdense").size() &&
                   attrs.Types("ragged_split_types").size() == types.ragged.size(),
               "found ", types.sparse.size(), " sparse types, ", types.dense.size(),
               " dense shapes, ", types.ragged.size(), " ragged types, expected ", num_sparse, ", ",
               attrs.Types("Tdense").size(), " and as many as ragged split types");
  return MakeKernel([types, constant = ConstantRequestV2(build, types)](OpContext& ctx) -> Status {
    const bool batched = ctx.input(0).shape().rank() == 1;
    const Span<const std::string> names = ctx.input(1).values<std::string>();
    if (constant != nullptr && batched) return Run(ctx, *constant, names);
    SM_ASSIGN_OR_RETURN(const Request request,
                        RequestV2(
                            types, [&](int i) -> const Tensor& { return ctx.input(i); }, batched));
    return Run(ctx, request, names);
  });
}

// ---------------------------------------------------------------------------- ParseSingleExample

StatusOr<KernelPtr> BuildParseSingleExample(BuildContext& build) {
  const Attrs& attrs = build.attrs();
  const std::vector<std::string> sparse_keys = attrs.Get<std::vector<std::string>>("sparse_keys");
  const std::vector<std::string> dense_keys = attrs.Get<std::vector<std::string>>("dense_keys");
  const std::vector<DType> sparse_types = attrs.Types("sparse_types");
  const std::vector<Shape> shapes = attrs.Get<std::vector<Shape>>("dense_shapes");
  SM_CHECK_ARG(
      sparse_keys.size() == static_cast<size_t>(attrs.Int("num_sparse")) &&
          sparse_types.size() == sparse_keys.size() && shapes.size() == dense_keys.size() &&
          attrs.Types("Tdense").size() == dense_keys.size(),
      "found ", sparse_keys.size(), " sparse keys, ", sparse_types.size(), " sparse types, ",
      dense_keys.size(), " dense keys, ", shapes.size(), " dense shapes, expected as many of each");
  return MakeKernel([=](OpContext& ctx) -> Status {
    Request request;
    request.num_sparse = sparse_keys.size();
    request.num_dense = dense_keys.size();
    request.batched = false;
    for (size_t i = 0; i < sparse_keys.size(); ++i) {
      request.AddList(sparse_keys[i], sparse_types[i]);
    }
    for (size_t i = 0; i < dense_keys.size(); ++i) {
      SM_ASSIGN_OR_RETURN(
          FeatureColumn column,
          DenseColumn(dense_keys[i], shapes[i], ctx.input(1 + static_cast<int>(i)), false));
      request.Add(std::move(column));
    }
    return Run(ctx, request, {});
  });
}

// What attributes and the number of examples say of the outputs: `batch` is the shape of the
// examples, of rank 0 or 1. Outputs are in the order of the signatures.
void SetShapes(ShapeContext& ctx, const Shape& batch, int64_t num_sparse) {
  const bool batched = batch.rank() == 1;
  int output = 0;
  const auto set = [&](Shape shape) {
    if (output < ctx.num_outputs()) ctx.set_output(output++, std::move(shape));
  };
  for (int64_t i = 0; i < num_sparse; ++i) set(Shape({-1, batched ? 2 : 1}));
  for (int64_t i = 0; i < num_sparse; ++i) set(Shape({-1}));
  for (int64_t i = 0; i < num_sparse; ++i) set(Shape({batched ? 2 : 1}));
  for (const Shape& shape : ctx.attrs().Get<std::vector<Shape>>("dense_shapes")) {
    set(batched && shape.known_rank() ? shape.WithInserted(0, batch[0]) : shape);
  }
  const size_t num_ragged = ctx.attrs().Types("ragged_value_types").size();
  for (size_t i = 0; i < num_ragged; ++i) set(Shape({-1}));
  const int64_t splits = !batched ? 0 : batch[0] < 0 ? -1 : batch[0] + 1;
  for (size_t i = 0; i < num_ragged; ++i) set(Shape({splits}));
}

Status ParseExampleShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 1));
  SetShapes(ctx, ctx.input(0).known_rank() ? ctx.input(0) : Shape({-1}),
            ctx.attrs().Int("Nsparse"));
  return Status();
}

Status ParseExampleV2Shape(ShapeContext& ctx) {
  const Shape& batch = ctx.input(0);
  SM_CHECK_ARG(!batch.known_rank() || batch.rank() <= 1, "serialized: found shape ", batch,
               ", expected a scalar or a vector");
  if (batch.known_rank()) SetShapes(ctx, batch, ctx.attrs().Int("num_sparse"));
  return Status();
}

Status ParseSingleExampleShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 0));
  SetShapes(ctx, Shape(), ctx.attrs().Int("num_sparse"));
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature =
         "ParseExample(serialized: string, names: string, sparse_keys: Nsparse * string, "
         "dense_keys: Ndense * string, dense_defaults: Tdense) -> (sparse_indices: Nsparse * "
         "int64, "
         "sparse_values: sparse_types, sparse_shapes: Nsparse * int64, dense_values: Tdense); "
         "Nsparse: int >= 0; Ndense: int >= 0; sparse_types: list({float,int64,string}) >= 0; "
         "Tdense: list({float,int64,string}) >= 0; dense_shapes: list(shape) >= 0",
     .shape = ParseExampleShape,
     .build = BuildParseExample},
    {.signature = "ParseExampleV2(serialized: string, names: string, sparse_keys: string, "
                  "dense_keys: string, ragged_keys: string, dense_defaults: Tdense) -> "
                  "(sparse_indices: num_sparse * int64, sparse_values: sparse_types, "
                  "sparse_shapes: num_sparse * int64, dense_values: Tdense, "
                  "ragged_values: ragged_value_types, ragged_row_splits: ragged_split_types); "
                  "Tdense: list({float,int64,string}) >= 0; num_sparse: int >= 0; "
                  "sparse_types: list({float,int64,string}) >= 0; "
                  "ragged_value_types: list({float,int64,string}) >= 0; "
                  "ragged_split_types: list({int32,int64}) >= 0; dense_shapes: list(shape) >= 0",
     .shape = ParseExampleV2Shape,
     .build = BuildParseExampleV2},
    {.signature = "ParseSingleExample(serialized: string, dense_defaults: Tdense) -> "
                  "(sparse_indices: num_sparse * int64, sparse_values: sparse_types, "
                  "sparse_shapes: num_sparse * int64, dense_values: Tdense); num_sparse: int >= 0; "
                  "sparse_keys: list(string) >= 0; dense_keys: list(string) >= 0; "
                  "sparse_types: list({float,int64,string}) >= 0; "
                  "Tdense: list({float,int64,string}) >= 0; dense_shapes: list(shape) >= 0",
     .shape = ParseSingleExampleShape,
     .build = BuildParseSingleExample},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ParseExampleOps() { return kOps; }

}  // namespace savedmodel
