// Constant arguments of loops and branches made constants of their bodies, so that variables freeze
// and weights are packed there too.
#include <algorithm>

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

// A copy of function `f` without the arguments that have a value in `constants`, and without the
// results in `dropped`, added to the library.
StatusOr<FuncAttr> WithConstants(OptimizeContext* context, const FuncAttr& f,
                                 const std::vector<const Tensor*>& constants,
                                 const std::vector<bool>& dropped) {
  SM_ASSIGN_OR_RETURN(std::shared_ptr<const GraphFunction> original, context->library->Get(f));
  if (original->graph.args.size() != constants.size()) {
    return InvalidArgument("function ", f.name, " takes ", original->graph.args.size(),
                           " arguments, found ", constants.size());
  }
  GraphFunction copy = *original;
  copy.name = copy.name.substr(0, copy.name.find('@'));
  Graph& graph = copy.graph;
  std::vector<NodeId> args;
  copy.inputs.clear();
  for (size_t i = 0; i < constants.size(); ++i) {
    const NodeId id = graph.args[i];
    if (constants[i] != nullptr) {
      MakeConst(&graph, id, *constants[i]);
      continue;
    }
    graph.node(id).attrs.Set("index", static_cast<int64_t>(args.size()));
    args.push_back(id);
    copy.inputs.push_back({graph.node(id).name, graph.node(id).output_types[0]});
  }
  graph.args = std::move(args);
  if (!dropped.empty()) {
    std::vector<NodeOutput> results;
    copy.outputs.clear();
    for (size_t i = 0; i < graph.results.size(); ++i) {
      if (i < dropped.size() && dropped[i]) continue;
      results.push_back(graph.results[i]);
      copy.outputs.push_back({"", graph.type(graph.results[i])});
    }
    graph.results = std::move(results);
  }
  FuncAttr out;
  out.name = context->library->Add(std::move(copy));
  return out;
}

const Tensor* PlainConstant(const Graph& graph, NodeOutput v) {
  return graph.node(v.node).control_inputs.empty() ? graph.constant(v) : nullptr;
}

// Drops the inputs that became constants; `first` inputs come before the function's arguments.
void DropInputs(Graph* graph, NodeId id, size_t first, const std::vector<const Tensor*>& constants,
                const char* types_attr) {
  Node& node = graph->node(id);
  std::vector<NodeOutput> inputs(node.inputs.begin(), node.inputs.begin() + first);
  std::vector<DType> types;
  for (size_t i = 0; i < constants.size(); ++i) {
    if (constants[i] != nullptr) continue;
    inputs.push_back(node.inputs[first + i]);
    types.push_back(graph->type(node.inputs[first + i]));
  }
  node.inputs = std::move(inputs);
  node.attrs.Set(types_attr, std::move(types));
}

bool AnyConstant(const std::vector<const Tensor*>& constants) {
  return std::any_of(constants.begin(), constants.end(),
                     [](const Tensor* t) { return t != nullptr; });
}

Status PushIntoLoop(OptimizeContext* context, Graph* graph, NodeId id) {
  const Node& node = graph->node(id);
  const size_t num_vars = static_cast<size_t>(node.attrs.Int("num_vars"));
  std::vector<const Tensor*> constants(node.inputs.size(), nullptr);
  for (size_t i = num_vars; i < node.inputs.size(); ++i) {
    constants[i] = PlainConstant(*graph, node.inputs[i]);
  }
  if (!AnyConstant(constants)) return Status();
  SM_ASSIGN_OR_RETURN(FuncAttr body,
                      WithConstants(context, node.attrs.Get<FuncAttr>("body"), constants, {}));
  graph->node(id).attrs.Set("body", std::move(body));
  DropInputs(graph, id, 0, constants, "Tin");
  return Status();
}

