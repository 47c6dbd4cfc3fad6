// The part of importing that graphs and function bodies share: nodes, their types, references.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "src/graph/graph.h"
#include "src/loader/graph_importer.h"

namespace savedmodel {

namespace proto {
class NodeDef;
class OpDef;
class OpDef_ArgDef;
}  // namespace proto

// An argument of a function's signature, as the rows of ops state theirs.
StatusOr<ArgSpec> ArgSpecFromProto(const proto::OpDef_ArgDef& arg);

// As ArgTypes; INVALID_ARGUMENT where an attribute that holds a type is missing.
StatusOr<std::vector<DType>> ArgTypesOf(const ArgSpec& arg, const Attrs* attrs);

// Fills one graph in this order: Add all nodes, ResolveOutputs, give nodes their inputs, Finish.
class BodyImporter {
 public:
  BodyImporter(const OpRegistry& registry, const FunctionIndex& functions, const Attrs* call_attrs,
               Graph* graph)
      : registry_(registry), functions_(functions), call_attrs_(call_attrs), graph_(*graph) {}

  // Adds a node without its inputs. What is wrong with its attributes becomes the node's error.
  // INVALID_ARGUMENT for an empty name or one that is taken.
  Status Add(const proto::NodeDef& def);
  // As above; a large constant is moved out of `def`.
  Status Take(proto::NodeDef* def);
  // Makes `name` the name of a node that is there already (an argument).
  Status Register(std::string name, NodeId id);

  // Sets row, complete attributes and output types of all nodes.
  Status ResolveOutputs();

  // The node named `name`, or -1.
  NodeId Find(std::string_view name) const;
  // Appends the outputs that argument `output` of node `id` stands for. INVALID_ARGUMENT when the
  // op declares no such output; for a node with an error, output 0.
  Status AppendOutputs(NodeId id, std::string_view output, std::vector<NodeOutput>* values) const;
  // Counts what a node or result was given, so that a small file cannot ask for a huge graph.
  Status ChargeEdges(size_t count);

  // Checks inputs and puts reads behind references. Findings become errors of the nodes.
  void Finish();
  // True when the node is usable: it has a row and no error, or is an argument.
  bool Usable(NodeId id) const {
    const Node& n = graph_.node(id);
    return n.error.ok() && (n.registered != nullptr || n.is_arg());
  }

  const std::unordered_map<std::string, NodeId>& by_name() const { return by_name_; }
  std::unordered_map<std::string, NodeId> TakeNames() { return std::move(by_name_); }

 private:
  // A node whose op is a function: edges name the function's outputs.
  struct Callee {
    std::vector<ArgSpec> outputs;
    Attrs attrs;
  };

  Status AddNode(const proto::NodeDef& def, Node node);
  Status ResolveOne(NodeId id);
  Status MakeCall(const proto::OpDef& signature, NodeId id);
  void ReadReferences(NodeId id);

  const OpRegistry& registry_;
  const FunctionIndex& functions_;
  const Attrs* call_attrs_;
  Graph& graph_;
  std::unordered_map<std::string, NodeId> by_name_;
  std::unordered_map<NodeId, Callee> callees_;
  size_t edges_ = 0;
};

}  // namespace savedmodel
