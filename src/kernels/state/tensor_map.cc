// Maps from tensors to tensors, held in variants.
#include <map>
#include <utility>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/state/elements.h"
#include "src/kernels/state/keep_input.h"
#include "src/kernels/state/nested_variant.h"
#include "src/kernels/state/state_ops.h"

namespace savedmodel {
namespace {

// Entries by what their keys are written as; a key is equal in dtype, shape and elements.
struct TensorMap final : NestedVariant {
  struct Entry {
    Tensor key, value;
  };
  std::string_view kind() const override { return "tensor map"; }
  std::map<std::string, Entry> entries;
};

StatusOr<std::string> Encode(const Tensor& key) {
  std::string code = key.TypeString();
  if (const std::string* strings = key.data<std::string>()) {
    for (int64_t i = 0; i < key.num_elements(); ++i) {
      code += StrCat("|", strings[i].size(), ":", strings[i]);
    }
    return code;
  }
  SM_CHECK_ARG(IsPlainData(key.dtype()), "a ", key.dtype(), " cannot be a key");
  code.append(static_cast<const char*>(key.raw_data()), key.num_bytes());
  return code;
}

StatusOr<const TensorMap*> MapInput(const OpContext& ctx) {
  const Tensor& handle = ctx.input(0);
  const auto* map = handle.num_elements() == 1
                        ? dynamic_cast<const TensorMap*>(handle.data<VariantRef>()->get())
                        : nullptr;
  SM_CHECK_ARG(map != nullptr, "input 0 is no tensor map");
  return map;
}

// A map to be changed: that of input 0 where nobody else holds it, else a copy.
StatusOr<std::pair<Tensor, TensorMap*>> TakeMap(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const TensorMap* map, MapInput(ctx));
  Tensor handle = ctx.TakeInput(0);
  if (handle.exclusive() && handle.data<VariantRef>()->use_count() == 1) {
    return std::pair(std::move(handle), const_cast<TensorMap*>(map));
  }
  auto copy = std::make_shared<TensorMap>(*map);
  TensorMap* changed = copy.get();
  return std::pair(Tensor::Scalar<VariantRef>(std::move(copy)), changed);
}

Status RunEmpty(OpContext& ctx) {
  ctx.set_output(0, Tensor::Scalar<VariantRef>(std::make_shared<TensorMap>()));
  return Status();
}

Status RunInsert(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(std::string code, Encode(ctx.input(1)));
  SM_ASSIGN_OR_RETURN(auto taken, TakeMap(ctx));
  SM_ASSIGN_OR_RETURN(Tensor key, KeepInput(ctx, 1));
  SM_ASSIGN_OR_RETURN(Tensor value, KeepInput(ctx, 2));
  SM_RETURN_IF_ERROR(taken.second->Admit(value));
  taken.second->entries[std::move(code)] = {std::move(key), std::move(value)};
  ctx.set_output(0, std::move(taken.first));
  return Status();
}

Status RunErase(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const std::string code, Encode(ctx.input(1)));
  SM_ASSIGN_OR_RETURN(auto taken, TakeMap(ctx));
  SM_CHECK_ARG(taken.second->entries.erase(code) > 0, "the map has no key ",
               ctx.input(1).ToString(), " to be erased");
  ctx.set_output(0, std::move(taken.first));
  return Status();
}

Status RunHasKey(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const TensorMap* map, MapInput(ctx));
  SM_ASSIGN_OR_RETURN(const std::string code, Encode(ctx.input(1)));
  *ctx.out<bool>(0) = map->entries.count(code) > 0;
  return Status();
}

Status RunLookup(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const TensorMap* map, MapInput(ctx));
  SM_ASSIGN_OR_RETURN(const std::string code, Encode(ctx.input(1)));
  const auto it = map->entries.find(code);
  SM_CHECK_ARG(it != map->entries.end(), "the map has no key ", ctx.input(1).ToString());
  SM_CHECK_ARG(it->second.value.dtype() == ctx.output_dtype(0), "the value is ",
               it->second.value.TypeString(), ", expected dtype ", ctx.output_dtype(0));
  ctx.set_output(0, it->second.value);
  return Status();
}

Status RunSize(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const TensorMap* map, MapInput(ctx));
  *ctx.out<int32_t>(0) = static_cast<int32_t>(map->entries.size());
  return Status();
}

Status RunStackKeys(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const TensorMap* map, MapInput(ctx));
  SM_CHECK_ARG(!map->entries.empty(), "the map is empty: its keys have no shape");
  const Shape shape = map->entries.begin()->second.key.shape();
  const int64_t n = static_cast<int64_t>(map->entries.size());
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, shape.WithInserted(0, n)));
  int64_t at = 0;
  for (const auto& [code, entry] : map->entries) {
    SM_CHECK_ARG(entry.key.dtype() == ctx.output_dtype(0) && entry.key.shape() == shape,
                 "found a key ", entry.key.TypeString(), ", expected ", ctx.output_dtype(0), shape,
                 " as the others");
    SM_RETURN_IF_ERROR(CopyElements(entry.key, 0, ctx.output(0), at, shape.num_elements()));
    at += shape.num_elements();
  }
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "EmptyTensorMap() -> (handle: variant)",
     .shape = shape::Scalar,
     .build = BuildPlain<RunEmpty>},
    {.signature = "TensorMapErase(input_handle: variant, key: key_dtype) -> "
                  "(output_handle: variant); key_dtype: type; value_dtype: type",
     .shape = shape::Scalar,
     .build = BuildPlain<RunErase>},
    {.signature = "TensorMapHasKey(input_handle: variant, key: key_dtype) -> (has_key: bool); "
                  "key_dtype: type",
     .shape = shape::Scalar,
     .build = BuildPlain<RunHasKey>},
    {.signature = "TensorMapInsert(input_handle: variant, key: key_dtype, value: value_dtype) -> "
                  "(output_handle: variant); key_dtype: type; value_dtype: type",
     .shape = shape::Scalar,
     .build = BuildPlain<RunInsert>},
    {.signature = "TensorMapLookup(input_handle: variant, key: key_dtype) -> "
                  "(value: value_dtype); key_dtype: type; value_dtype: type",
     .shape = shape::Unknown,
     .build = BuildPlain<RunLookup>},
    {.signature = "TensorMapSize(input_handle: variant) -> (size: int32)",
     .shape = shape::Scalar,
     .build = BuildPlain<RunSize>},
    {.signature = "TensorMapStackKeys(input_handle: variant) -> (keys: key_dtype); "
                  "key_dtype: type",
     .shape = shape::Unknown,
     .build = BuildPlain<RunStackKeys>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> TensorMapOps() { return kOps; }

}  // namespace savedmodel
