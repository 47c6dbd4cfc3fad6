#include "src/graph/graph.h"

#include <algorithm>
#include <queue>

#include "src/base/status_macros.h"

namespace savedmodel {

NodeId Graph::AddConst(std::string name, Tensor value) {
  Node node;
  node.name = std::move(name);
  node.op = "Const";
  node.output_types = {value.dtype()};
  node.output_shapes = {value.shape()};
  node.attrs.Set("dtype", value.dtype());
  node.attrs.Set("value", std::move(value));
  return AddNode(std::move(node));
}

NodeId Graph::AddArg(std::string name, DType dtype, Shape shape) {
  Node node;
  node.name = std::move(name);
  node.op = "_Arg";
  node.output_types = {dtype};
  node.output_shapes = {std::move(shape)};
  node.attrs.Set("index", static_cast<int64_t>(args.size()));
  const NodeId id = AddNode(std::move(node));
  args.push_back(id);
  return id;
}

const Tensor* Graph::constant(NodeOutput v) const {
  const Node& n = nodes_[v.node];
  if (!n.is_const()) return nullptr;
  const AttrValue* value = n.attrs.Find("value");
  return value == nullptr ? nullptr : std::get_if<Tensor>(value);
}

namespace {

// Marks what results, targets and args of `graph` reach. Explicit stack: graphs are input.
std::vector<bool> Reachable(const Graph& graph) {
  std::vector<bool> live(graph.num_nodes(), false);
  std::vector<NodeId> stack;
  const auto visit = [&](NodeId id) {
    if (!live[id]) {
      live[id] = true;
      stack.push_back(id);
    }
  };
  for (const NodeOutput& v : graph.results) visit(v.node);
  for (NodeId id : graph.targets) visit(id);
  for (NodeId id : graph.args) visit(id);
  while (!stack.empty()) {
    const Node& node = graph.node(stack.back());
    stack.pop_back();
    for (const NodeOutput& v : node.inputs) visit(v.node);
    for (NodeId id : node.control_inputs) visit(id);
  }
  return live;
}

bool IsNextIteration(const Node& node) {
  return node.op == "NextIteration" || node.op == "RefNextIteration";
}

}  // namespace

StatusOr<std::vector<NodeId>> Graph::TopologicalOrder() const {
  return TopologicalOrder([](const Node&) { return false; });
}

StatusOr<std::vector<NodeId>> Graph::TopologicalOrder(FunctionRef<bool(const Node&)> late) const {
  const std::vector<bool> live = Reachable(*this);
  std::vector<int> pending(nodes_.size(), 0);
  std::vector<std::vector<NodeId>> users(nodes_.size());
  int live_count = 0;
  for (NodeId id = 0; id < num_nodes(); ++id) {
    if (!live[id]) continue;
    ++live_count;
    const auto wait_for = [&](NodeId input) {
      if (IsNextIteration(nodes_[input])) return;
      users[input].push_back(id);
      ++pending[id];
    };
    for (const NodeOutput& v : nodes_[id].inputs) wait_for(v.node);
    for (NodeId c : nodes_[id].control_inputs) wait_for(c);
  }
  using Queue = std::priority_queue<NodeId, std::vector<NodeId>, std::greater<>>;
  Queue ready, ready_late;
  const auto add = [&](NodeId id) { (late(nodes_[id]) ? ready_late : ready).push(id); };
  for (NodeId id = 0; id < num_nodes(); ++id) {
    if (live[id] && pending[id] == 0) add(id);
  }
  std::vector<NodeId> order;
  order.reserve(live_count);
  const auto take = [&](Queue* queue) {
    const NodeId id = queue->top();
    queue->pop();
    order.push_back(id);
    for (NodeId user : users[id]) {
      if (--pending[user] == 0) add(user);
    }
  };
  while (!ready.empty() || !ready_late.empty()) {
    while (!ready.empty()) take(&ready);
    Queue batch;
    batch.swap(ready_late);
    while (!batch.empty()) take(&batch);
  }
  if (static_cast<int>(order.size()) != live_count) {
    for (NodeId id = 0; id < num_nodes(); ++id) {
      if (live[id] && pending[id] > 0) {
        return InvalidArgument("node '", nodes_[id].name, "' (", nodes_[id].op,
                               ") lies on a cycle or behind one; expected a graph without cycles "
                               "other than through NextIteration");
      }
    }
  }
  return order;
}

void Graph::Compact() {
  const std::vector<bool> live = Reachable(*this);
  std::vector<NodeId> renumbered(nodes_.size(), -1);
  std::vector<Node> kept;
  for (NodeId id = 0; id < num_nodes(); ++id) {
    if (!live[id]) continue;
    renumbered[id] = static_cast<NodeId>(kept.size());
    kept.push_back(std::move(nodes_[id]));
  }
  for (Node& node : kept) {
    for (NodeOutput& v : node.inputs) v.node = renumbered[v.node];
    for (NodeId& c : node.control_inputs) c = renumbered[c];
  }
  for (NodeOutput& v : results) v.node = renumbered[v.node];
  for (NodeId& id : targets) id = renumbered[id];
  for (NodeId& id : args) id = renumbered[id];
  nodes_ = std::move(kept);
}

std::string Graph::DebugString() const {
  std::string out;
  for (NodeId id = 0; id < num_nodes(); ++id) {
    const Node& n = nodes_[id];
    out += StrCat("%", id, " = ", n.op, "(");
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      out += StrCat(i > 0 ? ", " : "", "%", n.inputs[i].node);
      if (n.inputs[i].index > 0) out += StrCat(":", n.inputs[i].index);
    }
    for (NodeId c : n.control_inputs) out += StrCat(" ^%", c);
    out += ") ->";
    for (int i = 0; i < n.num_outputs(); ++i) {
      out += StrCat(" ", n.output_types[i], shape({id, i}));
    }
    out += StrCat("  # ", n.name, "\n");
  }
  return out;
}

