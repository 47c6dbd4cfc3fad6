// Conditionals of TensorFlow 1 raised to If nodes, where they are of the form that tf.cond gives:
// Switches by one predicate let values into two branches, Merges join what the branches give. What
// is of another form stays, and runs with dead values.
#include <algorithm>
#include <map>
#include <numeric>
#include <optional>

#include "src/base/status_macros.h"
#include "src/optimizer/conditions.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

// Deeper conditionals stay: a function for each level must be compiled.
constexpr int kMostNesting = 128;

// Nodes that one If can replace: those that run on one side of a predicate, and the Merges of what
// they give.
struct Conditional {
  std::vector<NodeId> members, merges;  // in topological order
  int parent = Conditions::kAlways;
  NodeOutput gate;
  bool refused = false;
};

// How a conditional is called: the values that the branches share as arguments, and so on.
struct Call {
  NodeOutput predicate;
  std::vector<NodeOutput> inputs;
  std::map<std::pair<NodeId, int>, int> argument;  // index in inputs
  std::vector<NodeId> controls;
  std::vector<NodeOutput> outputs;  // of the Merges
};

class ConditionalRaiser {
 public:
  ConditionalRaiser(OptimizeContext* context, Graph* graph) : context_(context), graph_(graph) {}

  // Inner conditionals first, so that each node moves into a branch once for each level.
  Status Run() {
    const auto& nodes = graph_->nodes();
    if (std::none_of(nodes.begin(), nodes.end(), IsMerge)) return Status();
    SM_RETURN_IF_ERROR(conditions_.Find(*graph_, kMostNesting));
    if (conditions_.deepest() > kMostNesting) return Status();
    for (depth_ = conditions_.deepest(); depth_ > 0; --depth_) {
      // All outputs of a tf.cond go into one If, unless that would wait for itself.
      for (const bool whole : {true, false}) {
        SM_RETURN_IF_ERROR(context_->CheckInterrupt());
        FindConditionals(whole);
        const bool waits = RefuseCycles();
        if (RaiseAll()) SM_RETURN_IF_ERROR(conditions_.Find(*graph_, kMostNesting));
        if (!waits) break;
      }
    }
    graph_->Compact();
    return Status();
  }

 private:
  // The side of a predicate at depth_ that condition `c` lies on; -1 where it lies on none.
  int SideOf(int c) const {
    while (conditions_[c].depth > depth_) c = conditions_[c].parent;
    return conditions_[c].depth == depth_ && conditions_[c].is_predicate() ? c : -1;
  }
  int SideOf(NodeOutput v) { return SideOf(conditions_.Of(v)); }
  int SideOfNode(NodeId id) const { return SideOf(conditions_.Of(id)); }

  // A Merge of values of the conditional whose sides are at depth_.
  bool Ends(NodeId id) {
    if (!conditions_.Joins(id)) return false;
    const int c = conditions_.Of(graph_->node(id).inputs[0]);
    return conditions_[c].depth == depth_;
  }

  int Root(int id) {
    while (root_[id] != id) id = root_[id] = root_[root_[id]];
    return id;
  }
  void Unite(int a, int b) { root_[Root(a)] = Root(b); }

  void FindConditionals(bool whole) {
    root_.resize(graph_->num_nodes());
    std::iota(root_.begin(), root_.end(), 0);
    refused_.assign(graph_->num_nodes(), false);
    index_used_.assign(graph_->num_nodes(), false);
    for (NodeId id : conditions_.order()) Visit(id, whole);
    for (const NodeOutput& v : graph_->results) {
      index_used_[v.node] = index_used_[v.node] || v.index == 1;
      // What is asked for may be dead, which is an error.
      if (SideOfNode(v.node) >= 0) refused_[v.node] = true;
    }
    conditionals_.clear();
    part_of_.assign(graph_->num_nodes(), -1);
    std::map<int, int> by_root;
    for (NodeId id : conditions_.order()) {
      const bool ends = Ends(id);
      const int side = ends ? conditions_.Of(graph_->node(id).inputs[0]) : SideOfNode(id);
      if (side < 0) continue;
      const auto [it, is_new] = by_root.emplace(Root(id), static_cast<int>(conditionals_.size()));
      if (is_new) conditionals_.emplace_back();
      Conditional& c = conditionals_[it->second];
      part_of_[id] = it->second;
      c.parent = conditions_[side].parent;
      c.gate = conditions_[side].gate;
      c.refused = c.refused || refused_[id];
      (ends ? c.merges : c.members).push_back(id);
    }
    for (Conditional& c : conditionals_) c.refused = c.refused || c.merges.empty();
  }

