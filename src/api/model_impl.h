// What the handles of model.h stand for.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "savedmodel/model.h"
#include "src/api/executable.h"
#include "src/api/model_context.h"
#include "src/loader/saved_model_reader.h"

namespace savedmodel::api {

// One concrete function of a polymorphic one.
struct Trace {
  std::string function;                          // name in the library
  const ConcreteFunction* signature;             // of the model's object graph
  std::shared_ptr<const Executable> executable;  // in place of the model's own; see Fetch
};

// A function with named flat inputs and outputs, or a polymorphic one.
struct FunctionImpl {
  std::shared_ptr<const ModelImpl> model;  // keeps the context of `executable` alive
  std::string name;
  Status error;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::map<std::string, std::string> aliases;  // another name of an input → its name
  TensorMap defaults;                          // of inputs that may be left out
  std::shared_ptr<const Executable> executable;
  bool returns_list = false;  // results in the order of fetches, not in a structure
  // Polymorphic: several traces, or arguments with structure.
  std::vector<Trace> traces;
  const FunctionSpec* spec = nullptr;
};

struct VariableState {
  std::shared_ptr<const ModelImpl> model;
  Status error;
  std::shared_ptr<VariableResource> resource;
  std::string name;
  bool trainable = false;
};

class ModelImpl : public std::enable_shared_from_this<ModelImpl> {
 public:
  Status error;
  ModelContext context;
  LoadedMetaGraph meta;
  std::string directory;  // of the SavedModel; empty for models of other kinds
  std::vector<SignatureInfo> signatures;
  // By node of the object graph: the handle, constant or asset path that it stands for.
  std::vector<Tensor> node_values;
  // Why a table-like node has no handle.
  std::map<int, Status> node_errors;
  // By node: the shortest path from the root; empty when none leads there.
  std::vector<std::string> node_paths;
  // Every variable once: object path or name → resource, and its node (-1 for TensorFlow 1).
  struct VariableEntry {
    std::string path;
    std::string name;
    std::shared_ptr<VariableResource> resource;
    bool trainable = false;
    int node = -1;
  };
  std::vector<VariableEntry> variables;

  bool has_objects() const { return !meta.objects->nodes.empty(); }

  // Gives the main graph's variables their values, on the first call: to be called before a caller
  // sees them. Thread-safe.
  void RestoreMainGraph() const;
  struct MainGraphVariables {
    std::mutex mutex;
    bool are_bound = true;  // false in a model with objects until RestoreMainGraph
  };
  mutable MainGraphVariables main_graph_variables;

  // The function from `feeds` to `fetches` and `targets` on the main graph; made once.
  StatusOr<std::shared_ptr<const Executable>> Pruned(const std::vector<std::string>& feeds,
                                                     const std::vector<std::string>& fetches,
                                                     const std::vector<std::string>& targets) const;
  // Feeds, fetches and runs by name on the main graph. A fetch may come back dead: without value.
  StatusOr<std::vector<Tensor>> RunSession(const TensorMap& feeds,
                                           const std::vector<std::string>& fetches,
                                           const std::vector<std::string>& targets,
                                           RunState& run) const;
  // The library function `name` with its captures bound to this model's objects; made once.
  StatusOr<std::shared_ptr<const Executable>> Concrete(const std::string& name) const;

  // `executable` with the inner tensors `fetches` as its results.
  StatusOr<std::shared_ptr<const Executable>> Fetched(
      const Executable& executable, const std::vector<std::string>& fetches) const;

  // Signature `key`; carries its error.
  std::shared_ptr<const FunctionImpl> MakeSignature(const std::string& key) const;
  // Node `node` of the object graph, a function, called `name` in messages.
  std::shared_ptr<const FunctionImpl> MakeFunction(int node, const std::string& name) const;

  // Concrete function `function` of the library, results in order.
  std::shared_ptr<const FunctionImpl> MakeConcrete(const std::string& function) const;

  Variable MakeVariable(const VariableEntry& entry) const;

 private:
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string, std::shared_ptr<const Executable>> pruned_;
  mutable std::unordered_map<std::string, std::shared_ptr<const Executable>> concrete_;
};

// A FunctionImpl that carries `error`.
std::shared_ptr<const FunctionImpl> FailedFunction(std::string name, Status error);

// The dense tensors of a signature's inputs or outputs; composite ones as parts, "key:part".
std::vector<TensorSpec> FlatSpecs(const std::vector<SignatureTensor>& tensors);

// Inputs of `f` in order, each checked; INVALID_ARGUMENT names the input.
StatusOr<std::vector<Tensor>> OrderInputs(const FunctionImpl& f, const TensorMap& inputs);

// FAILED_PRECONDITION for a polymorphic function, whose arguments have no names of their own.
Status CheckFlat(const FunctionImpl& f);

// A model with the same graphs, constants and packed weights, and state of its own.
StatusOr<std::shared_ptr<const ModelImpl>> CloneModel(const ModelImpl& model);

// What Model::Check returns.
std::vector<Problem> CheckModel(const ModelImpl& model);

// Fills `context`'s registry, pool, files from its options.
void SetUpContext(const LoadOptions& options, ModelContext* context);

// The entry of a name-based checkpoint for variable `v`, or for what `v` is a part of; and its
// value.
const std::string& KeyByName(const LoadedVariable& v);
StatusOr<Tensor> ReadByName(const CheckpointReader& reader, const LoadedVariable& v);

// The variable that the main graph calls `name`, or null.
std::shared_ptr<VariableResource> FindVariable(const ModelContext& context,
                                               const std::string& name);

// The state of a run on behalf of Load.
RunState LoadingRun(const ModelImpl& model);

// Gives the objects of `model` their values: variables from the checkpoint, constants, assets,
// tables made and initialised.
Status RestoreObjects(ModelImpl* model);

// Restores a TensorFlow 1 graph by its own ops: the saver's restore op, then the initialiser with
// the asset tensors fed.
Status RestoreSession(ModelImpl* model);

}  // namespace savedmodel::api
