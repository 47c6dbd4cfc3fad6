// GraphDef and FunctionDef → Graph.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "src/graph/graph.h"
#include "src/loader/graph_loader.h"

namespace savedmodel {

namespace proto {
class FunctionDef;
class GraphDef;
class OpDef;
}  // namespace proto

struct ImportOptions {
  int64_t max_nodes = 1'000'000;  // of the graph, and of each function
};

// A function of a library. Thread-safe.
class LibraryFunction {
 public:
  // `def` outlives this.
  explicit LibraryFunction(const proto::FunctionDef& def);
  ~LibraryFunction();

  const proto::FunctionDef& def() const { return def_; }
  // Parsed on the first call, if it has not been. DATA_LOSS.
  StatusOr<const proto::OpDef*> Signature() const;

 private:
  const proto::FunctionDef& def_;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<proto::OpDef> parsed_;
};

// Functions by name. The keys are views of the protos' own names.
using FunctionIndex = std::unordered_map<std::string_view, LibraryFunction>;

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