  // Unites `id` with what it uses of its side of a conditional, and refuses what it uses of others.
  void Visit(NodeId id, bool whole) {
    const Node& node = graph_->node(id);
    const int mine = SideOfNode(id);
    const bool ends = Ends(id);
    for (const NodeOutput& v : node.inputs) {
      index_used_[v.node] = index_used_[v.node] || v.index == 1;
      if ((mine >= 0 || ends) && graph_->is_ref(v)) refused_[id] = true;
      const int side = SideOf(v);
      if (side < 0) continue;
      const bool made_inside = SideOfNode(v.node) == side;
      if (mine != side && !ends) {
        refused_[v.node] = refused_[v.node] || made_inside;
      } else if (made_inside) {
        Unite(id, v.node);
      } else if (const NodeId predicate = graph_->node(v.node).inputs[1].node;
                 whole && graph_->node(predicate).op == "Identity") {
        Unite(id, predicate);  // tf.cond makes one for its Switches
      }
    }
    for (NodeId control : node.control_inputs) {
      const int side = SideOfNode(control);
      if (side < 0) continue;
      if (mine == side) {
        Unite(id, control);
      } else {
        refused_[control] = true;
      }
    }
    for (int i = 0; i < node.num_outputs(); ++i) {
      if (graph_->is_ref({id, i})) refused_[id] = true;
    }
  }

  // The node in the graph in which each conditional is one.
  int Unit(NodeId id) const {
    const int part = part_of_[id];
    return part < 0 || conditionals_[part].refused ? id : graph_->num_nodes() + part;
  }

  // Refuses conditionals that as one node would wait for themselves; whether there are any.
  bool RefuseCycles() {
    const size_t count = root_.size() + conditionals_.size();
    std::vector<std::vector<int>> before(count), behind(count);
    for (NodeId id : conditions_.order()) {
      const auto add = [&](NodeId from) {
        if (Unit(from) == Unit(id)) return;
        before[Unit(id)].push_back(Unit(from));
        behind[Unit(from)].push_back(Unit(id));
      };
      for (const NodeOutput& v : graph_->node(id).inputs) add(v.node);
      for (NodeId control : graph_->node(id).control_inputs) add(control);
    }
    const std::vector<bool> from_start = Sorted(before, behind), from_end = Sorted(behind, before);
    bool any = false;
    for (size_t p = 0; p < conditionals_.size(); ++p) {
      const size_t unit = root_.size() + p;
      if (from_start[unit] || from_end[unit]) continue;
      any = conditionals_[p].refused = true;
    }
    return any;
  }

  // Which units have a place in an order: those that are neither on a cycle nor behind one.
  static std::vector<bool> Sorted(const std::vector<std::vector<int>>& before,
                                  const std::vector<std::vector<int>>& behind) {
    std::vector<bool> sorted(before.size(), false);
    std::vector<size_t> open(before.size());
    std::vector<int> ready;
    for (size_t i = 0; i < before.size(); ++i) {
      open[i] = before[i].size();
      if (open[i] == 0) ready.push_back(static_cast<int>(i));
    }
    while (!ready.empty()) {
      const int unit = ready.back();
      ready.pop_back();
      sorted[unit] = true;
      for (int next : behind[unit]) {
        if (--open[next] == 0) ready.push_back(next);
      }
    }
    return sorted;
  }

  // Whether there were any.
  bool RaiseAll() {
    Redirects redirects;
    for (const Conditional& c : conditionals_) {
      if (c.refused) continue;
      const Call call = MakeCall(c);
      if (IsLiveWith(call, c)) AddIf(c, call, &redirects);
    }
    if (redirects.empty()) return false;
    redirects.Apply(graph_);
    return true;
  }

