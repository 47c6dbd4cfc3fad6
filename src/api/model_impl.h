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
#include "src/loader/graph_loader.h"

namespace savedmodel::api {

// A function with named flat inputs and outputs.
struct FunctionImpl {
  std::shared_ptr<const ModelImpl> model;  // keeps the context of `executable` alive
  std::string name;
  Status error;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::shared_ptr<const Executable> executable;
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
  LoadedGraph main;
  std::vector<std::string> tags;
  std::string tensorflow_version;
  std::vector<std::string> assets;
  std::vector<SignatureInfo> signatures;

  // The function from `feeds` to `fetches` and `targets` on the main graph; made once.
  StatusOr<std::shared_ptr<const Executable>> Pruned(const std::vector<std::string>& feeds,
                                                     const std::vector<std::string>& fetches,
                                                     const std::vector<std::string>& targets) const;

 private:
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string, std::shared_ptr<const Executable>> pruned_;
};

// A FunctionImpl that carries `error`.
std::shared_ptr<const FunctionImpl> FailedFunction(std::string name, Status error);

// Fills `context`'s registry, pool, files from its options.
void SetUpContext(const LoadOptions& options, ModelContext* context);

}  // namespace savedmodel::api
