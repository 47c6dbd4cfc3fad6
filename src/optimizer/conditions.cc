#include "src/optimizer/conditions.h"

#include <algorithm>

#include "src/base/status_macros.h"

namespace savedmodel {
namespace {

// Sides of the gates that are no predicates start behind those of a Switch.
constexpr int kOtherSides = 2;

}  // namespace

Status Conditions::Find(const Graph& graph, int most_depth) {
  graph_ = &graph;
  SM_ASSIGN_OR_RETURN(order_, graph.TopologicalOrder());
  all_.assign(1, Condition());
  known_.clear();
  deepest_ = 0;
  of_node_.assign(graph.num_nodes(), kAlways);
  of_side_.assign(graph.num_nodes(), {-1, -1});
  joins_.assign(graph.num_nodes(), false);
  copied_.resize(graph.num_nodes());
  for (NodeId id : order_) {
    const Node& node = graph.node(id);
    copied_[id] = node.op == "Identity" ? Original(node.inputs[0]) : NodeOutput{id, 0};
    of_node_[id] = Find(id);
    if (deepest_ > most_depth) break;
  }
  return Status();
}

int Conditions::Of(NodeOutput v) {
  const Node& node = graph_->node(v.node);
  if (!SplitsDeadness(node)) return of_node_[v.node];
  if (node.op != "Switch") return Under(of_node_[v.node], {v.node, 0}, kOtherSides + v.index);
  int& side = of_side_[v.node][v.index];
  if (side < 0) side = Under(of_node_[v.node], Original(node.inputs[1]), v.index);
  return side;
}

std::optional<int> Conditions::Both(int a, int b) const {
  const int common = Common(a, b);
  if (common != a && common != b) return {};
  return common == a ? b : a;
}

int Conditions::Under(int parent, NodeOutput gate, int side) {
  const auto key = std::make_tuple(parent, gate.node, gate.index, side);
  const auto [it, is_new] = known_.emplace(key, static_cast<int>(all_.size()));
  if (is_new) {
    all_.push_back({parent, all_[parent].depth + 1, gate, side});
    deepest_ = std::max(deepest_, all_.back().depth);
  }
  return it->second;
}

int Conditions::Common(int a, int b) const {
  while (a != b) {
    int& lower = all_[a].depth > all_[b].depth ? a : b;
    lower = all_[lower].parent;
  }
  return a;
}

int Conditions::Find(NodeId id) {
  const Node& node = graph_->node(id);
  if (node.is_arg()) {
    return node.attrs.Bool("may_be_dead") ? Under(kAlways, {id, 0}, kOtherSides) : kAlways;
  }
  int all = kAlways, any = kAlways;  // where all inputs are there, where any may be
  bool on_one_path = true;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const int c = Of(node.inputs[i]);
    const std::optional<int> both = Both(all, c);
    on_one_path = on_one_path && both;
    all = both.value_or(all);
    any = i == 0 ? c : Common(any, c);
  }
  if (IsMerge(node)) {
    joins_[id] = JoinsSides(node);
    on_one_path = joins_[id];
    all = any;
  }
  for (NodeId control : node.control_inputs) {
    const int c = of_node_[control];
    const std::optional<int> both = Both(all, c);
    // A Merge that waits for a node of a branch does not run where that does not.
    if (IsMerge(node) && both != all) joins_[id] = false;
    on_one_path = on_one_path && both && (!IsMerge(node) || joins_[id]);
    all = both.value_or(all);
    any = Common(any, c);
  }
  return on_one_path ? all : Under(any, {id, 0}, kOtherSides);
}

bool Conditions::JoinsSides(const Node& merge) {
  if (merge.op != "Merge" || merge.inputs.size() != 2) return false;
  const Condition a = all_[Of(merge.inputs[0])], b = all_[Of(merge.inputs[1])];
  return a.is_predicate() && b.is_predicate() && a.side != b.side && a.parent == b.parent &&
         a.gate == b.gate;
}

}  // namespace savedmodel
