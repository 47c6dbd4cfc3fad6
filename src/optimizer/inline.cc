// Function calls replaced by the function's body.
#include <unordered_map>

#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

constexpr int kMostNodes = 1000000;
constexpr int kMostDepth = 1024;

bool IsCall(const Node& node) {
  return node.op == "PartitionedCall" || node.op == "StatefulPartitionedCall";
}

bool HasSwitch(const Graph& graph) {
  for (const Node& node : graph.nodes()) {
    if (node.op == "Switch" || node.op == "RefSwitch") return true;
  }
  return false;
}

// Which function a node was copied from, and which call that answered: to find recursion.
struct Origin {
  std::string function;
  int parent = -1;
};

class Inliner {
 public:
  Inliner(OptimizeContext* context, Graph* graph) : context_(context), graph_(graph) {}

  Status Run() {
    SM_RETURN_IF_ERROR(CheckSize());
    has_switch_ = HasSwitch(*graph_);
    origin_of_.assign(graph_->num_nodes(), -1);
    bool any = false;
    for (NodeId id = 0; id < graph_->num_nodes(); ++id) {
      if (!IsCall(graph_->node(id))) continue;
      any = true;
      SM_RETURN_IF_ERROR(context_->CheckInterrupt());
      SM_RETURN_IF_ERROR(Expand(id).At(NodePlace(graph_->node(id))));
    }
    if (!any) return Status();
    redirects_.Apply(graph_);
    graph_->Compact();
    return Status();
  }

 private:
  // Counts before anything is copied: a few functions can call each other 2^40 times.
  Status CheckSize() const {
    struct Visit {
      std::string name;
      std::shared_ptr<const GraphFunction> function;
      const Graph* graph = nullptr;
      NodeId next = 0;
      int64_t nodes = 0;
    };
    std::unordered_map<std::string, int64_t> nodes_of;  // calls inlined; 0 while being counted
    std::vector<Visit> stack;
    stack.push_back({"", nullptr, graph_, 0, graph_->num_nodes()});
    for (;;) {
      Visit& top = stack.back();
      while (top.next < top.graph->num_nodes() && !IsCall(top.graph->node(top.next))) ++top.next;
      if (top.nodes > kMostNodes) {
        return ResourceExhausted("calls of functions, put in place, make more than ", kMostNodes,
                                 " nodes in ", top.name.empty() ? "the graph" : top.name);
      }
      if (top.next == top.graph->num_nodes()) {
        if (stack.size() == 1) return Status();
        nodes_of[top.name] = top.nodes;
        stack.pop_back();
        continue;
      }
      const FuncAttr f = top.graph->node(top.next).attrs.Get<FuncAttr>("f");
      const auto [known, is_new] = nodes_of.emplace(f.name, 0);
      if (!is_new) {
        top.nodes += known->second;
        ++top.next;
        continue;
      }
      StatusOr<std::shared_ptr<const GraphFunction>> function = context_->library->Get(f);
      if (!function.ok()) continue;  // Expand reports it
      const Graph& body = (*function)->graph;
      stack.push_back({f.name, *function, &body, 0, body.num_nodes()});
    }
  }

  Status CheckOrigin(const std::string& function, int origin) const {
    int depth = 0;
    for (int o = origin; o >= 0; o = origins_[o].parent, ++depth) {
      if (origins_[o].function == function) {
        return InvalidArgument(
            "function ", function,
            " calls itself, directly or through others; expected calls that end");
      }
    }
    if (depth > kMostDepth) {
      return ResourceExhausted("calls are nested more than ", kMostDepth, " deep at function ",
                               function);
    }
    return Status();
  }

  Status CheckCall(const Node& call, const GraphFunction& f) const {
    if (call.inputs.size() != f.graph.args.size() ||
        call.output_types.size() != f.graph.results.size()) {
      return InvalidArgument("found ", call.inputs.size(), " arguments and ",
                             call.output_types.size(), " results, function ", f.name, " has ",
                             f.graph.args.size(), " and ", f.graph.results.size());
    }
    for (size_t i = 0; i < call.inputs.size(); ++i) {
      const DType found = graph_->type(call.inputs[i]);
      const DType expected = f.graph.node(f.graph.args[i]).output_types[0];
      if (found != expected) {
        return InvalidArgument("argument ", i, " is ", found, ", function ", f.name, " takes ",
                               expected);
      }
    }
    for (size_t i = 0; i < call.output_types.size(); ++i) {
      if (call.output_types[i] != f.graph.type(f.graph.results[i])) {
        return InvalidArgument("result ", i, " is declared ", call.output_types[i], ", function ",
                               f.name, " gives ", f.graph.type(f.graph.results[i]));
      }
    }
    return Status();
  }

