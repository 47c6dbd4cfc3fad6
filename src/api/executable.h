// One function of a model, compiled when it is called.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/api/model_context.h"
#include "src/api/plan_cache.h"
#include "src/executor/plan.h"
#include "src/loader/graph_loader.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel::api {

// A graph with its plans: optimised once, specialised for sets of input shapes that come
// (plan_cache.h), and compiled anew when a variable that it took for a constant was assigned.
// Thread-safe.
class Executable {
 public:
  // `context` must outlive it.
  Executable(const ModelContext* context, std::string name, Graph graph);
  ~Executable();

  const std::string& name() const { return name_; }
  const Graph& graph() const { return graph_; }
  int num_inputs() const { return static_cast<int>(graph_.args.size()); }
  int num_outputs() const { return static_cast<int>(graph_.results.size()); }

  // Specs of arguments and results under these names.
  void Describe(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                std::vector<TensorSpec>* input_specs, std::vector<TensorSpec>* output_specs) const;
  // INVALID_ARGUMENT, naming the input, where a dtype or shape does not fit the argument.
  Status CheckInputs(Span<const std::string> names, Span<const Tensor> inputs) const;
  // The plan for inputs of these shapes; or, where it may be that, one that serves others, too.
  StatusOr<std::shared_ptr<const Plan>> PlanFor(Span<const Shape> shapes, RunState& run,
                                                bool may_be_common = false) const;
  // Runs on `inputs`, which are moved from.
  Status Run(Span<Tensor> inputs, Span<Tensor> outputs, RunState& run) const;
  // INVALID_ARGUMENT for inputs whose dtypes are not the arguments': a signature may lie.
  Status CheckDTypes(Span<const Tensor> inputs) const;
  // INVALID_ARGUMENT for a result on the side of a branch that was not taken.
  Status CheckResult(int i, const Tensor& result) const {
    return result.has_value() ? Status() : NoValue(i);
  }
  // True when `plan`, got from PlanFor, no longer stands for the variables' values.
  bool IsStale(uint64_t change_count) const;

 private:
  struct Compiled;

  Status NoValue(int i) const;
  StatusOr<std::shared_ptr<const Plan>> CompilePlan(Span<const Shape> shapes, RunState& run) const;

  const ModelContext* context_;
  const std::string name_;
  const Graph graph_;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<Compiled> compiled_;
  mutable std::set<const VariableResource*> volatile_variables_;
};

// A function of `graph` from the tensors `feeds` to the tensors `fetches`, running `targets` too.
// Names are "node:k" or "node". Fetching a reference reads it.
StatusOr<Graph> PruneGraph(const ModelContext& context, const Graph& graph,
                           const std::unordered_map<std::string, NodeId>& by_name,
                           const std::vector<std::string>& feeds,
                           const std::vector<std::string>& fetches,
                           const std::vector<std::string>& targets);

// Makes constants of the tensors that `inputs` names, for all that takes them.
Status MapInputs(const TensorMap& inputs, LoadedGraph* loaded);

// `graph` with the tensors `fetches` as its results. Calls are replaced by the functions' bodies,
// so that a node of a called function is "call/node"; the end of a name that only one node has will
// do.
StatusOr<Graph> FetchGraph(const ModelContext& context, const Graph& graph,
                           const std::vector<std::string>& fetches);

}  // namespace savedmodel::api