bool IsMerge(const Node& node) { return node.op == "Merge" || node.op == "RefMerge"; }

bool SplitsDeadness(const Node& node) {
  return node.op == "Switch" || node.op == "RefSwitch" || node.op == "_SwitchN" ||
         node.op == "_Loop";
}

std::vector<FuncAttr> Callees(const Node& node) {
  std::vector<FuncAttr> callees;
  for (const auto& [name, value] : node.attrs) {
    if (const auto* f = std::get_if<FuncAttr>(&value)) callees.push_back(*f);
    if (const auto* list = std::get_if<std::vector<FuncAttr>>(&value)) {
      callees.insert(callees.end(), list->begin(), list->end());
    }
  }
  return callees;
}

bool CallsFunctions(const Node& node) {
  for (const auto& [name, value] : node.attrs) {
    if (std::holds_alternative<FuncAttr>(value) ||
        std::holds_alternative<std::vector<FuncAttr>>(value)) {
      return true;
    }
  }
  return false;
}

bool IsWhile(const Node& node) { return node.op == "While" || node.op == "StatelessWhile"; }

bool CallsOneOfBranches(const Node& node) {
  return node.op == "If" || node.op == "StatelessIf" || node.op == "Case" ||
         node.op == "StatelessCase";
}

bool CallsInPlace(const Node& node) { return CallsOneOfBranches(node) || node.op == "_Slices"; }

namespace {

// A node whose op is the name of a library function calls it (TensorFlow 1's Defun).
Status ResolveCall(const FunctionLibrary& library, const OpRegistry& registry, Node* node) {
  FuncAttr f;
  f.name = node->op;
  f.attrs = std::make_shared<Attrs>(node->attrs);
  SM_ASSIGN_OR_RETURN(std::shared_ptr<const GraphFunction> function, library.Get(f));
  std::vector<DType> inputs, outputs;
  for (const GraphArg& arg : function->inputs) inputs.push_back(arg.dtype);
  for (const GraphArg& arg : function->outputs) outputs.push_back(arg.dtype);
  node->op = function->stateful ? "StatefulPartitionedCall" : "PartitionedCall";
  node->attrs = Attrs();
  node->attrs.Set("f", std::move(f));
  node->attrs.Set("Tin", std::move(inputs));
  node->attrs.Set("Tout", std::move(outputs));
  node->registered = registry.Find(node->op);
  return node->registered != nullptr ? Status() : Unimplemented("this build has no ", node->op);
}

Status CheckInputs(const Graph& graph, const Node& node, const std::vector<DType>& expected,
                   const std::vector<bool>& is_ref) {
  if (node.inputs.size() != expected.size()) {
    return InvalidArgument("found ", node.inputs.size(), " inputs, expected ", expected.size());
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    const NodeOutput v = node.inputs[i];
    const Node& producer = graph.node(v.node);
    if (v.index < 0 || v.index >= producer.num_outputs()) {
      return InvalidArgument("input ", i, " is output ", v.index, " of node '", producer.name,
                             "' (", producer.op, "), which has ", producer.num_outputs(),
                             " outputs");
    }
    if (graph.type(v) != expected[i]) {
      return InvalidArgument("input ", i, " (output ", v.index, " of '", producer.name, "') is ",
                             graph.type(v), ", expected ", expected[i]);
    }
    if (is_ref[i] && !graph.is_ref(v)) {
      return InvalidArgument("input ", i, " (output ", v.index, " of '", producer.name,
                             "') is a value, expected a reference to a variable");
    }
  }
  return Status();
}

}  // namespace

Status ResolveOutputs(const OpRegistry& registry, const FunctionLibrary* library, Graph* graph,
                      NodeId id) {
  Node& node = graph->node(id);
  if (node.is_arg()) return Status();
  node.registered = registry.Find(node.op);
  if (node.registered == nullptr && library != nullptr && library->Has(node.op)) {
    SM_RETURN_IF_ERROR(ResolveCall(*library, registry, &node));
  }
  if (node.registered == nullptr) {
    return Unimplemented("op ", node.op,
                         " is not among the ops of this library (docs/ops.md); add it through "
                         "LoadOptions::custom_ops");
  }
  const OpSignature& signature = node.registered->signature;
  SM_RETURN_IF_ERROR(CompleteAttrs(signature, &node.attrs));
  SM_ASSIGN_OR_RETURN(node.output_types,
                      ArgTypes(signature.outputs, node.attrs, &node.output_is_ref));
  if (node.output_shapes.size() != node.output_types.size()) node.output_shapes.clear();
  return Status();
}

Status CheckNodeInputs(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.is_arg()) return Status();
  std::vector<bool> is_ref;
  SM_ASSIGN_OR_RETURN(const std::vector<DType> types,
                      ArgTypes(node.registered->signature.inputs, node.attrs, &is_ref));
  return CheckInputs(graph, node, types, is_ref);
}

Status ResolveNode(const OpRegistry& registry, const FunctionLibrary* library, Graph* graph,
                   NodeId id) {
  SM_RETURN_IF_ERROR(ResolveOutputs(registry, library, graph, id));
  return CheckNodeInputs(*graph, id);
}

}  // namespace savedmodel
