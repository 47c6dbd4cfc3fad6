#include "src/loader/body_importer.h"

#include <memory>
#include <utility>

#include "proto/savedmodel_graph.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/attr_conversion.h"
#include "src/loader/call_check.h"
#include "src/loader/tensor_proto.h"

namespace savedmodel {
namespace {

// Outputs and edges of one graph. One attribute of a few bytes can declare a million outputs.
constexpr size_t kMaxEdges = size_t{1} << 24;

}  // namespace

StatusOr<ArgSpec> ArgSpecFromProto(const proto::OpDef_ArgDef& arg) {
  ArgSpec spec;
  spec.name = arg.name();
  spec.type_attr = arg.type_attr();
  spec.number_attr = arg.number_attr();
  spec.type_list_attr = arg.type_list_attr();
  spec.is_ref = arg.is_ref();
  if (arg.type() != proto::DT_INVALID) {
    StatusOr<DType> type = DTypeFromNumber(arg.type());
    if (!type.ok()) return type.status().At(StrCat("argument '", arg.name(), "'"));
    spec.type = *type;
    spec.type_attr.clear();
  } else if (spec.type_attr.empty() && spec.type_list_attr.empty()) {
    return InvalidArgument("argument '", arg.name(), "' of a function has no type");
  }
  return spec;
}

StatusOr<std::vector<DType>> ArgTypesOf(const ArgSpec& arg, const Attrs* attrs) {
  static const Attrs kNone;
  const Attrs& given = attrs == nullptr ? kNone : *attrs;
  for (const std::string* name : {&arg.type_attr, &arg.number_attr, &arg.type_list_attr}) {
    if (!name->empty() && !given.Has(*name)) {
      return InvalidArgument("argument '", arg.name,
                             "' of a function: its type is that of attribute '", *name,
                             "', which the caller does not give");
    }
  }
  SM_ASSIGN_OR_RETURN(std::vector<DType> types, ArgTypes({arg}, given));
  for (DType d : types) {
    if (d == DType::kInvalid) {
      return InvalidArgument("argument '", arg.name, "' of a function has no valid type");
    }
  }
  return types;
}

Status BodyImporter::Register(std::string name, NodeId id) {
  if (name.empty()) return InvalidArgument("node ", id, " has no name");
  const auto [it, inserted] = by_name_.emplace(std::move(name), id);
  if (inserted) return Status();
  return InvalidArgument("found two nodes named '", it->first, "', expected names to differ");
}

Status BodyImporter::Add(const proto::NodeDef& def) { return AddNode(def, Node()); }

Status BodyImporter::Take(proto::NodeDef* def) {
  Node node;
  if (def->op() == "Const") node.error = TakeConstValue(def, &node.attrs);
  return AddNode(*def, std::move(node));
}

Status BodyImporter::AddNode(const proto::NodeDef& def, Node node) {
  node.name = def.name();
  node.op = def.op();
  if (node.error.ok()) node.error = ConvertAttrs(def, call_attrs_, &node.attrs);
  const NodeId id = graph_.AddNode(std::move(node));
  return Register(def.name(), id);
}

NodeId BodyImporter::Find(std::string_view name) const {
  auto it = by_name_.find(std::string(name));
  return it == by_name_.end() ? -1 : it->second;
}

Status BodyImporter::ChargeEdges(size_t count) {
  edges_ += count;
  if (edges_ <= kMaxEdges) return Status();
  return ResourceExhausted("found more than ", kMaxEdges,
                           " inputs and outputs of nodes, expected fewer in one graph");
}

Status BodyImporter::ResolveOutputs() {
  for (NodeId id = 0; id < graph_.num_nodes(); ++id) {
    Node& node = graph_.node(id);
    if (node.is_arg() && node.output_types.empty()) {
      node.output_types = {node.attrs.Type("T")};
    }
    if (!node.error.ok() || node.is_arg()) continue;
    Status status = ResolveOne(id);
    graph_.node(id).error = std::move(status);
    SM_RETURN_IF_ERROR(ChargeEdges(graph_.node(id).output_types.size()));
  }
  return Status();
}

Status BodyImporter::ResolveOne(NodeId id) {
  Node& node = graph_.node(id);
  if (auto it = functions_.find(node.op); it != functions_.end()) {
    SM_ASSIGN_OR_RETURN(const proto::OpDef* const signature, it->second.Signature());
    SM_RETURN_IF_ERROR(MakeCall(*signature, id));
  }
  SM_RETURN_IF_ERROR(::savedmodel::ResolveOutputs(registry_, nullptr, &graph_, id));
  if (node.is_const() && node.attrs.Get<Tensor>("value").dtype() != node.attrs.Type("dtype")) {
    return InvalidArgument("attribute 'value' holds ", node.attrs.Get<Tensor>("value").dtype(),
                           ", expected ", node.attrs.Type("dtype"), " as attribute 'dtype' says");
  }
  return CheckCalls(node, functions_);
}

// A node whose op is the name of a function (TensorFlow 1's Defun) becomes a call of it.
Status BodyImporter::MakeCall(const proto::OpDef& signature, NodeId id) {
  Node& node = graph_.node(id);
  Callee callee;
  callee.attrs = node.attrs;
  std::vector<DType> inputs, outputs;
  for (const auto& arg : signature.input_arg()) {
    SM_ASSIGN_OR_RETURN(const ArgSpec spec, ArgSpecFromProto(arg));
    SM_ASSIGN_OR_RETURN(const std::vector<DType> types, ArgTypesOf(spec, &callee.attrs));
    inputs.insert(inputs.end(), types.begin(), types.end());
  }
  for (const auto& arg : signature.output_arg()) {
    SM_ASSIGN_OR_RETURN(ArgSpec spec, ArgSpecFromProto(arg));
    SM_ASSIGN_OR_RETURN(const std::vector<DType> types, ArgTypesOf(spec, &callee.attrs));
    outputs.insert(outputs.end(), types.begin(), types.end());
    callee.outputs.push_back(std::move(spec));
  }
  FuncAttr f;
  f.name = std::move(node.op);
  if (!node.attrs.empty()) f.attrs = std::make_shared<Attrs>(std::move(node.attrs));
  node.op = signature.is_stateful() ? "StatefulPartitionedCall" : "PartitionedCall";
  node.attrs = Attrs();
  node.attrs.Set("f", std::move(f));
  node.attrs.Set("Tin", std::move(inputs));
  node.attrs.Set("Tout", std::move(outputs));
  callees_.emplace(id, std::move(callee));
  return Status();
}

Status BodyImporter::AppendOutputs(NodeId id, std::string_view output,
                                   std::vector<NodeOutput>* values) const {
  const Node& node = graph_.node(id);
  if (!Usable(id)) {
    values->push_back({id, 0});
    return Status();
  }
  auto callee = callees_.find(id);
  const bool is_call = callee != callees_.end();
  if (!is_call && node.registered == nullptr) {
    return InvalidArgument("an argument has no output '", output, "'");
  }
  const std::vector<ArgSpec>& outputs =
      is_call ? callee->second.outputs : node.registered->signature.outputs;
  const Attrs& attrs = is_call ? callee->second.attrs : node.attrs;
  int start = 0;
  for (const ArgSpec& arg : outputs) {
    SM_ASSIGN_OR_RETURN(const int length, ArgLength(arg, attrs));
    if (arg.name == output) {
      for (int i = 0; i < length; ++i) values->push_back({id, start + i});
      return Status();
    }
    start += length;
  }
  return InvalidArgument("node '", node.name, "' (", node.op, ") has no output '", output, "'");
}

void BodyImporter::Finish() {
  const NodeId count = graph_.num_nodes();
  for (NodeId id = 0; id < count; ++id) {
    const Node& node = graph_.node(id);
    if (!Usable(id) || node.is_arg()) continue;
    bool inputs_usable = true;
    for (const NodeOutput& v : node.inputs) inputs_usable &= Usable(v.node);
    // Whoever reaches this node reaches the one that cannot be used too; that error says more.
    if (!inputs_usable) continue;
    graph_.node(id).error = CheckNodeInputs(graph_, id);
    if (graph_.node(id).error.ok()) ReadReferences(id);
  }
}

void BodyImporter::ReadReferences(NodeId id) {
  bool any = false;
  for (const NodeOutput& v : graph_.node(id).inputs) any |= graph_.is_ref(v);
  if (!any) return;
  std::vector<bool> takes_ref;
  const RegisteredOp& op = *graph_.node(id).registered;
  if (!ArgTypes(op.signature.inputs, graph_.node(id).attrs, &takes_ref).ok()) return;
  for (size_t i = 0; i < takes_ref.size(); ++i) {
    const NodeOutput source = graph_.node(id).inputs[i];
    if (takes_ref[i] || !graph_.is_ref(source)) continue;
    StatusOr<NodeOutput> value = ValueOfReference(registry_, &graph_, source);
    if (!value.ok()) {
      graph_.node(id).error = value.status();
      return;
    }
    // The variable is read when its user runs, thus after what the user waits for.
    graph_.node(value->node).control_inputs = graph_.node(id).control_inputs;
    graph_.node(id).inputs[i] = *value;
  }
}

StatusOr<NodeOutput> ValueOfReference(const OpRegistry& registry, Graph* graph, NodeOutput value) {
  if (!graph->is_ref(value)) return value;
  Node read;
  read.name = StrCat(graph->node(value.node).name, "/_read_ref_", graph->num_nodes());
  read.op = "_ReadRef";
  read.attrs.Set("T", graph->type(value));
  read.inputs = {value};
  const NodeId id = graph->AddNode(std::move(read));
  SM_RETURN_IF_ERROR(ResolveNode(registry, nullptr, graph, id));
  return NodeOutput{id, 0};
}

}  // namespace savedmodel
