#include "src/api/model_impl.h"

#include "src/base/status_macros.h"
#include "src/kernels/all_ops.h"

namespace savedmodel::api {

std::shared_ptr<const FunctionImpl> FailedFunction(std::string name, Status error) {
  auto impl = std::make_shared<FunctionImpl>();
  impl->name = std::move(name);
  impl->error = std::move(error);
  return impl;
}

std::vector<TensorSpec> FlatSpecs(const std::vector<SignatureTensor>& tensors) {
  std::vector<TensorSpec> specs;
  for (const SignatureTensor& t : tensors) {
    if (t.encoding == SignatureTensor::Encoding::kDense) {
      specs.push_back({t.key, t.tensor_name, t.dtype, t.shape, t.is_ref});
      continue;
    }
    for (const SignatureTensor& part : t.parts) {
      specs.push_back(
          {t.key + ":" + part.key, part.tensor_name, part.dtype, part.shape, part.is_ref});
    }
  }
  return specs;
}

void SetUpContext(const LoadOptions& options, ModelContext* context) {
  context->options = options;
  if (options.custom_ops.empty()) {
    context->registry = &BuiltInOps();
  } else {
    std::vector<Span<const OpDef>> families = {context->options.custom_ops};
    for (const Span<const OpDef>& family : BuiltInFamilies()) families.push_back(family);
    context->own_registry = std::make_shared<const OpRegistry>(families);
    context->registry = context->own_registry.get();
  }
  context->pool = options.thread_pool;
  if (context->pool == nullptr) context->pool = MakeThreadPool(options.num_threads);
  context->files = options.file_system;
  if (context->files == nullptr) context->files = PosixFileSystem();
}

StatusOr<std::shared_ptr<const Executable>> ModelImpl::Pruned(
    const std::vector<std::string>& feeds, const std::vector<std::string>& fetches,
    const std::vector<std::string>& targets) const {
  const std::string key =
      StrJoin(feeds, "\n") + "\n\n" + StrJoin(fetches, "\n") + "\n\n" + StrJoin(targets, "\n");
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto it = pruned_.find(key);
    if (it != pruned_.end()) return it->second;
  }
  SM_ASSIGN_OR_RETURN(const LoadedGraph* const main, meta.main_graph->Get());
  SM_ASSIGN_OR_RETURN(Graph graph,
                      PruneGraph(context, main->graph, main->by_name, feeds, fetches, targets));
  auto executable = std::make_shared<const Executable>(
      &context, fetches.empty() ? "run" : fetches[0], std::move(graph));
  std::lock_guard<std::mutex> lock(mutex_);
  return pruned_.emplace(key, std::move(executable)).first->second;
}

StatusOr<std::vector<Tensor>> ModelImpl::RunSession(const TensorMap& feeds,
                                                    const std::vector<std::string>& fetches,
                                                    const std::vector<std::string>& targets,
                                                    RunState& run) const {
  std::vector<std::string> names;
  std::vector<Tensor> inputs;
  for (const auto& [name, tensor] : feeds) {
    names.push_back(name);
    inputs.push_back(tensor);
  }
  SM_ASSIGN_OR_RETURN(std::shared_ptr<const Executable> executable,
                      Pruned(names, fetches, targets));
  SM_RETURN_IF_ERROR(executable->CheckInputs(names, inputs));
  std::vector<Tensor> outputs(fetches.size());
  SM_RETURN_IF_ERROR(executable->Run(inputs, outputs, run));
  return outputs;
}

}  // namespace savedmodel::api
