// The IR: graphs of nodes that name their inputs by index.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "savedmodel/op.h"
#include "src/graph/op_signature.h"

namespace savedmodel {

using NodeId = int32_t;

// Output `index` of node `node`.
struct NodeOutput {
  NodeId node = -1;
  int32_t index = 0;

  friend bool operator==(const NodeOutput&, const NodeOutput&) = default;
};

struct Node {
  std::string name;
  std::string op;
  // The op's row. Null until ResolveNode, and for ops without one.
  const RegisteredOp* registered = nullptr;
  Attrs attrs;
  std::vector<NodeOutput> inputs;
  std::vector<NodeId> control_inputs;
  std::vector<DType> output_types;
  // Output holds a variable's reference (TensorFlow 1): a resource handle in this library.
  std::vector<bool> output_is_ref;
  // Shapes as last inferred, parallel to output_types; empty before inference.
  std::vector<Shape> output_shapes;
  // Why the node cannot be used (no row for its op, an attribute that does not fit, …). Compiling
  // reports it when a function reaches the node; until then it does no harm.
  Status error;
  // Steps fused behind this node by the optimizer.
  std::vector<EpilogueStep> epilogue;

  int num_outputs() const { return static_cast<int>(output_types.size()); }
  bool is_const() const { return op == "Const"; }
  bool is_arg() const { return op == "_Arg"; }
};

// A graph with arguments and results. Nodes are never moved: passes mark what is dead by leaving it
// unreachable, and Compact() drops it.
class Graph {
 public:
  NodeId AddNode(Node node) {
    nodes_.push_back(std::move(node));
    return static_cast<NodeId>(nodes_.size()) - 1;
  }
  // A Const node that holds `value`.
  NodeId AddConst(std::string name, Tensor value);
  // An `_Arg` node appended to the arguments.
  NodeId AddArg(std::string name, DType dtype, Shape shape);

  int num_nodes() const { return static_cast<int>(nodes_.size()); }
  Node& node(NodeId id) { return nodes_[id]; }
  const Node& node(NodeId id) const { return nodes_[id]; }
  const std::vector<Node>& nodes() const { return nodes_; }

  // kInvalid for an output that the node, which cannot be used, does not have.
  DType type(NodeOutput v) const {
    const Node& n = nodes_[v.node];
    return v.index < static_cast<int>(n.output_types.size()) ? n.output_types[v.index]
                                                             : DType::kInvalid;
  }
  bool is_ref(NodeOutput v) const {
    const Node& n = nodes_[v.node];
    return v.index < static_cast<int>(n.output_is_ref.size()) && n.output_is_ref[v.index];
  }
  // The inferred shape, or unknown.
  Shape shape(NodeOutput v) const {
    const Node& n = nodes_[v.node];
    return v.index < static_cast<int>(n.output_shapes.size()) ? n.output_shapes[v.index]
                                                              : Shape::Unknown();
  }
  // The value of a Const node's output, else nullptr.
  const Tensor* constant(NodeOutput v) const;

  // Arguments in order (`_Arg` nodes), results, and nodes that must run though nothing uses them.
  std::vector<NodeId> args;
  std::vector<NodeOutput> results;
  std::vector<NodeId> targets;

  // Live nodes in an order in which inputs and control inputs come first; ties keep the order of
  // ids. INVALID_ARGUMENT names a node on a cycle. Edges out of NextIteration nodes do not count.
  StatusOr<std::vector<NodeId>> TopologicalOrder() const;
  // The same, but nodes that are `late` come, all that are ready at a time, when nothing else is.
  StatusOr<std::vector<NodeId>> TopologicalOrder(FunctionRef<bool(const Node&)> late) const;
  // Drops what neither results, targets nor args reach, and renumbers.
  void Compact();

  // One line per node, in order of ids.
  std::string DebugString() const;

 private:
  std::vector<Node> nodes_;
};

// Name and dtype of a function's argument or result.
struct GraphArg {
  std::string name;
  DType dtype = DType::kInvalid;
};

// A function of a model's library, as a graph.
struct GraphFunction {
  std::string name;
  std::vector<GraphArg> inputs;
  std::vector<GraphArg> outputs;
  bool stateful = false;
  // The graph has been specialised for the shapes of its arguments: there is nothing left to do.
  bool is_specialized = false;
  Graph graph;
};

// Where functions come from. Conversion happens when one is first asked for; thread-safe.
class FunctionLibrary {
 public:
  virtual ~FunctionLibrary() = default;
  virtual bool Has(const std::string& name) const = 0;
  // The function, with the type parameters of `f.attrs` put in. NOT_FOUND, or what is wrong in it.
  virtual StatusOr<std::shared_ptr<const GraphFunction>> Get(const FuncAttr& f) const = 0;
  virtual std::vector<std::string> Names() const = 0;
};

// Finds the node's row, completes and checks attributes, sets output types, and checks number and
// dtypes of inputs against producers (which must be resolved already). A node whose op is a
// function of `library` (may be null) becomes a call of it.
// UNIMPLEMENTED for an op without a row; INVALID_ARGUMENT for everything that does not fit.
Status ResolveNode(const OpRegistry& registry, const FunctionLibrary* library, Graph* graph,
                   NodeId id);

// The two halves of ResolveNode, for graphs with cycles, where all outputs must be known first.
Status ResolveOutputs(const OpRegistry& registry, const FunctionLibrary* library, Graph* graph,
                      NodeId id);
Status CheckNodeInputs(const Graph& graph, NodeId id);

// True for Merge, which runs when any of its inputs is live.
bool IsMerge(const Node& node);

// True for ops of which one output can be dead while another is not, so that a control edge cannot
// stand for a data edge from them.
bool SplitsDeadness(const Node& node);

// The functions that a node calls.
std::vector<FuncAttr> Callees(const Node& node);

// True for ops whose `func` attributes call functions: they keep values beyond a step.
bool CallsFunctions(const Node& node);

// True for While in its forms.
bool IsWhile(const Node& node);

// True for If and Case in their forms.
bool CallsOneOfBranches(const Node& node);

// True for ops that run functions on inputs where these lie: what a function keeps beyond its run
// it copies.
bool CallsInPlace(const Node& node);

}  // namespace savedmodel