  // Whether `v`, used in conditional `c`, is let in by one of its Switches.
  bool IsLetIn(NodeOutput v, const Conditional& c) {
    const Condition& condition = conditions_[conditions_.Of(v)];
    return graph_->node(v.node).op == "Switch" && condition.is_predicate() &&
           condition.parent == c.parent && condition.gate == c.gate;
  }

  // A constant that the branches can have for themselves. Handles are arguments: these tell which
  // variables the branches write.
  bool IsPlainConst(NodeOutput v) const {
    const Node& node = graph_->node(v.node);
    const DType dtype = graph_->type(v);
    return node.is_const() && node.control_inputs.empty() &&
           (IsPlainData(dtype) || dtype == DType::kString);
  }

  Call MakeCall(const Conditional& c) {
    Call call;
    const int part = part_of_[c.merges[0]];
    const auto use = [&](NodeOutput v) {
      if (part_of_[v.node] == part) return;
      if (IsLetIn(v, c)) {
        const Node& gate = graph_->node(v.node);
        call.predicate = gate.inputs[1];
        call.controls.insert(call.controls.end(), gate.control_inputs.begin(),
                             gate.control_inputs.end());
        v = gate.inputs[0];
        if (conditions_.Original(v) == c.gate) return;  // known in the branches
      }
      if (IsPlainConst(v)) return;
      const auto [it, is_new] = call.argument.emplace(std::make_pair(v.node, v.index),
                                                      static_cast<int>(call.inputs.size()));
      if (is_new) call.inputs.push_back(v);
    };
    for (const auto* nodes : {&c.members, &c.merges}) {
      for (NodeId id : *nodes) {
        for (const NodeOutput& v : graph_->node(id).inputs) use(v);
        for (NodeId control : graph_->node(id).control_inputs) {
          if (part_of_[control] != part) call.controls.push_back(control);
        }
      }
    }
    for (NodeId id : c.merges) {
      call.outputs.push_back({id, 0});
      if (index_used_[id]) call.outputs.push_back({id, 1});
    }
    return call;
  }

  // An If is dead exactly when one of its inputs is: the Switches must have said the same.
  bool IsLiveWith(const Call& call, const Conditional& c) {
    if (call.predicate.node < 0 || graph_->type(call.predicate) != DType::kBool) return false;
    std::optional<int> live = conditions_.Of(call.predicate);
    for (const NodeOutput& v : call.inputs) {
      if (graph_->is_ref(v)) return false;
      if (live) live = conditions_.Both(*live, conditions_.Of(v));
    }
    for (NodeId control : call.controls) {
      if (live) live = conditions_.Both(*live, conditions_.Of(control));
    }
    return live == c.parent;
  }

  GraphFunction MakeBranch(const Conditional& c, const Call& call, int side) {
    GraphFunction f;
    Graph& inner = f.graph;
    f.name = StrCat(side == 1 ? "then:" : "else:", graph_->node(c.merges[0]).name);
    for (const NodeOutput& v : call.inputs) {
      inner.AddArg(graph_->node(v.node).name, graph_->type(v), graph_->shape(v));
      f.inputs.push_back({graph_->node(v.node).name, graph_->type(v)});
    }
    std::map<NodeId, NodeId> copy_of;
    const auto is_here = [&](NodeId id) {
      const int mine = SideOfNode(id);
      return mine >= 0 && conditions_[mine].side == side;
    };
    for (NodeId id : c.members) {
      if (is_here(id)) copy_of[id] = inner.AddNode(graph_->node(id));
    }
    const auto mapped = [&](NodeOutput v) -> NodeOutput {
      if (const auto it = copy_of.find(v.node); it != copy_of.end()) return {it->second, v.index};
      if (IsLetIn(v, c)) {
        v = graph_->node(v.node).inputs[0];
        if (conditions_.Original(v) == c.gate) {
          return {inner.AddConst("predicate", Tensor::Scalar<bool>(side == 1)), 0};
        }
      }
      if (const auto it = call.argument.find({v.node, v.index}); it != call.argument.end()) {
        return {inner.args[it->second], 0};
      }
      return {copy_of[v.node] = inner.AddNode(graph_->node(v.node)), 0};  // a plain constant
    };
    for (NodeId id : c.members) {
      if (!is_here(id)) continue;
      std::vector<NodeOutput> inputs;
      std::vector<NodeId> controls;
      for (const NodeOutput& v : graph_->node(id).inputs) inputs.push_back(mapped(v));
      for (NodeId control : graph_->node(id).control_inputs) {
        if (part_of_[control] == part_of_[id]) controls.push_back(copy_of[control]);
      }
      Node& copy = inner.node(copy_of[id]);
      copy.inputs = std::move(inputs);
      copy.control_inputs = std::move(controls);
    }
    for (NodeId id : graph_->targets) {
      if (part_of_[id] == part_of_[c.merges[0]] && is_here(id)) {
        inner.targets.push_back(copy_of[id]);
      }
    }
    for (const NodeOutput& output : call.outputs) {
      const std::vector<NodeOutput>& joined = graph_->node(output.node).inputs;
      const int taken = conditions_[conditions_.Of(joined[0])].side == side ? 0 : 1;
      inner.results.push_back(
          output.index == 0
              ? mapped(joined[taken])
              : NodeOutput{inner.AddConst("value_index", Tensor::Scalar<int32_t>(taken)), 0});
      f.outputs.push_back({graph_->node(output.node).name, graph_->type(output)});
    }
    inner.Compact();
    return f;
  }

