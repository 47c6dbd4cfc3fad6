// Control edges that order nothing, nodes that compute the same.
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

bool OrdersSomething(const Node& node) {
  if (node.is_const() || node.is_arg()) return false;
  if (node.registered == nullptr) return true;
  return node.registered->def->effects != Effects::kPure || CallsFunctions(node) ||
         SplitsDeadness(node) || IsMerge(node);
}

// Text that is equal for nodes that compute the same; empty when that cannot be told cheaply.
std::string Fingerprint(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  std::string key = node.op;
  if (node.is_const()) {
    const Tensor* t = graph.constant({id, 0});
    constexpr size_t kMostBytes = 256;
    if (t == nullptr || !node.control_inputs.empty()) return "";
    if (t->dtype() == DType::kResource) {
      if (t->num_elements() != 1) return "";
      return StrCat("handle|", reinterpret_cast<uintptr_t>(t->data<ResourceRef>()[0].get()), "|",
                    node.output_types[0]);
    }
    if (!IsPlainData(t->dtype())) return "";
    key += "|" + t->TypeString() + "|";
    if (t->num_bytes() > kMostBytes) {
      return key + StrCat("@", reinterpret_cast<uintptr_t>(t->raw_data()));
    }
    return key + std::string(static_cast<const char*>(t->raw_data()), t->num_bytes());
  }
  for (const NodeOutput& v : node.inputs) key += StrCat("|", v.node, ":", v.index);
  for (NodeId c : node.control_inputs) key += StrCat("|^", c);
  for (const auto& [name, value] : node.attrs) {
    if (name.front() == '_') continue;  // annotations
    key += StrCat("|", name, "=");
    const bool known = std::visit(
        [&](const auto& v) {
          using T = std::decay_t<decltype(v)>;
          if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, float> ||
                        std::is_same_v<T, bool> || std::is_same_v<T, DType> ||
                        std::is_same_v<T, Shape>) {
            key += StrCat(v);
            return true;
          } else if constexpr (std::is_same_v<T, std::string>) {
            key += StrCat(v.size(), ":", v);
            return true;
          } else if constexpr (std::is_same_v<T, std::vector<int64_t>> ||
                               std::is_same_v<T, std::vector<DType>> ||
                               std::is_same_v<T, std::vector<float>>) {
            key += StrJoin(v, ",");
            return true;
          } else {
            return false;
          }
        },
        value);
    if (!known) return "";
  }
  return key;
}

// Who waits for a pure node whose values nobody takes waits for what that waits for instead.
void PassOnControl(const std::vector<NodeId>& order, const std::vector<bool>& matters,
                   Graph* graph) {
  constexpr size_t kMostWaiting = 64;  // edges multiply
  std::vector<bool> taken(graph->num_nodes(), false);
  for (const NodeOutput& v : graph->results) taken[v.node] = true;
  for (const NodeId id : graph->targets) taken[id] = true;
  std::vector<std::vector<NodeId>> waiting(graph->num_nodes());
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    Node& node = graph->node(*it);
    std::vector<NodeId>& users = waiting[*it];
    std::sort(users.begin(), users.end());
    users.erase(std::unique(users.begin(), users.end()), users.end());
    // To wait for a node is to wait for all its outputs; where one of them may be dead alone, a
    // node that takes it says whether it is.
    const auto may_be_dead = [&](const NodeOutput& v) {
      return SplitsDeadness(graph->node(v.node));
    };
    const bool runs = taken[*it] || OrdersSomething(node) || users.size() > kMostWaiting ||
                      std::any_of(node.inputs.begin(), node.inputs.end(), may_be_dead);
    const auto wait_for = [&](NodeId id) {
      if (!matters[id]) return;
      if (runs) {
        waiting[id].push_back(*it);
      } else {
        waiting[id].insert(waiting[id].end(), users.begin(), users.end());
      }
    };
    for (const NodeId c : std::exchange(node.control_inputs, {})) wait_for(c);
    for (const NodeOutput& v : node.inputs) {
      if (runs) {
        taken[v.node] = true;
      } else {
        wait_for(v.node);
      }
    }
    for (const NodeId user : users) {
      if (runs) graph->node(user).control_inputs.push_back(*it);
    }
  }
}

}  // namespace

Status PruneControl(OptimizeContext*, Graph* graph) {
  SM_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph->TopologicalOrder());
  std::vector<bool> matters(graph->num_nodes(), false);
  for (NodeId id : order) {
    Node& node = graph->node(id);
    auto& controls = node.control_inputs;
    controls.erase(
        std::remove_if(controls.begin(), controls.end(), [&](NodeId c) { return !matters[c]; }),
        controls.end());
    std::sort(controls.begin(), controls.end());
    controls.erase(std::unique(controls.begin(), controls.end()), controls.end());
    bool mine = OrdersSomething(node) || !controls.empty();
    for (const NodeOutput& v : node.inputs) mine = mine || matters[v.node];
    matters[id] = mine;
  }
  auto& targets = graph->targets;
  targets.erase(
      std::remove_if(targets.begin(), targets.end(), [&](NodeId id) { return !matters[id]; }),
      targets.end());
  PassOnControl(order, matters, graph);
  return Status();
}

Status MergeCommon(OptimizeContext*, Graph* graph) {
  SM_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph->TopologicalOrder());
  Redirects redirects;
  std::unordered_map<std::string, NodeId> seen;
  for (NodeId id : order) {
    Node& node = graph->node(id);
    for (NodeOutput& v : node.inputs) v = redirects.Resolve(v);
    if (node.is_arg()) continue;
    if (!node.is_const() && (node.registered == nullptr || CallsFunctions(node) ||
                             node.registered->def->effects != Effects::kPure)) {
      continue;
    }
    const std::string key = Fingerprint(*graph, id);
    if (key.empty()) continue;
    const auto [it, inserted] = seen.emplace(key, id);
    if (inserted) continue;
    for (int i = 0; i < node.num_outputs(); ++i) redirects.Set({id, i}, {it->second, i});
    redirects.SetControl(id, it->second);
  }
  redirects.Apply(graph);
  return Status();
}

}  // namespace savedmodel
