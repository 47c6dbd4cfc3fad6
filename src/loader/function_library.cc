#include "src/loader/function_library.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <optional>

#include "proto/savedmodel_graph.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/proto_parsing.h"

namespace savedmodel {
namespace {

// What tells one instance of a function from another: its name, and the values of its type
// parameters. Nothing when a value has no short text (tensors, functions): those are not kept.
std::optional<std::string> InstanceKey(const proto::FunctionDef& function, const Attrs* attrs) {
  std::string key = function.signature().name();
  if (attrs == nullptr) return key;
  for (const auto& declared : function.signature().attr()) {
    const AttrValue* value = attrs->Find(declared.name());
    if (value == nullptr) continue;
    key += StrCat("|", declared.name(), "=");
    if (const auto* type = std::get_if<DType>(value)) {
      key += DTypeName(*type);
    } else if (const auto* types = std::get_if<std::vector<DType>>(value)) {
      key += StrJoin(*types, ",");
    } else if (const auto* number = std::get_if<int64_t>(value)) {
      key += std::to_string(*number);
    } else if (const auto* flag = std::get_if<bool>(value)) {
      key += *flag ? "true" : "false";
    } else {
      return std::nullopt;
    }
  }
  return key;
}

}  // namespace

StatusOr<std::shared_ptr<ProtoFunctionLibrary>> ProtoFunctionLibrary::Make(
    std::shared_ptr<const void> owner, const proto::FunctionDefLibrary& library,
    const OpRegistry& registry, const ImportOptions& options) {
  std::shared_ptr<ProtoFunctionLibrary> result(
      new ProtoFunctionLibrary(std::move(owner), registry, options));
  result->index_.reserve(library.function_size());
  for (const proto::FunctionDef& function : library.function()) {
    const std::string& name = function.signature().name();
    if (name.empty()) return InvalidArgument("function library: found a function without a name");
    if (registry.Find(name) != nullptr) {
      return InvalidArgument("function library: found a function named '", name,
                             "', which is the name of an op");
    }
    if (!result->index_.emplace(name, &function).second) {
      return InvalidArgument("function library: found two functions named '", name,
                             "', expected names to differ");
    }
  }
  return result;
}

StatusOr<std::shared_ptr<const GraphFunction>> ProtoFunctionLibrary::Get(const FuncAttr& f) const {
  auto it = index_.find(f.name);
  if (it == index_.end()) {
    return NotFound("function '", f.name, "' is not in the function library of the graph");
  }
  const std::optional<std::string> key = InstanceKey(*it->second, f.attrs.get());
  if (key.has_value()) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto found = converted_.find(*key);
    if (found != converted_.end()) return found->second;
  }
  StatusOr<std::shared_ptr<const GraphFunction>> function = Import(*it->second, f.attrs.get());
  if (!function.ok()) return function.status().At(StrCat("function '", f.name, "'"));
  if (!key.has_value()) return function;
  std::lock_guard<std::mutex> lock(mutex_);
  return converted_.emplace(*key, *function).first->second;  // another thread's, if it was first
}

StatusOr<std::shared_ptr<const GraphFunction>> ProtoFunctionLibrary::Import(
    const proto::FunctionDef& function, const Attrs* attrs) const {
  if (function.unparsed().empty()) {
    return ImportFunction(function, attrs, index_, registry_, options_);
  }
  google::protobuf::Arena arena;
  auto* parsed = google::protobuf::Arena::CreateMessage<proto::FunctionDef>(&arena);
  SM_RETURN_IF_ERROR(ParseBinary(function.unparsed(), "function library", parsed));
  return ImportFunction(*parsed, attrs, index_, registry_, options_);
}

std::vector<std::string> ProtoFunctionLibrary::Names() const {
  std::vector<std::string> names;
  names.reserve(index_.size());
  for (const auto& [name, function] : index_) names.emplace_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace savedmodel