  // The predicate, which a Switch refuses where it is no scalar.
  NodeOutput ScalarPredicate(NodeOutput predicate) {
    if (graph_->shape(predicate) == Shape()) return predicate;
    Node node;
    node.name = graph_->node(predicate.node).name + "/scalar";
    node.op = "EnsureShape";
    node.registered = context_->env.registry->Find(node.op);
    node.inputs = {predicate};
    node.output_types = {DType::kBool};
    node.attrs.Set("T", DType::kBool);
    node.attrs.Set("shape", Shape());
    return {graph_->AddNode(std::move(node)), 0};
  }

  void AddIf(const Conditional& c, const Call& call, Redirects* redirects) {
    const bool pure = std::all_of(c.members.begin(), c.members.end(), [&](NodeId id) {
      const Node& node = graph_->node(id);
      return node.is_const() || node.registered->def->effects == Effects::kPure;
    });
    GraphFunction branches[2] = {MakeBranch(c, call, 0), MakeBranch(c, call, 1)};
    Node node;
    node.name = graph_->node(c.merges[0]).name;
    node.op = pure ? "StatelessIf" : "If";
    node.registered = context_->env.registry->Find(node.op);
    node.control_inputs = call.controls;
    std::vector<DType> input_types;
    for (const GraphArg& arg : branches[0].inputs) input_types.push_back(arg.dtype);
    for (const GraphArg& result : branches[0].outputs) node.output_types.push_back(result.dtype);
    node.attrs.Set("Tcond", DType::kBool);
    node.attrs.Set("Tin", std::move(input_types));
    node.attrs.Set("Tout", node.output_types);
    node.attrs.Set("output_shapes", std::vector<Shape>());
    FuncAttr f;
    f.name = context_->library->Add(std::move(branches[0]));
    node.attrs.Set("else_branch", f);
    f.name = context_->library->Add(std::move(branches[1]));
    node.attrs.Set("then_branch", f);
    node.inputs = {ScalarPredicate(call.predicate)};
    node.inputs.insert(node.inputs.end(), call.inputs.begin(), call.inputs.end());
    const NodeId id = graph_->AddNode(std::move(node));
    for (size_t i = 0; i < call.outputs.size(); ++i) {
      redirects->Set(call.outputs[i], {id, static_cast<int>(i)});
    }
    for (NodeId merge : c.merges) redirects->SetControl(merge, id);
    for (NodeId member : c.members) redirects->SetControl(member, id);
  }

  OptimizeContext* context_;
  Graph* graph_;
  int depth_ = 0;
  Conditions conditions_;
  std::vector<int> root_;  // union of nodes that hang together
  std::vector<bool> refused_, index_used_;
  std::vector<int> part_of_;  // by node: index in conditionals_, or -1
  std::vector<Conditional> conditionals_;
};

}  // namespace

Status RaiseConditionals(OptimizeContext* context, Graph* graph) {
  return ConditionalRaiser(context, graph).Run();
}

}  // namespace savedmodel
