// Loops and branches without the arguments and results that they can do without: constant arguments
// become constants of the bodies, so that variables freeze and weights are packed there too, and
// what nobody needs goes, with what computes it. Loops and branches that gradients were built for
// hand out their intermediate values that way.
#include <algorithm>
#include <utility>

#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

// The argument that `v` is, looked at through identities; -1 when it is none.
int ArgumentIndex(const Graph& graph, NodeOutput v) {
  for (int hops = 0; hops < graph.num_nodes(); ++hops) {
    const Node& node = graph.node(v.node);
    if (node.is_arg()) return static_cast<int>(node.attrs.Int("index"));
    if (node.op != "Identity" || node.inputs.size() != 1) return -1;
    v = node.inputs[0];
  }
  return -1;
}

// What goes of the arguments and results of the functions that a node calls.
struct Cut {
  std::vector<bool> args, results;
  std::vector<const Tensor*> constants;  // what arguments that go always are; null where unneeded
  bool waited_for = false;               // whether effects of results that go stay
};

bool Any(const std::vector<bool>& gone) {
  return std::find(gone.begin(), gone.end(), true) != gone.end();
}

template <typename T>
void Drop(const std::vector<bool>& gone, std::vector<T>* all) {
  size_t left = 0;
  for (size_t i = 0; i < all->size(); ++i) {
    if (i < gone.size() && gone[i]) continue;
    if (left != i) (*all)[left] = std::move((*all)[i]);
    ++left;
  }
  all->erase(all->begin() + left, all->end());
}

// The nodes that some of a graph's nodes take, and the arguments among them.
class Taken {
 public:
  explicit Taken(const Graph& graph)
      : graph_(graph), taken_(graph.num_nodes()), argument_(graph.num_nodes(), -1) {
    for (size_t i = 0; i < graph.args.size(); ++i) argument_[graph.args[i]] = static_cast<int>(i);
  }
  void Add(NodeId last) {
    for (std::vector<NodeId> stack = {last}; !stack.empty();) {
      const NodeId id = stack.back();
      stack.pop_back();
      if (taken_[id]) continue;
      taken_[id] = true;
      if (argument_[id] >= 0) arguments.push_back(argument_[id]);
      const Node& node = graph_.node(id);
      for (const NodeOutput& v : node.inputs) stack.push_back(v.node);
      stack.insert(stack.end(), node.control_inputs.begin(), node.control_inputs.end());
    }
  }
  void Add(const std::vector<NodeId>& nodes) {
    for (const NodeId id : nodes) Add(id);
  }
  void AddResults() {
    for (const NodeOutput& v : graph_.results) Add(v.node);
  }
  bool operator[](NodeId id) const { return taken_[id]; }

  std::vector<int> arguments;

 private:
  const Graph& graph_;
  std::vector<bool> taken_;
  std::vector<int> argument_;  // by node; -1 for others
};

// The nodes of a function that run even if nobody needs its results: its targets, and for whoever
// waits for the call all that change something.
std::vector<NodeId> EffectsOf(const Graph& graph, bool waited_for) {
  std::vector<NodeId> effects = graph.targets;
  if (!waited_for) return effects;
  Taken run(graph);
  run.Add(graph.targets);
  run.AddResults();
  for (NodeId id = 0; id < graph.num_nodes(); ++id) {
    const Node& node = graph.node(id);
    if (!run[id] || node.is_arg() || node.is_const()) continue;
    const RegisteredOp* op = node.registered;
    if (op == nullptr || op->def->effects == Effects::kWritesState) effects.push_back(id);
  }
  return effects;
}

// A copy of function `f` without what is cut, added to the library.
StatusOr<FuncAttr> Shortened(OptimizeContext* context, const FuncAttr& f, const Cut& cut) {
  SM_ASSIGN_OR_RETURN(std::shared_ptr<const GraphFunction> original, context->library->Get(f));
  if (original->graph.args.size() != cut.args.size()) {
    return InvalidArgument("function ", f.name, " takes ", original->graph.args.size(),
                           " arguments, found ", cut.args.size());
  }
  GraphFunction copy = *original;
  copy.name = copy.name.substr(0, copy.name.find('@'));
  Graph& graph = copy.graph;
  for (size_t i = 0; i < cut.args.size(); ++i) {
    if (cut.constants[i] != nullptr) MakeConst(&graph, graph.args[i], *cut.constants[i]);
  }
  Drop(cut.args, &graph.args);
  copy.inputs.clear();
  for (const NodeId id : graph.args) {
    graph.node(id).attrs.Set("index", static_cast<int64_t>(copy.inputs.size()));
    copy.inputs.push_back({graph.node(id).name, graph.node(id).output_types[0]});
  }
  Drop(cut.results, &graph.results);
  Drop(cut.results, &copy.outputs);
  Taken taken(graph);
  taken.Add(graph.targets);
  taken.AddResults();
  for (const NodeId id : EffectsOf(original->graph, cut.waited_for)) {
    if (!taken[id]) graph.targets.push_back(id);
  }
  graph.Compact();
  FuncAttr out;
  out.name = context->library->Add(std::move(copy));
  return out;
}

