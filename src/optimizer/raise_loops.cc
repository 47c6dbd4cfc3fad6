// TensorFlow 1 loops (frames of Enter, Merge, Switch, NextIteration, Exit) raised to While nodes,
// where they are of the form that tf.while_loop gives, and else to `_Loop` nodes.
//
// One iteration of a frame is a graph without cycles: the Merge of each loop variable becomes an
// argument, what feeds its NextIteration and what feeds each Exit become results. Deadness says at
// run time which of them an iteration produced. src/kernels/control/loop.cc runs it.
#include <algorithm>
#include <map>
#include <numeric>
#include <optional>

#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

bool IsEnter(const Node& n) { return n.op == "Enter" || n.op == "RefEnter"; }
bool IsExit(const Node& n) { return n.op == "Exit" || n.op == "RefExit"; }
bool IsNext(const Node& n) { return n.op == "NextIteration" || n.op == "RefNextIteration"; }

constexpr int kMostNesting = 256;

struct FrameInfo {
  std::string name;
  int parent = -1;
  int depth = 0;
  std::vector<NodeId> enters;
  std::vector<NodeId> exits;
  std::vector<NodeId> members;  // neither Enter nor Exit, in topological order
};

class LoopRaiser {
 public:
  LoopRaiser(OptimizeContext* context, Graph* graph) : context_(context), graph_(graph) {}

  Status Run() {
    bool any = false;
    for (const Node& n : graph_->nodes()) any = any || IsEnter(n) || IsNext(n) || IsExit(n);
    if (!any) return Status();
    TakeEnteredResults();
    // Inner frames first; each round raises the deepest, so that an outer body holds no frames.
    for (;;) {
      SM_RETURN_IF_ERROR(context_->CheckInterrupt());
      SM_RETURN_IF_ERROR(FindFrames());
      if (frames_.size() <= 1) break;
      SM_RETURN_IF_ERROR(CheckResults());
      int deepest = 0;
      for (const FrameInfo& f : frames_) deepest = std::max(deepest, f.depth);
      Redirects redirects;
      for (const FrameInfo& frame : frames_) {
        if (frame.depth == deepest && deepest > 0) SM_RETURN_IF_ERROR(Raise(frame, &redirects));
      }
      redirects.Apply(graph_);
      graph_->Compact();
    }
    return Status();
  }

 private:
  static constexpr int kRoot = 0;

