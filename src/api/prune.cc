// Sub-graphs between tensors named by a caller.
#include "src/api/executable.h"
#include "src/base/status_macros.h"
#include "src/loader/graph_loader.h"

namespace savedmodel::api {
namespace {

// The node of a tensor's name "node:k" or "node", and k or 0.
std::string NodeOfTensor(const std::string& tensor, int32_t* index) {
  std::string_view node;
  if (SplitTensorName(tensor, &node, index)) return std::string(node);
  *index = 0;
  return tensor;
}

using NodesByName = std::unordered_map<std::string, NodeId>;

// "node:k" or "node" (k = 0).
StatusOr<NodeOutput> FindTensor(const Graph& graph, const NodesByName& by_name,
                                const std::string& tensor) {
  int32_t index = 0;
  const std::string node_name = NodeOfTensor(tensor, &index);
  auto it = by_name.find(node_name);
  if (it == by_name.end()) {
    return NotFound("tensor '", tensor, "': the graph has no node '", node_name,
                    "'; expected \"node:output\" with a node of this graph");
  }
  const Node& node = graph.node(it->second);
  if (!node.error.ok()) return node.error.At(NodePlace(node));
  if (index < 0 || index >= node.num_outputs()) {
    return NotFound("tensor '", tensor, "': node '", node_name, "' (", node.op, ") has ",
                    node.num_outputs(), " outputs");
  }
  return NodeOutput{it->second, index};
}

Shape DeclaredShape(const Graph& graph, NodeOutput v) {
  const Node& node = graph.node(v.node);
  if (node.op == "Placeholder" || node.op == "PlaceholderWithDefault" ||
      node.op == "PlaceholderV2") {
    const AttrValue* shape = node.attrs.Find("shape");
    // Old graphs write a scalar shape where they mean an unknown one.
    if (shape != nullptr && std::holds_alternative<Shape>(*shape) && node.op != "Placeholder") {
      return std::get<Shape>(*shape);
    }
    if (shape != nullptr && std::holds_alternative<Shape>(*shape) &&
        std::get<Shape>(*shape).rank() != 0) {
      return std::get<Shape>(*shape);
    }
  }
  return Shape::Unknown();
}

// Names of nodes that end in "/" + `name`, in order.
std::vector<std::string> NodesThatEndIn(const Graph& graph, const std::string& name) {
  const std::string end = "/" + name;
  std::vector<std::string> found;
  for (const Node& node : graph.nodes()) {
    const std::string& full = node.name;
    if (full.size() > end.size() && full.compare(full.size() - end.size(), end.size(), end) == 0) {
      found.push_back(full);
    }
  }
  return found;
}

}  // namespace

Status MapInputs(const TensorMap& inputs, LoadedGraph* loaded) {
  Redirects redirects;
  for (const auto& [name, value] : inputs) {
    SM_ASSIGN_OR_RETURN(const NodeOutput v, FindTensor(loaded->graph, loaded->by_name, name));
    if (value.dtype() != loaded->graph.type(v)) {
      return InvalidArgument("input_map of tensor '", name, "': found ", value.TypeString(),
                             ", expected dtype ", loaded->graph.type(v));
    }
    redirects.Set(v, {loaded->graph.AddConst(name, value), 0});
  }
  redirects.Apply(&loaded->graph);
  return Status();
}

StatusOr<Graph> FetchGraph(const ModelContext& context, const Graph& graph,
                           const std::vector<std::string>& fetches) {
  Graph out = graph;
  OverlayLibrary library(context.functions.get());
  OptimizeContext inlining;
  inlining.env.registry = context.registry;
  inlining.env.functions = &library;
  inlining.library = &library;
  SM_RETURN_IF_ERROR(InlineCalls(&inlining, &out));
  NodesByName by_name;
  for (NodeId id = 0; id < out.num_nodes(); ++id) by_name.emplace(out.node(id).name, id);
  out.results.clear();
  out.targets.clear();
  for (std::string fetch : fetches) {
    int32_t index = 0;
    const std::string name = NodeOfTensor(fetch, &index);
    if (by_name.count(name) == 0) {
      const std::vector<std::string> ends = NodesThatEndIn(out, name);
      if (ends.size() > 1) {
        return InvalidArgument("tensor '", fetch, "': ", ends.size(), " nodes end in '", name,
                               "', among them ", ends[0], " and ", ends[1],
                               "; give more of the name");
      }
      if (ends.empty()) {
        return NotFound("tensor '", fetch,
                        "': no node of the function, or of one that it calls, is '", name,
                        "' or ends in it; what lies in loops and branches, and what no "
                        "result needs, cannot be fetched");
      }
      fetch = StrCat(ends[0], ":", index);
    }
    SM_ASSIGN_OR_RETURN(NodeOutput v, FindTensor(out, by_name, fetch));
    SM_ASSIGN_OR_RETURN(v, ValueOfReference(*context.registry, &out, v));
    out.results.push_back(v);
  }
  out.Compact();
  return out;
}

StatusOr<Graph> PruneGraph(const ModelContext& context, const Graph& graph,
                           const NodesByName& by_name, const std::vector<std::string>& feeds,
                           const std::vector<std::string>& fetches,
                           const std::vector<std::string>& targets) {
  Graph out = graph;
  out.args.clear();
  out.results.clear();
  out.targets.clear();
  std::vector<NodeOutput> fed;
  Redirects redirects;
  for (const std::string& name : feeds) {
    SM_ASSIGN_OR_RETURN(const NodeOutput v, FindTensor(graph, by_name, name));
    for (const NodeOutput& other : fed) {
      if (other == v) return InvalidArgument("tensor '", name, "' is fed twice");
    }
    fed.push_back(v);
    const NodeId arg = out.AddArg(name, graph.type(v), DeclaredShape(graph, v));
    redirects.Set(v, {arg, 0});
    if (graph.node(v.node).num_outputs() == 1) redirects.SetControl(v.node, arg);
  }
  for (const std::string& name : targets) {
    const std::string node = name.front() == '^' ? name.substr(1) : name;
    auto it = by_name.find(node);
    if (it != by_name.end()) {
      out.targets.push_back(it->second);
      continue;
    }
    SM_ASSIGN_OR_RETURN(const NodeOutput v, FindTensor(graph, by_name, node));
    out.targets.push_back(v.node);
  }
  for (const std::string& name : fetches) {
    SM_ASSIGN_OR_RETURN(NodeOutput v, FindTensor(graph, by_name, name));
    bool is_fed = false;
    for (const NodeOutput& f : fed) is_fed = is_fed || f == v;
    if (!is_fed) {
      SM_ASSIGN_OR_RETURN(v, ValueOfReference(*context.registry, &out, v));
    }
    out.results.push_back(v);
  }
  redirects.Apply(&out);
  out.Compact();
  return out;
}

}  // namespace savedmodel::api
