// Table ops. A table of TensorFlow 1 is known by a reference to its name; here that is a handle,
// too.
#include <utility>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/state/lookup_table.h"
#include "src/kernels/state/resource_input.h"
#include "src/kernels/state/state_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

constexpr DTypeSet kKeys = kReals | Only(DType::kBool) | Only(DType::kString);

StatusOr<LookupTable::Spec> TableSpec(const BuildContext& build) {
  LookupTable::Spec spec;
  spec.key_dtype = build.attrs().Type("key_dtype");
  spec.value_dtype = build.attrs().Type("value_dtype");
  spec.value_shape = build.attrs().Get<Shape>("value_shape");
  spec.is_mutable = build.op_name().find("Mutable") != std::string::npos;
  SM_CHECK_ARG((kKeys & Only(spec.key_dtype)) != 0, "tables with keys of ", spec.key_dtype,
               " are not supported");
  SM_CHECK_ARG(spec.value_shape.fully_known(), "values have shape ", spec.value_shape,
               ", expected a known one");
  return spec;
}

bool IsAnonymous(const BuildContext& build) { return build.op_name().rfind("Anonymous", 0) == 0; }

StatusOr<KernelPtr> BuildTable(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(LookupTable::Spec spec, TableSpec(build));
  auto make = [spec = std::move(spec)] { return std::make_shared<LookupTable>(spec); };
  if (IsAnonymous(build)) return MakeAnonymousKernel(std::move(make));
  return MakeHandleKernel(build, "table", std::move(make));
}

// The keys' shape, and the keys that stand for no key, are inputs.
StatusOr<KernelPtr> BuildDenseTable(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(LookupTable::Spec spec, TableSpec(build));
  const std::string name = IsAnonymous(build) ? "" : SharedName(build);
  const std::string key = ResourceTable::Key("table", build.attrs().String("container"), name);
  return MakeKernel([spec, name, key](OpContext& ctx) -> Status {
    LookupTable::Spec own = spec;
    own.key_shape = ctx.input(0).shape();
    SM_CHECK_ARG(own.key_shape.num_elements() > 0, "the empty key has shape ", own.key_shape,
                 ", expected one with elements");
    SM_CHECK_ARG(own.key_shape.rank() == 0 || spec.key_dtype != DType::kString,
                 "keys that are string tensors are not supported");
    for (int i = 0; i < ctx.num_inputs(); ++i) {
      SM_CHECK_ARG(ctx.input(i).shape() == own.key_shape, "the deleted key has shape ",
                   ctx.input(i).shape(), ", the empty key ", own.key_shape);
      SM_ASSIGN_OR_RETURN(Tensor reserved, ctx.input(i).Clone());
      own.reserved_keys.push_back(std::move(reserved));
    }
    auto make = [&] {
      ResourceRef table = std::make_shared<LookupTable>(std::move(own));
      table->set_name(name);
      return table;
    };
    ResourceTable* resources = ctx.run().resources;
    const bool shared = !name.empty() && resources != nullptr;
    ctx.set_output(
        0, Tensor::Scalar<ResourceRef>(shared ? resources->GetOrCreate(key, make) : make()));
    return Status();
  });
}

StatusOr<LookupTable*> TableInput(const OpContext& ctx) {
  return ResourceInput<LookupTable>(ctx, 0, "table");
}

Status RunInitialize(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(LookupTable * table, TableInput(ctx));
  SM_CHECK_ARG(ctx.input(1).shape().rank() == 1, "keys have shape ", ctx.input(1).shape(),
               ", expected a vector");
  return table->Initialize(ctx.input(1), ctx.input(2));
}

StatusOr<KernelPtr> BuildInitializeFromFile(BuildContext& build) {
  return MakeKernel([attrs = build.attrs()](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(LookupTable * table, TableInput(ctx));
    return InitializeFromTextFile(ctx, *table, attrs);
  });
}

