// Graphs from files: GraphDefs, binary or text.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "src/graph/graph.h"

namespace savedmodel {

// A model's graph, the functions that it can call, and its nodes by name.
//
// Nodes that cannot be used carry their `error`. Where a node takes the value of a variable that
// its producer outputs by reference (TensorFlow 1), a `_ReadRef` node stands between the two.
struct LoadedGraph {
  Graph graph;
  std::shared_ptr<FunctionLibrary> functions;
  std::unordered_map<std::string, NodeId> by_name;
};

// The main graph of a model, imported when it is first asked for. Thread-safe.
class MainGraph {
 public:
  using Import = std::function<StatusOr<LoadedGraph>()>;
  explicit MainGraph(LoadedGraph graph) : graph_(std::move(graph)) {}
  explicit MainGraph(Import import) : import_(std::move(import)) {}

  StatusOr<const LoadedGraph*> Get() const;

 private:
  mutable std::mutex mutex_;
  mutable Import import_;  // null when done
  mutable StatusOr<LoadedGraph> graph_{LoadedGraph()};
};

// The graph in `bytes_or_text`, a serialised GraphDef or its text form. `registry` must outlive the
// result. INVALID_ARGUMENT for text or bytes that are no GraphDef, duplicate names, inputs that do
// not exist.
StatusOr<LoadedGraph> LoadGraphDef(std::string_view bytes_or_text, const OpRegistry& registry);

// Splits "node:k" into node and output; "node" is output 0. False for anything else.
bool SplitTensorName(std::string_view text, std::string_view* node, int32_t* index);

// `value`, or, when it is a reference to a variable, the output of a new `_ReadRef` node that reads
// it: what fetching a reference means.
StatusOr<NodeOutput> ValueOfReference(const OpRegistry& registry, Graph* graph, NodeOutput value);

}  // namespace savedmodel