  NodeId AddNoOp(std::string name, int origin) {
    Node node;
    node.name = std::move(name);
    node.op = "NoOp";
    node.registered = context_->env.registry->Find("NoOp");
    origin_of_.push_back(origin);
    return graph_->AddNode(std::move(node));
  }

  // Makes `id` wait for `v`.
  void WaitFor(NodeId id, NodeOutput v) {
    const NodeId source = ControlOf(*context_, graph_, v);
    origin_of_.resize(graph_->num_nodes(), -1);
    graph_->node(id).control_inputs.push_back(source);
  }

  Status Expand(NodeId call_id) {
    const FuncAttr f = graph_->node(call_id).attrs.Get<FuncAttr>("f");
    const int caller = origin_of_[call_id];
    SM_RETURN_IF_ERROR(CheckOrigin(f.name, caller));
    SM_ASSIGN_OR_RETURN(std::shared_ptr<const GraphFunction> function, context_->library->Get(f));
    SM_RETURN_IF_ERROR(CheckCall(graph_->node(call_id), *function));
    const Graph& body = function->graph;
    const int origin = static_cast<int>(origins_.size());
    origins_.push_back({f.name, caller});
    const std::string prefix = graph_->node(call_id).name + "/";

    // What waits for the call waits for `done`; what the call waits for, its sources wait for.
    const NodeId start = AddNoOp(prefix + "start", caller);
    graph_->node(start).control_inputs = graph_->node(call_id).control_inputs;
    if (has_switch_) {
      const std::vector<NodeOutput> inputs = graph_->node(call_id).inputs;
      for (const NodeOutput& v : inputs) WaitFor(start, v);
    }
    const std::vector<NodeOutput> arguments = graph_->node(call_id).inputs;
    std::vector<NodeId> copy_of(body.num_nodes(), -1);
    const NodeId first = graph_->num_nodes();
    std::vector<int> argument_of(body.num_nodes(), -1);
    for (size_t i = 0; i < body.args.size(); ++i) argument_of[body.args[i]] = static_cast<int>(i);
    for (NodeId id = 0; id < body.num_nodes(); ++id) {
      if (argument_of[id] >= 0) continue;
      copy_of[id] = graph_->AddNode(body.node(id));
      origin_of_.push_back(origin);
      graph_->node(copy_of[id]).name = prefix + body.node(id).name;
    }
    const auto mapped = [&](NodeOutput v) {
      return argument_of[v.node] >= 0 ? arguments[argument_of[v.node]]
                                      : NodeOutput{copy_of[v.node], v.index};
    };
    const NodeId last = graph_->num_nodes();
    for (NodeId id = first; id < last; ++id) {
      Node& node = graph_->node(id);
      has_switch_ = has_switch_ || node.op == "Switch";
      for (NodeOutput& v : node.inputs) v = mapped(v);
      std::vector<NodeId> controls;
      std::vector<NodeOutput> waits;
      for (NodeId c : node.control_inputs) {
        if (argument_of[c] >= 0) {
          waits.push_back(arguments[argument_of[c]]);
        } else {
          controls.push_back(copy_of[c]);
        }
      }
      if (node.inputs.empty() && controls.empty() && waits.empty() && !node.is_const())
        controls.push_back(start);
      if (has_switch_ && node.is_const() && controls.empty()) controls.push_back(start);
      node.control_inputs = std::move(controls);
      for (const NodeOutput& v : waits) WaitFor(id, v);  // may move `node`
    }
    const NodeId done = AddNoOp(prefix + "done", caller);
    for (NodeId target : body.targets) {
      if (copy_of[target] >= 0) graph_->node(done).control_inputs.push_back(copy_of[target]);
    }
    for (size_t i = 0; i < body.results.size(); ++i) {
      const NodeOutput to = mapped(body.results[i]);
      redirects_.Set({call_id, static_cast<int>(i)}, to);
      WaitFor(done, to);
    }
    graph_->node(done).control_inputs.push_back(start);
    redirects_.SetControl(call_id, done);
    if (!body.targets.empty()) graph_->targets.push_back(done);
    return Status();
  }

  OptimizeContext* context_;
  Graph* graph_;
  bool has_switch_ = false;
  std::vector<Origin> origins_;
  std::vector<int> origin_of_;
  Redirects redirects_;
};

}  // namespace

Status InlineCalls(OptimizeContext* context, Graph* graph) { return Inliner(context, graph).Run(); }

}  // namespace savedmodel
