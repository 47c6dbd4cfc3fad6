#include "src/loader/object_graph.h"

#include <utility>

#include "proto/savedmodel_model.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/tensor_proto.h"

namespace savedmodel {
namespace {

constexpr int kMaxNodes = 1'000'000;

Status CheckId(int id, int count, std::string_view what) {
  if (id >= 0 && id < count) return Status();
  return InvalidArgument(what, " refers to node ", id, ", expected one below ", count);
}

std::vector<std::string> Strings(const StructuredValue* value) {
  std::vector<std::string> strings;
  if (value == nullptr) return strings;
  for (const StructuredValue& item : value->items) strings.push_back(item.text);
  return strings;
}

StatusOr<FunctionSpec> SpecFromProto(const proto::FunctionSpec& proto) {
  FunctionSpec spec;
  spec.is_method = proto.is_method();
  SM_ASSIGN_OR_RETURN(spec.input_signature, StructuredValueFromProto(proto.input_signature()));
  SM_ASSIGN_OR_RETURN(const StructuredValue full, StructuredValueFromProto(proto.fullargspec()));
  if (full.kind != StructuredValue::Kind::kNamedTuple) return spec;
  spec.known = true;
  spec.args = Strings(full.Find("args"));
  spec.kwonlyargs = Strings(full.Find("kwonlyargs"));
  if (const auto* varargs = full.Find("varargs")) spec.varargs = varargs->text;
  if (const auto* varkw = full.Find("varkw")) spec.varkw = varkw->text;
  if (const auto* defaults = full.Find("defaults")) spec.defaults = defaults->items;
  if (const auto* defaults = full.Find("kwonlydefaults")) {
    for (size_t i = 0; i < defaults->keys.size(); ++i) {
      spec.kwonlydefaults[defaults->keys[i]] = defaults->items[i];
    }
  }
  if (spec.defaults.size() > spec.args.size()) {
    return InvalidArgument("found defaults for ", spec.defaults.size(), " of ", spec.args.size(),
                           " arguments");
  }
  return spec;
}

StatusOr<VariableFacts> VariableFromProto(const proto::SavedVariable& proto) {
  VariableFacts facts;
  StatusOr<DType> dtype = DTypeFromNumber(proto.dtype());
  if (!dtype.ok() && dtype.status().code() != StatusCode::kUnimplemented) return dtype.status();
  facts.dtype = dtype.value_or(DType::kInvalid);
  SM_ASSIGN_OR_RETURN(facts.shape, ShapeFromProto(proto.shape()));
  facts.trainable = proto.trainable();
  facts.name = proto.name();
  facts.device = proto.device();
  facts.num_components = proto.experimental_distributed_variable_components_size();
  return facts;
}

Status FillKind(const proto::SavedObject& proto, ObjectNode* node) {
  using Case = proto::SavedObject;
  switch (proto.kind_case()) {
    case Case::kUserObject:
    case Case::KIND_NOT_SET:
      node->identifier = proto.user_object().identifier();
      node->metadata = proto.user_object().metadata();
      break;
    case Case::kAsset:
      node->kind = ObjectKind::kAsset;
      node->asset_index = proto.asset().asset_file_def_index();
      break;
    case Case::kFunction: {
      node->kind = ObjectKind::kFunction;
      const auto& names = proto.function().concrete_functions();
      node->concrete_functions.assign(names.begin(), names.end());
      SM_ASSIGN_OR_RETURN(node->spec, SpecFromProto(proto.function().function_spec()));
      break;
    }
    case Case::kVariable: {
      node->kind = ObjectKind::kVariable;
      SM_ASSIGN_OR_RETURN(node->variable, VariableFromProto(proto.variable()));
      break;
    }
    case Case::kBareConcreteFunction: {
      node->kind = ObjectKind::kBareConcreteFunction;
      const auto& function = proto.bare_concrete_function();
      node->concrete_functions = {function.concrete_function_name()};
      node->argument_keywords.assign(function.argument_keywords().begin(),
                                     function.argument_keywords().end());
      node->allowed_positional_arguments = function.allowed_positional_arguments();
      SM_ASSIGN_OR_RETURN(node->spec, SpecFromProto(function.function_spec()));
      break;
    }
    case Case::kConstant:
      node->kind = ObjectKind::kConstant;
      node->tensor_name = proto.constant().operation();
      break;
    case Case::kResource:
      node->kind = ObjectKind::kResource;
      node->device = proto.resource().device();
      break;
    case Case::kCapturedTensor:
      node->kind = ObjectKind::kCapturedTensor;
      node->tensor_name = proto.captured_tensor().name();
      node->captured_in = proto.captured_tensor().concrete_function();
      break;
  }
  return Status();
}

template <class References>
Status FillChildren(const References& references, int count, std::vector<ObjectChild>* children) {
  for (const auto& child : references) {
    SM_RETURN_IF_ERROR(CheckId(child.node_id(), count, StrCat("child '", child.local_name(), "'")));
    children->push_back({child.local_name(), child.node_id()});
  }
  return Status();
}

template <class References>
Status FillSlots(const References& references, int count, std::vector<SlotVariable>* slots) {
  for (const auto& slot : references) {
    const std::string what = StrCat("slot variable '", slot.slot_name(), "'");
    SM_RETURN_IF_ERROR(CheckId(slot.original_variable_node_id(), count, what));
    SM_RETURN_IF_ERROR(CheckId(slot.slot_variable_node_id(), count, what));
    slots->push_back(
        {slot.original_variable_node_id(), slot.slot_name(), slot.slot_variable_node_id()});
  }
  return Status();
}

Status FillNode(const proto::SavedObject& proto, int count, ObjectNode* node) {
  SM_RETURN_IF_ERROR(FillChildren(proto.children(), count, &node->children));
  SM_RETURN_IF_ERROR(FillChildren(proto.dependencies(), count, &node->dependencies));
  SM_RETURN_IF_ERROR(FillSlots(proto.slot_variables(), count, &node->slots));
  for (const auto& [name, saveable] : proto.saveable_objects()) {
    SM_RETURN_IF_ERROR(CheckId(saveable.save_function(), count, "a save function"));
    SM_RETURN_IF_ERROR(CheckId(saveable.restore_function(), count, "a restore function"));
    node->saveables[name] = {saveable.save_function(), saveable.restore_function()};
  }
  node->registered_name = proto.registered_name();
  return FillKind(proto, node);
}

Status FillConcrete(const proto::SavedConcreteFunction& proto, int count,
                    ConcreteFunction* function) {
  for (int id : proto.bound_inputs()) {
    SM_RETURN_IF_ERROR(CheckId(id, count, "a captured input"));
    function->bound_inputs.push_back(id);
  }
  SM_ASSIGN_OR_RETURN(function->input_signature,
                      StructuredValueFromProto(proto.canonicalized_input_signature()));
  SM_ASSIGN_OR_RETURN(function->output_signature,
                      StructuredValueFromProto(proto.output_signature()));
  return Status();
}

}  // namespace

int ObjectNode::FindChild(const std::string& name) const {
  for (const ObjectChild& child : children) {
    if (child.name == name) return child.id;
  }
  return -1;
}

StatusOr<std::shared_ptr<const ObjectGraph>> ObjectGraphFromProto(
    const proto::SavedObjectGraph& proto) {
  const int count = proto.nodes_size();
  if (count > kMaxNodes) {
    return ResourceExhausted("object graph: found ", count, " nodes, expected at most ", kMaxNodes);
  }
  auto graph = std::make_shared<ObjectGraph>();
  graph->nodes.resize(count);
  for (int i = 0; i < count; ++i) {
    Status status = FillNode(proto.nodes(i), count, &graph->nodes[i]);
    if (!status.ok()) return status.At(StrCat("object graph: node ", i));
  }
  for (const auto& [name, function] : proto.concrete_functions()) {
    Status status = FillConcrete(function, count, &graph->concrete_functions[name]);
    if (!status.ok()) return status.At(StrCat("object graph: function '", name, "'"));
  }
  return std::shared_ptr<const ObjectGraph>(std::move(graph));
}

}  // namespace savedmodel