Status RunFind(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(LookupTable * table, TableInput(ctx));
  return table->Find(ctx, ctx.input(1), ctx.input(2), 0);
}

// String keys are scalars; a scalar default says that values are.
Status FindShape(ShapeContext& ctx) {
  if (ctx.input_dtype(1) == DType::kString && ctx.input(2).rank() == 0) {
    ctx.set_output(0, ctx.input(1));
  }
  return Status();
}

Status RunInsert(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(LookupTable * table, TableInput(ctx));
  return table->Insert(ctx.input(1), ctx.input(2));
}

Status RunImport(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(LookupTable * table, TableInput(ctx));
  return table->Import(ctx.input(1), ctx.input(2));
}

Status RunRemove(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(LookupTable * table, TableInput(ctx));
  return table->Remove(ctx.input(1));
}

Status RunExport(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(LookupTable * table, TableInput(ctx));
  return table->Export(ctx);
}

Status RunSize(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(LookupTable * table, TableInput(ctx));
  *ctx.out<int64_t>(0) = table->size();
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "AnonymousHashTable() -> (table_handle: resource); key_dtype: type; "
                  "value_dtype: type",
     .effects = Effects::kRandom,
     .shape = shape::Scalar,
     .build = BuildTable},
    {.signature = "AnonymousMutableDenseHashTable(empty_key: key_dtype, deleted_key: "
                  "key_dtype) -> (table_handle: resource); key_dtype: type; value_dtype: type; "
                  "value_shape: shape = []; initial_num_buckets: int = 131072; "
                  "max_load_factor: float = 0.8",
     .effects = Effects::kRandom,
     .shape = shape::Scalar,
     .build = BuildDenseTable},
    {.signature = "AnonymousMutableHashTable() -> (table_handle: resource); key_dtype: type; "
                  "value_dtype: type",
     .effects = Effects::kRandom,
     .shape = shape::Scalar,
     .build = BuildTable},
    {.signature = "AnonymousMutableHashTableOfTensors() -> (table_handle: resource); "
                  "key_dtype: type; value_dtype: type; value_shape: shape = []",
     .effects = Effects::kRandom,
     .shape = shape::Scalar,
     .build = BuildTable},
    {.signature = "HashTable() -> (table_handle: Ref(string)); container: string = ''; "
                  "shared_name: string = ''; use_node_name_sharing: bool = false; key_dtype: "
                  "type; value_dtype: type",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildTable},
    {.signature = "HashTableV2() -> (table_handle: resource); container: string = ''; "
                  "shared_name: string = ''; use_node_name_sharing: bool = false; key_dtype: "
                  "type; value_dtype: type",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildTable},
    {.signature = "InitializeTable(table_handle: Ref(string), keys: Tkey, values: Tval) -> (); "
                  "Tkey: type; Tval: type",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunInitialize>},
    {.signature = "InitializeTableFromTextFile(table_handle: Ref(string), filename: string) -> "
                  "(); key_index: int >= -2; value_index: int >= -2; vocab_size: int >= -1 = "
                  "-1; delimiter: string = '\\t'; offset: int = 0",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildInitializeFromFile},
    {.signature = "InitializeTableFromTextFileV2(table_handle: resource, filename: string) -> "
                  "(); key_index: int >= -2; value_index: int >= -2; vocab_size: int >= -1 = "
                  "-1; delimiter: string = '\\t'; offset: int = 0",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildInitializeFromFile},
    {.signature = "InitializeTableV2(table_handle: resource, keys: Tkey, values: Tval) -> (); "
                  "Tkey: type; Tval: type",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunInitialize>},
    {.signature = "LookupTableExport(table_handle: Ref(string)) -> (keys: Tkeys, values: "
                  "Tvalues); Tkeys: type; Tvalues: type",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildPlain<RunExport>},
    {.signature = "LookupTableExportV2(table_handle: resource) -> (keys: Tkeys, values: "
                  "Tvalues); Tkeys: type; Tvalues: type",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildPlain<RunExport>},
    {.signature = "LookupTableFind(table_handle: Ref(string), keys: Tin, default_value: Tout) "
                  "-> (values: Tout); Tin: type; Tout: type",
     .effects = Effects::kReadsState,
     .shape = FindShape,
     .build = BuildPlain<RunFind>},
    {.signature = "LookupTableFindV2(table_handle: resource, keys: Tin, default_value: Tout) "
                  "-> (values: Tout); Tin: type; Tout: type",
     .effects = Effects::kReadsState,
     .shape = FindShape,
     .build = BuildPlain<RunFind>},
    {.signature = "LookupTableImport(table_handle: Ref(string), keys: Tin, values: Tout) -> "
                  "(); Tin: type; Tout: type",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunImport>},
    {.signature = "LookupTableImportV2(table_handle: resource, keys: Tin, values: Tout) -> (); "
                  "Tin: type; Tout: type",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunImport>},
    {.signature = "LookupTableInsert(table_handle: Ref(string), keys: Tin, values: Tout) -> "
                  "(); Tin: type; Tout: type",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunInsert>},
    {.signature = "LookupTableInsertV2(table_handle: resource, keys: Tin, values: Tout) -> (); "
                  "Tin: type; Tout: type",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunInsert>},
    {.signature = "LookupTableRemoveV2(table_handle: resource, keys: Tin) -> (); Tin: type",
     .effects = Effects::kWritesState,
     .shape = shape::NoOutputs,
     .build = BuildPlain<RunRemove>},
    {.signature = "LookupTableSize(table_handle: Ref(string)) -> (size: int64)",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunSize>},
    {.signature = "LookupTableSizeV2(table_handle: resource) -> (size: int64)",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildPlain<RunSize>},
    {.signature = "MutableDenseHashTable(empty_key: key_dtype) -> (table_handle: Ref(string)); "
                  "container: string = ''; shared_name: string = ''; use_node_name_sharing: "
                  "bool = false; key_dtype: type; value_dtype: type; value_shape: shape = []; "
                  "initial_num_buckets: int = 131072; max_load_factor: float = 0.8",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildDenseTable},
    {.signature = "MutableDenseHashTableV2(empty_key: key_dtype, deleted_key: key_dtype) -> "
                  "(table_handle: resource); container: string = ''; shared_name: string = ''; "
                  "use_node_name_sharing: bool = false; key_dtype: type; value_dtype: type; "
                  "value_shape: shape = []; initial_num_buckets: int = 131072; "
                  "max_load_factor: float = 0.8",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildDenseTable},
    {.signature = "MutableHashTable() -> (table_handle: Ref(string)); container: string = ''; "
                  "shared_name: string = ''; use_node_name_sharing: bool = false; key_dtype: "
                  "type; value_dtype: type",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildTable},
    {.signature = "MutableHashTableOfTensors() -> (table_handle: Ref(string)); container: "
                  "string = ''; shared_name: string = ''; use_node_name_sharing: bool = false; "
                  "key_dtype: type; value_dtype: type; value_shape: shape = []",
     .effects = Effects::kReadsState,
     .shape = shape::Unknown,
     .build = BuildTable},
    {.signature = "MutableHashTableOfTensorsV2() -> (table_handle: resource); container: "
                  "string = ''; shared_name: string = ''; use_node_name_sharing: bool = false; "
                  "key_dtype: type; value_dtype: type; value_shape: shape = []",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildTable},
    {.signature = "MutableHashTableV2() -> (table_handle: resource); container: string = ''; "
                  "shared_name: string = ''; use_node_name_sharing: bool = false; key_dtype: "
                  "type; value_dtype: type",
     .effects = Effects::kReadsState,
     .shape = shape::Scalar,
     .build = BuildTable},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> LookupTableOps() { return kOps; }

}  // namespace savedmodel