  // Assigns each node the innermost frame that its inputs put it in.
  Status FindFrames() {
    frames_.assign(1, FrameInfo());
    frame_of_.assign(graph_->num_nodes(), kRoot);
    SM_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph_->TopologicalOrder());
    std::map<std::pair<int, std::string>, int> known;
    for (NodeId id : order) {
      const Node& node = graph_->node(id);
      SM_ASSIGN_OR_RETURN(int frame, FrameOfInputs(node));
      if (IsEnter(node)) {
        const std::string& name = node.attrs.String("frame_name");
        const auto [it, inserted] = known.emplace(std::make_pair(frame, name), frames_.size());
        if (inserted) {
          FrameInfo info;
          info.name = name;
          info.parent = frame;
          info.depth = frames_[frame].depth + 1;
          if (info.depth > kMostNesting) {
            return ResourceExhausted(NodePlace(node), ": loops are nested more than ", kMostNesting,
                                     " deep");
          }
          frames_.push_back(std::move(info));
        }
        frame = it->second;
        frames_[frame].enters.push_back(id);
      } else if (IsExit(node)) {
        if (frame == kRoot) return Invalid(node, "an Exit outside of any loop");
        frames_[frame].exits.push_back(id);
      } else if (IsNext(node) && frame == kRoot) {
        return Invalid(node, "a NextIteration outside of any loop");
      } else if (frame != kRoot) {
        frames_[frame].members.push_back(id);
      }
      frame_of_[id] = frame;
    }
    return Status();
  }

  // The innermost frame among those of the inputs; one must hold the other.
  StatusOr<int> FrameOfInputs(const Node& node) const {
    int frame = kRoot;
    bool mixed = false;
    const auto consider = [&](NodeId input) {
      if (IsNext(graph_->node(input))) return;
      int inner = OutputFrame(input), outer = frame;
      if (frames_[inner].depth < frames_[outer].depth) std::swap(inner, outer);
      frame = inner;
      while (frames_[inner].depth > frames_[outer].depth) inner = frames_[inner].parent;
      mixed = mixed || inner != outer;
    };
    for (const NodeOutput& v : node.inputs) consider(v.node);
    for (NodeId c : node.control_inputs) consider(c);
    if (mixed) return Invalid(node, "inputs from different loops");
    return frame;
  }

  // An Enter that is a result gives the value from outside of the loop.
  void TakeEnteredResults() {
    for (NodeOutput& v : graph_->results) {
      while (IsEnter(graph_->node(v.node))) v = graph_->node(v.node).inputs[0];
    }
  }

  // What is asked for must have left its loop.
  Status CheckResults() const {
    for (const NodeOutput& v : graph_->results) {
      if (OutputFrame(v.node) == kRoot) continue;
      return Invalid(graph_->node(v.node), "a result inside of a loop");
    }
    return Status();
  }

  // The frame in which users see a node's outputs: an Exit's are in the parent frame.
  int OutputFrame(NodeId id) const {
    const int frame = frame_of_[id];
    return IsExit(graph_->node(id)) ? frames_[frame].parent : frame;
  }

  static Status Invalid(const Node& node, std::string_view what) {
    return InvalidArgument(NodePlace(node), ": found ", what,
                           "; expected Enter before and Exit behind all of a loop");
  }

  static Status Malformed(const Node& node, std::string_view what) {
    return Unimplemented(NodePlace(node), ": ", what,
                         "; expected a loop of the form that tf.while_loop gives");
  }

  struct Variable {
    NodeId merge = -1, enter = -1, next = -1;
  };

  Status FindVariables(const FrameInfo& frame, std::vector<Variable>* variables) const {
    for (NodeId id : frame.members) {
      const Node& node = graph_->node(id);
      if (!IsMerge(node)) continue;
      Variable v;
      v.merge = id;
      for (const NodeOutput& input : node.inputs) {
        const Node& from = graph_->node(input.node);
        if (IsNext(from)) v.next = input.node;
        if (IsEnter(from)) v.enter = input.node;
      }
      if (v.next < 0) continue;  // the Merge of a conditional inside the body
      if (v.enter < 0 || node.inputs.size() != 2) {
        return Malformed(node, "a loop variable without exactly one Enter and one NextIteration");
      }
      variables->push_back(v);
    }
    return Status();
  }

  Status Raise(const FrameInfo& frame, Redirects* redirects) {
    std::vector<Variable> variables;
    SM_RETURN_IF_ERROR(FindVariables(frame, &variables));
    GraphFunction body;
    body.name = "loop_body:" + frame.name;
    Graph& inner = body.graph;
    std::vector<NodeOutput> inputs;
    std::vector<NodeId> controls;
    std::map<NodeId, NodeId> copy_of;                    // member, or merge, to inner node
    std::map<std::pair<NodeId, int>, NodeId> invariant;  // outer value to inner argument

    const auto add_argument = [&](NodeOutput outer) {
      const Node& node = graph_->node(outer.node);
      inputs.push_back(outer);
      const NodeId arg = inner.AddArg(node.name, graph_->type(outer), Shape::Unknown());
      inner.node(arg).output_is_ref = {graph_->is_ref(outer)};
      return arg;
    };
    for (const Variable& v : variables) {
      const Node& enter = graph_->node(v.enter);
      copy_of[v.merge] = add_argument(enter.inputs[0]);
      controls.insert(controls.end(), enter.control_inputs.begin(), enter.control_inputs.end());
    }
    for (NodeId id : frame.enters) {
      const Node& enter = graph_->node(id);
      const std::pair<NodeId, int> key(id, 0);
      if (invariant.count(key) > 0) continue;
      const bool used = std::any_of(frame.members.begin(), frame.members.end(),
                                    [&](NodeId m) { return UsesDirectly(m, id); });
      const bool exits = std::any_of(frame.exits.begin(), frame.exits.end(), [&](NodeId e) {
        return graph_->node(e).inputs[0].node == id;
      });
      if (!used && !exits) continue;
      invariant[key] = add_argument(enter.inputs[0]);
      controls.insert(controls.end(), enter.control_inputs.begin(), enter.control_inputs.end());
    }
    for (NodeId id : frame.members) {
      if (copy_of.count(id) > 0 || IsNext(graph_->node(id))) continue;
      copy_of[id] = inner.AddNode(graph_->node(id));
    }
    const auto mapped = [&](NodeOutput v) -> NodeOutput {
      auto it = copy_of.find(v.node);
      if (it != copy_of.end()) return {it->second, v.index};
      const std::pair<NodeId, int> key(v.node, v.index);
      auto known = invariant.find(key);
      if (known == invariant.end()) known = invariant.emplace(key, add_argument(v)).first;
      return {known->second, 0};
    };
    for (const auto& [outer, copy] : copy_of) {
      if (inner.node(copy).is_arg()) continue;
      const Node original = graph_->node(outer);
      for (size_t i = 0; i < original.inputs.size(); ++i) {
        const NodeOutput v = mapped(original.inputs[i]);
        inner.node(copy).inputs[i] = v;
        if (inner.node(v.node).is_arg() && v.index > 0) {
          return Malformed(original, "a use of a loop variable's value_index");
        }
      }
      std::vector<NodeId> kept;
      for (NodeId c : original.control_inputs) {
        auto it = copy_of.find(c);
        if (it != copy_of.end()) {
          kept.push_back(it->second);
        } else if (frame_of_[c] != frame_of_[outer]) {
          controls.push_back(c);
        }
      }
      inner.node(copy).control_inputs = std::move(kept);
    }
    // A result, and what must have run before it is one: a push to a stack, for instance.
    const auto add_result = [&](NodeId id) {
      inner.results.push_back(mapped(graph_->node(id).inputs[0]));
      for (NodeId c : graph_->node(id).control_inputs) {
        if (auto it = copy_of.find(c); it != copy_of.end()) inner.targets.push_back(it->second);
      }
    };
    for (const Variable& v : variables) add_result(v.next);
    for (NodeId id : frame.exits) add_result(id);
    if (const std::optional<WhileForm> form = AsWhile(inner, variables.size())) {
      AddWhile(frame, *form, body, std::move(inputs), std::move(controls), redirects);
      return Status();
    }
    AddLoop(frame, variables.size(), std::move(body), std::move(inputs), std::move(controls),
            redirects);
    return Status();
  }

  bool UsesDirectly(NodeId user, NodeId enter) const {
    const Node& node = graph_->node(user);
    if (IsMerge(node) && std::any_of(node.inputs.begin(), node.inputs.end(),
                                     [&](NodeOutput v) { return IsNext(graph_->node(v.node)); })) {
      return false;
    }
    return std::any_of(node.inputs.begin(), node.inputs.end(),
                       [&](NodeOutput v) { return v.node == enter; });
  }

  // A loop all of whose variables go through a Switch by one condition, which does not depend on
  // what the Switches let through, and leave by it.
  struct WhileForm {
    NodeOutput condition;
    std::vector<int> exits;  // for each exit: the argument that it is the last value of
    bool pure = true;        // the body changes nothing
  };

  std::optional<WhileForm> AsWhile(const Graph& inner, size_t num_variables) const {
    WhileForm form;
    if (!inner.targets.empty() || inner.results.size() == num_variables) return {};
    for (size_t i = num_variables; i < inner.results.size(); ++i) {
      const Node& gate = inner.node(inner.results[i].node);
      if (gate.op != "Switch" || inner.results[i].index != 0 ||
          (i > num_variables && gate.inputs[1] != form.condition)) {
        return {};
      }
      form.condition = gate.inputs[1];
      const auto arg = std::find(inner.args.begin(), inner.args.end(), gate.inputs[0].node);
      if (arg == inner.args.end()) return {};
      form.exits.push_back(static_cast<int>(arg - inner.args.begin()));
    }
    if (inner.type(form.condition) != DType::kBool) return {};
    for (NodeId arg : inner.args) {
      if (inner.is_ref({arg, 0})) return {};
    }
    for (const Node& node : inner.nodes()) {
      form.pure = form.pure && IsPure(node);
      for (const NodeOutput& v : node.inputs) {
        if (IsGate(inner.node(v.node), form.condition) && v.index == 0) return {};
      }
    }
    for (size_t i = 0; i < num_variables; ++i) {
      if (IsGate(inner.node(inner.results[i].node), form.condition) &&
          inner.results[i].index == 0) {
        return {};
      }
    }
    return ConditionIsPure(inner, form.condition) ? std::optional(form) : std::nullopt;
  }

  static bool IsGate(const Node& node, NodeOutput condition) {
    return node.op == "Switch" && node.inputs.size() == 2 && node.inputs[1] == condition;
  }

  static bool IsPure(const Node& node) {
    return node.is_arg() || node.is_const() ||
           (node.registered != nullptr && node.registered->def->effects == Effects::kPure);
  }

  // Nothing that the condition needs has effects or lies behind a Switch or a Merge.
  bool ConditionIsPure(const Graph& inner, NodeOutput condition) const {
    std::vector<NodeId> stack = {condition.node};
    std::vector<bool> seen(inner.num_nodes(), false);
    while (!stack.empty()) {
      const NodeId id = stack.back();
      stack.pop_back();
      if (seen[id]) continue;
      seen[id] = true;
      const Node& node = inner.node(id);
      if (!IsPure(node) || CallsFunctions(node) || SplitsDeadness(node) || IsMerge(node)) {
        return false;
      }
      for (const NodeOutput& v : node.inputs) stack.push_back(v.node);
      stack.insert(stack.end(), node.control_inputs.begin(), node.control_inputs.end());
    }
    return true;
  }

  void AddWhile(const FrameInfo& frame, const WhileForm& form, const GraphFunction& turn,
                std::vector<NodeOutput> inputs, std::vector<NodeId> controls,
                Redirects* redirects) {
    GraphFunction cond, body;
    cond.name = "loop_cond:" + frame.name;
    body.name = turn.name;
    cond.graph = body.graph = turn.graph;
    cond.graph.results = {form.condition};
    Redirects gates;
    for (NodeId id = 0; id < body.graph.num_nodes(); ++id) {
      const Node& node = body.graph.node(id);
      if (!IsGate(node, form.condition)) continue;
      gates.Set({id, 1}, node.inputs[0]);
      gates.SetControl(id, -1);
    }
    const size_t num_variables = turn.graph.results.size() - frame.exits.size();
    body.graph.results.resize(num_variables);
    for (size_t i = num_variables; i < inputs.size(); ++i) {
      body.graph.results.push_back({body.graph.args[i], 0});
    }
    gates.Apply(&body.graph);
    std::vector<DType> types;
    for (size_t i = 0; i < inputs.size(); ++i) {
      types.push_back(graph_->type(inputs[i]));
      body.inputs.push_back({turn.graph.node(turn.graph.args[i]).name, types.back()});
    }
    cond.inputs = body.outputs = body.inputs;
    cond.outputs = {{"condition", DType::kBool}};
    cond.graph.Compact();
    body.graph.Compact();
    Node loop;
    loop.name = frame.name + "/loop";
    loop.op = form.pure ? "StatelessWhile" : "While";
    loop.registered = context_->env.registry->Find(loop.op);
    loop.inputs = std::move(inputs);
    loop.control_inputs = std::move(controls);
    loop.output_types = types;
    FuncAttr name;
    name.name = context_->library->Add(std::move(cond));
    loop.attrs.Set("cond", name);
    name.name = context_->library->Add(std::move(body));
    loop.attrs.Set("body", name);
    loop.attrs.Set("T", std::move(types));
    loop.attrs.Set("output_shapes", std::vector<Shape>());
    Replace(frame, graph_->AddNode(std::move(loop)), form.exits, redirects);
  }

  void AddLoop(const FrameInfo& frame, size_t num_variables, GraphFunction body,
               std::vector<NodeOutput> inputs, std::vector<NodeId> controls, Redirects* redirects) {
    std::vector<DType> input_types, output_types;
    for (const NodeOutput& v : inputs) input_types.push_back(graph_->type(v));
    for (NodeId id : frame.exits) output_types.push_back(graph_->node(id).output_types[0]);
    for (size_t i = 0; i < num_variables; ++i) {
      body.graph.node(body.graph.args[i]).attrs.Set("may_be_dead", true);
    }
    for (size_t i = 0; i < body.graph.args.size(); ++i) {
      body.inputs.push_back({body.graph.node(body.graph.args[i]).name, input_types[i]});
    }
    for (const NodeOutput& v : body.graph.results) {
      body.outputs.push_back({body.graph.node(v.node).name, body.graph.type(v)});
    }
    Node loop;
    loop.name = frame.name + "/loop";
    loop.op = "_Loop";
    loop.registered = context_->env.registry->Find("_Loop");
    loop.inputs = std::move(inputs);
    loop.control_inputs = std::move(controls);
    loop.output_types = output_types;
    for (NodeId id : frame.exits) loop.output_is_ref.push_back(graph_->is_ref({id, 0}));
    FuncAttr f;
    f.name = context_->library->Add(std::move(body));
    loop.attrs.Set("body", std::move(f));
    loop.attrs.Set("num_vars", static_cast<int64_t>(num_variables));
    loop.attrs.Set("Tin", std::move(input_types));
    loop.attrs.Set("Tout", std::move(output_types));
    std::vector<int> outputs(frame.exits.size());
    std::iota(outputs.begin(), outputs.end(), 0);
    Replace(frame, graph_->AddNode(std::move(loop)), outputs, redirects);
  }

  // Puts outputs of node `loop` in place of the exits. Whoever waits for a part of the loop waits
  // for all of it.
  static void Replace(const FrameInfo& frame, NodeId loop, const std::vector<int>& outputs,
                      Redirects* redirects) {
    for (NodeId id : frame.members) redirects->SetControl(id, loop);
    for (NodeId id : frame.enters) redirects->SetControl(id, loop);
    for (size_t i = 0; i < frame.exits.size(); ++i) {
      redirects->Set({frame.exits[i], 0}, {loop, outputs[i]});
      redirects->SetControl(frame.exits[i], loop);
    }
  }

  OptimizeContext* context_;
  Graph* graph_;
  std::vector<FrameInfo> frames_;
  std::vector<int> frame_of_;
};

}  // namespace

Status RaiseLoops(OptimizeContext* context, Graph* graph) {
  return LoopRaiser(context, graph).Run();
}

}  // namespace savedmodel