Status PushIntoBranches(OptimizeContext* context, Graph* graph, NodeId id) {
  const Node& node = graph->node(id);
  std::vector<const Tensor*> constants;
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    constants.push_back(PlainConstant(*graph, node.inputs[i]));
  }
  if (!AnyConstant(constants)) return Status();
  Attrs attrs = node.attrs;
  for (const auto& [name, value] : node.attrs) {
    if (const auto* f = std::get_if<FuncAttr>(&value)) {
      SM_ASSIGN_OR_RETURN(FuncAttr branch, WithConstants(context, *f, constants, {}));
      attrs.Set(name, std::move(branch));
    } else if (const auto* list = std::get_if<std::vector<FuncAttr>>(&value)) {
      std::vector<FuncAttr> branches;
      for (const FuncAttr& f : *list) {
        SM_ASSIGN_OR_RETURN(FuncAttr branch, WithConstants(context, f, constants, {}));
        branches.push_back(std::move(branch));
      }
      attrs.Set(name, std::move(branches));
    }
  }
  graph->node(id).attrs = std::move(attrs);
  DropInputs(graph, id, 1, constants, "Tin");
  return Status();
}

// A While argument is pushed when the body hands it on unchanged; its output is the constant too.
Status PushIntoWhile(OptimizeContext* context, Graph* graph, NodeId id, Redirects* redirects) {
  const Node& node = graph->node(id);
  const FuncAttr body = node.attrs.Get<FuncAttr>("body"), cond = node.attrs.Get<FuncAttr>("cond");
  SM_ASSIGN_OR_RETURN(std::shared_ptr<const GraphFunction> function, context->library->Get(body));
  const size_t count = node.inputs.size();
  if (function->graph.results.size() != count || function->graph.args.size() != count) {
    return Status();  // refused when the loop is compiled
  }
  std::vector<const Tensor*> constants(count, nullptr);
  std::vector<bool> dropped(count, false);
  for (size_t i = 0; i < count; ++i) {
    if (ArgumentIndex(function->graph, function->graph.results[i]) != static_cast<int>(i)) continue;
    constants[i] = PlainConstant(*graph, node.inputs[i]);
    dropped[i] = constants[i] != nullptr;
  }
  // A loop without variables would have no users: it would not run, and so end, when it must not.
  const bool all = std::find(dropped.begin(), dropped.end(), false) == dropped.end();
  if (all || !AnyConstant(constants)) return Status();
  SM_ASSIGN_OR_RETURN(FuncAttr new_body, WithConstants(context, body, constants, dropped));
  SM_ASSIGN_OR_RETURN(FuncAttr new_cond, WithConstants(context, cond, constants, {}));
  const std::vector<NodeOutput> old_inputs = node.inputs;
  Node& loop = graph->node(id);
  const std::vector<DType> old_types = loop.output_types;
  std::vector<DType> types;
  // The new outputs are lower-numbered than the old ones, so they are redirected to a fresh node.
  Node fresh = loop;
  fresh.inputs.clear();
  fresh.output_shapes.clear();
  fresh.output_is_ref.clear();
  std::vector<Shape> shapes;
  const auto& declared = loop.attrs.Get<std::vector<Shape>>("output_shapes");
  for (size_t i = 0; i < count; ++i) {
    if (dropped[i]) continue;
    fresh.inputs.push_back(old_inputs[i]);
    types.push_back(old_types[i]);
    if (i < declared.size()) shapes.push_back(declared[i]);
  }
  fresh.output_types = types;
  fresh.attrs.Set("T", types);
  fresh.attrs.Set("output_shapes", shapes);
  fresh.attrs.Set("body", std::move(new_body));
  fresh.attrs.Set("cond", std::move(new_cond));
  const NodeId fresh_id = graph->AddNode(std::move(fresh));
  int next = 0;
  for (size_t i = 0; i < count; ++i) {
    redirects->Set({id, static_cast<int>(i)},
                   dropped[i] ? old_inputs[i] : NodeOutput{fresh_id, next++});
  }
  redirects->SetControl(id, fresh_id);
  return Status();
}

}  // namespace

Status PushConstants(OptimizeContext* context, Graph* graph) {
  Redirects redirects;
  const int count = graph->num_nodes();
  for (NodeId id = 0; id < count && !context->library->IsLarge(); ++id) {
    Status status;
    if (graph->node(id).op == "_Loop") status = PushIntoLoop(context, graph, id);
    if (CallsOneOfBranches(graph->node(id))) {
      status = PushIntoBranches(context, graph, id);
    }
    if (IsWhile(graph->node(id))) {
      status = PushIntoWhile(context, graph, id, &redirects);
    }
    SM_RETURN_IF_ERROR(status.At(NodePlace(graph->node(id))));
  }
  redirects.Apply(graph);
  return Status();
}

}  // namespace savedmodel