const Tensor* PlainConstant(const Graph& graph, NodeOutput v) {
  return graph.node(v.node).control_inputs.empty() ? graph.constant(v) : nullptr;
}

// The variables of a loop that nothing needs: not the condition, no effect, and none of those that
// are `used` behind it.
std::vector<bool> UnneededVariables(const Graph& cond, const Graph& body,
                                    const std::vector<bool>& used, bool waited_for) {
  std::vector<bool> unneeded(body.args.size(), true);
  Taken in_cond(cond), in_body(body);
  in_cond.Add(cond.targets);
  in_cond.AddResults();
  in_body.Add(EffectsOf(body, waited_for));
  std::vector<int>& needed = in_body.arguments;
  needed.insert(needed.end(), in_cond.arguments.begin(), in_cond.arguments.end());
  for (size_t i = 0; i < used.size(); ++i) {
    if (used[i]) needed.push_back(static_cast<int>(i));
  }
  while (!needed.empty()) {
    const int i = needed.back();
    needed.pop_back();
    if (unneeded[i]) in_body.Add(body.results[i].node);
    unneeded[i] = false;
  }
  return unneeded;
}

class Shortener {
 public:
  Shortener(OptimizeContext* context, Graph* graph) : context_(context), graph_(graph) {}

  Status Run() {
    SM_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph_->TopologicalOrder());
    const std::vector<Node>& nodes = graph_->nodes();
    may_be_dead_ = std::any_of(nodes.begin(), nodes.end(), SplitsDeadness);
    used_.resize(nodes.size());
    waited_for_.resize(nodes.size());
    for (const NodeOutput& v : graph_->results) Use(v);
    for (const NodeId id : graph_->targets) waited_for_[id] = true;
    // Users first: what they do without is not used.
    for (auto id = order.rbegin(); id != order.rend() && !context_->library->IsLarge(); ++id) {
      if (used_[*id].empty() && !waited_for_[*id]) continue;
      const StatusOr<NodeId> left = Shorten(*id);
      if (!left.ok()) return left.status().At(NodePlace(graph_->node(*id)));
      for (const NodeOutput& v : graph_->node(*left).inputs) Use(v);
      for (const NodeId waited : graph_->node(*left).control_inputs) waited_for_[waited] = true;
    }
    redirects_.Apply(graph_);
    return Status();
  }

 private:
  void Use(NodeOutput v) {
    std::vector<bool>& used = used_[v.node];
    if (used.empty()) used.resize(graph_->node(v.node).num_outputs());
    if (v.index < static_cast<int>(used.size())) used[v.index] = true;
  }

  // The node that is left in place of node `id`.
  StatusOr<NodeId> Shorten(NodeId id) {
    const Node& node = graph_->node(id);
    Cut cut;
    if (IsWhile(node)) {
      CutVariables(id, &cut);
    } else if (CallsOneOfBranches(node)) {
      PushConstants(node, 1, 0, &cut);
      if (!may_be_dead_) CutBranches(id, &cut);
    } else if (node.op == "_Loop") {
      PushConstants(node, 0, static_cast<size_t>(node.attrs.Int("num_vars")), &cut);
    }
    return Any(cut.args) || Any(cut.results) ? Replace(id, cut) : id;
  }

  // The functions' arguments are inputs from `first` on; those before `from` are not looked at.
  void PushConstants(const Node& node, size_t first, size_t from, Cut* cut) const {
    cut->constants.resize(node.inputs.size() - first);
    cut->args.resize(cut->constants.size());
    for (size_t i = from; i < cut->args.size(); ++i) {
      cut->constants[i] = PlainConstant(*graph_, node.inputs[first + i]);
      cut->args[i] = cut->constants[i] != nullptr;
    }
  }

  // Null where there is none that fits: what calls it refuses it.
  std::shared_ptr<const GraphFunction> Find(const FuncAttr& f, size_t num_args,
                                            size_t num_results) const {
    const auto function = context_->library->Get(f);
    if (!function.ok() || (*function)->graph.args.size() != num_args ||
        (*function)->graph.results.size() != num_results) {
      return nullptr;
    }
    return *function;
  }

  // A variable is a constant when the body hands it on unchanged; the loop's output is too.
  void CutVariables(NodeId id, Cut* cut) {
    const Node& node = graph_->node(id);
    const size_t count = node.inputs.size();
    const auto body = Find(node.attrs.Get<FuncAttr>("body"), count, count);
    const auto cond = Find(node.attrs.Get<FuncAttr>("cond"), count, 1);
    if (body == nullptr || cond == nullptr) return;
    std::vector<bool> gone(count);
    if (!may_be_dead_) {
      gone = UnneededVariables(cond->graph, body->graph, used_[id], waited_for_[id]);
    }
    std::vector<const Tensor*> constants(count);
    for (size_t i = 0; i < count; ++i) {
      if (ArgumentIndex(body->graph, body->graph.results[i]) != static_cast<int>(i)) continue;
      constants[i] = PlainConstant(*graph_, node.inputs[i]);
      if (constants[i] != nullptr) gone[i] = true;
    }
    // A loop without variables would have no users: it would not run, and so end, when it must not.
    if (std::find(gone.begin(), gone.end(), false) == gone.end()) return;
    for (size_t i = 0; i < count; ++i) {
      if (gone[i]) redirects_.Set({id, static_cast<int>(i)}, node.inputs[i]);
    }
    *cut = {gone, gone, std::move(constants), waited_for_[id]};
  }

  // Cuts what no branch needs.
  void CutBranches(NodeId id, Cut* cut) const {
    const Node& node = graph_->node(id);
    const size_t num_args = cut->args.size(), num_results = node.output_types.size();
    std::vector<bool> used = used_[id], unneeded(num_args, true);
    used.resize(num_results);
    for (const FuncAttr& f : Callees(node)) {
      const auto branch = Find(f, num_args, num_results);
      if (branch == nullptr) return;
      Taken taken(branch->graph);
      taken.Add(EffectsOf(branch->graph, waited_for_[id]));
      for (size_t i = 0; i < num_results; ++i) {
        if (used[i]) taken.Add(branch->graph.results[i].node);
      }
      for (const int i : taken.arguments) unneeded[i] = false;
    }
    for (size_t i = 0; i < num_args; ++i) cut->args[i] = cut->args[i] || unneeded[i];
    used.flip();
    cut->results = std::move(used);
    cut->waited_for = waited_for_[id];
  }

  // Outputs of the node that is left are numbered anew, so it is a fresh one.
  StatusOr<NodeId> Replace(NodeId id, const Cut& cut) {
    Node fresh = graph_->node(id);
    for (const auto& [name, value] : graph_->node(id).attrs) {
      AttrValue left = value;
      if (auto* f = std::get_if<FuncAttr>(&left)) {
        const Cut condition{cut.args, {}, cut.constants};
        SM_ASSIGN_OR_RETURN(*f, Shortened(context_, *f, name == "cond" ? condition : cut));
      } else if (auto* branches = std::get_if<std::vector<FuncAttr>>(&left)) {
        for (FuncAttr& f : *branches) {
          SM_ASSIGN_OR_RETURN(f, Shortened(context_, f, cut));
        }
      } else if (auto* types = std::get_if<std::vector<DType>>(&left)) {
        Drop(name == "Tout" ? cut.results : cut.args, types);
      } else if (auto* shapes = std::get_if<std::vector<Shape>>(&left)) {
        Drop(cut.results, shapes);
      }
      fresh.attrs.Set(name, std::move(left));
    }
    // Arguments are the last inputs.
    std::vector<bool> inputs(fresh.inputs.size() - cut.args.size());
    inputs.insert(inputs.end(), cut.args.begin(), cut.args.end());
    Drop(inputs, &fresh.inputs);
    Drop(cut.results, &fresh.output_types);
    Drop(cut.results, &fresh.output_shapes);
    const int num_outputs = graph_->node(id).num_outputs();
    const NodeId fresh_id = graph_->AddNode(std::move(fresh));
    int next = 0;
    for (int i = 0; i < num_outputs; ++i) {
      const bool gone = i < static_cast<int>(cut.results.size()) && cut.results[i];
      if (!gone) redirects_.Set({id, i}, {fresh_id, next++});
    }
    redirects_.SetControl(id, fresh_id);
    return fresh_id;
  }

  OptimizeContext* context_;
  Graph* graph_;
  Redirects redirects_;
  // By node: which outputs are taken by what is needed, and whether that waits for the node.
  std::vector<std::vector<bool>> used_;
  std::vector<bool> waited_for_;
  // Whether values can be dead: then whoever takes one tells so, though nothing needs it.
  bool may_be_dead_ = false;
};

}  // namespace

Status ShortenCalls(OptimizeContext* context, Graph* graph) {
  const std::vector<Node>& nodes = graph->nodes();
  if (std::none_of(nodes.begin(), nodes.end(), CallsFunctions)) return Status();
  return Shortener(context, graph).Run();
}

}  // namespace savedmodel
