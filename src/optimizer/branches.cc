// Conditions that are known: the branch that is not taken goes.
#include <algorithm>

#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

// TensorFlow's truth of a condition: of a scalar its value, else whether there are elements.
bool Truth(const Tensor& t) {
  if (t.shape().rank() != 0) return t.num_elements() > 0;
  if (const std::string* s = t.data<std::string>()) return !s->empty();
  if (t.dtype() == DType::kFloat) return *t.data<float>() != 0;
  if (t.dtype() == DType::kDouble) return *t.data<double>() != 0;
  if (t.dtype() == DType::kHalf) return *t.data<half>() != half(0);
  if (t.dtype() == DType::kBFloat16) return *t.data<bfloat16>() != bfloat16(0);
  const char* bytes = static_cast<const char*>(t.raw_data());
  return std::any_of(bytes, bytes + t.num_bytes(), [](char c) { return c != 0; });
}

// Turns If or Case with a known condition into a call of the branch.
bool ResolveFunctional(OptimizeContext* context, Graph* graph, NodeId id) {
  Node& node = graph->node(id);
  const bool is_if = node.op == "If" || node.op == "StatelessIf";
  const bool is_case = node.op == "Case" || node.op == "StatelessCase";
  if ((!is_if && !is_case) || node.inputs.empty()) return false;
  const Tensor* condition = graph->constant(node.inputs[0]);
  if (condition == nullptr) return false;
  FuncAttr branch;
  if (is_if) {
    branch = node.attrs.Get<FuncAttr>(Truth(*condition) ? "then_branch" : "else_branch");
  } else {
    const auto& branches = node.attrs.Get<std::vector<FuncAttr>>("branches");
    const int32_t* index = condition->data<int32_t>();
    if (index == nullptr || branches.empty()) return false;
    const bool inside = *index >= 0 && *index < static_cast<int32_t>(branches.size());
    branch = inside ? branches[*index] : branches.back();
  }
  Attrs attrs;
  attrs.Set("f", branch);
  attrs.Set("Tin", node.attrs.Types("Tin"));
  attrs.Set("Tout", node.attrs.Types("Tout"));
  node.op = "StatefulPartitionedCall";
  node.registered = context->env.registry->Find(node.op);
  if (node.registered != nullptr) (void)CompleteAttrs(node.registered->signature, &attrs).ok();
  node.attrs = std::move(attrs);
  node.inputs.erase(node.inputs.begin());
  return true;
}

// Which values are dead whatever is fed: those behind the side that a known Switch does not take.
class DeadValues {
 public:
  explicit DeadValues(const Graph& graph) : graph_(graph) {}

  Status Find() {
    SM_ASSIGN_OR_RETURN(order_, graph_.TopologicalOrder());
    dead_node_.assign(graph_.num_nodes(), false);
    taken_.assign(graph_.num_nodes(), -1);
    for (NodeId id : order_) {
      const Node& node = graph_.node(id);
      const bool merge = IsMerge(node);
      size_t dead = 0;
      for (const NodeOutput& v : node.inputs) dead += IsDead(v);
      bool is_dead = merge ? dead > 0 && dead == node.inputs.size() : dead > 0;
      for (NodeId c : node.control_inputs) is_dead = is_dead || dead_node_[c];
      dead_node_[id] = is_dead;
      if (node.op != "Switch" && node.op != "RefSwitch") continue;
      const Tensor* predicate = graph_.constant(node.inputs[1]);
      const bool* value = predicate == nullptr ? nullptr : predicate->data<bool>();
      if (value != nullptr && predicate->num_elements() == 1 &&
          graph_.node(node.inputs[1].node).control_inputs.empty()) {
        taken_[id] = *value ? 1 : 0;
        any_ = true;
      }
    }
    return Status();
  }

  // Whether a Switch is known to take one side, and nothing that stays looks at the other: as a
  // result, beside live inputs of a Merge, or in a Merge of references (which is kept).
  bool CanResolve() const {
    if (!any_) return false;
    for (const NodeOutput& v : graph_.results) {
      if (IsDead(v)) return false;
    }
    for (NodeId id : order_) {
      const Node& node = graph_.node(id);
      if (!IsMerge(node) || dead_node_[id]) continue;
      const size_t dead = std::count_if(node.inputs.begin(), node.inputs.end(),
                                        [&](const NodeOutput& v) { return IsDead(v); });
      if (dead > 0 && (node.op != "Merge" || node.inputs.size() - dead > 1)) return false;
    }
    return true;
  }
  bool IsDead(NodeOutput v) const {
    return dead_node_[v.node] || (taken_[v.node] >= 0 && taken_[v.node] != v.index);
  }
  bool IsDead(NodeId id) const { return dead_node_[id]; }
  int taken(NodeId id) const { return taken_[id]; }
  const std::vector<NodeId>& order() const { return order_; }

 private:
  const Graph& graph_;
  std::vector<NodeId> order_;
  std::vector<bool> dead_node_;
  std::vector<int> taken_;  // output that a Switch is known to take, or -1
  bool any_ = false;
};

Status ResolveSwitches(OptimizeContext* context, Graph* graph, bool* changed) {
  DeadValues dead(*graph);
  SM_RETURN_IF_ERROR(dead.Find());
  if (!dead.CanResolve()) return Status();
  Redirects redirects;
  for (NodeId id : dead.order()) {
    Node& node = graph->node(id);
    if (dead.IsDead(id)) continue;
    if (dead.taken(id) >= 0 && !graph->is_ref({id, 0})) {
      if (dead.taken(id) == 1) redirects.Set({id, 1}, {id, 0});
      MakeIdentity(*context, graph, id, node.inputs[0]);
      *changed = true;
      continue;
    }
    if (node.op != "Merge") continue;
    int live = -1, count = 0;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (dead.IsDead(node.inputs[i])) continue;
      live = static_cast<int>(i);
      ++count;
    }
    if (count != 1 || node.inputs.size() < 2) continue;
    const NodeOutput input = node.inputs[live];
    const NodeId index =
        graph->AddConst(graph->node(id).name + "/value_index", Tensor::Scalar<int32_t>(live));
    redirects.Set({id, 1}, {index, 0});
    MakeIdentity(*context, graph, id, input);
    *changed = true;
  }
  redirects.Apply(graph);
  // A dead branch's side effects never happen.
  auto& targets = graph->targets;
  targets.erase(
      std::remove_if(targets.begin(), targets.end(), [&](NodeId id) { return dead.IsDead(id); }),
      targets.end());
  return Status();
}

}  // namespace

Status ResolveBranches(OptimizeContext* context, Graph* graph, bool* changed) {
  for (NodeId id = 0; id < graph->num_nodes(); ++id) {
    *changed = ResolveFunctional(context, graph, id) || *changed;
  }
  return ResolveSwitches(context, graph, changed);
}

}  // namespace savedmodel
