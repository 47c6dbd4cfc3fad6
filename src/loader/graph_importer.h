// GraphDef and FunctionDef → Graph.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "src/graph/graph.h"
#include "src/loader/graph_loader.h"

namespace savedmodel {

namespace proto {
class FunctionDef;
class GraphDef;
}  // namespace proto

struct ImportOptions {
  int64_t max_nodes = 1'000'000;  // of the graph, and of each function
};

// FunctionDefs by name. The keys are views of the protos' own names.
using FunctionIndex = std::unordered_map<std::string_view, const proto::FunctionDef*>;

class ProtoFunctionLibrary;

// Imports `graph_def`, whose functions are `library`, moving large constants out of it.
StatusOr<LoadedGraph> ImportGraphDef(std::shared_ptr<ProtoFunctionLibrary> library,
                                     proto::GraphDef* graph_def, const OpRegistry& registry,
                                     const ImportOptions& options = {});

// Imports the body of `function`, whose type parameters have the values in `attrs` (may be null).
StatusOr<std::shared_ptr<const GraphFunction>> ImportFunction(const proto::FunctionDef& function,
                                                              const Attrs* attrs,
                                                              const FunctionIndex& functions,
                                                              const OpRegistry& registry,
                                                              const ImportOptions& options);

}  // namespace savedmodel
