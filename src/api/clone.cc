// A second model from a loaded one.
#include <unordered_map>

#include "src/api/model_impl.h"
#include "src/base/status_macros.h"

namespace savedmodel::api {
namespace {

// Copies resources, each once.
class ResourceCloner {
 public:
  // Null for a resource that serves a single run.
  StatusOr<ResourceRef> Clone(const ResourceRef& resource) {
    if (resource == nullptr) return ResourceRef();
    auto it = copies_.find(resource.get());
    if (it != copies_.end()) return it->second;
    SM_ASSIGN_OR_RETURN(ResourceRef copy, resource->Clone());
    if (copy != nullptr) copy->set_name(resource->name());
    return copies_.emplace(resource.get(), std::move(copy)).first->second;
  }

 private:
  std::unordered_map<const Resource*, ResourceRef> copies_;
};

StatusOr<Tensor> CloneHandle(ResourceCloner& cloner, const Tensor& value) {
  const ResourceRef* handle = value.has_value() ? value.data<ResourceRef>() : nullptr;
  if (handle == nullptr || value.num_elements() != 1) return value;
  SM_ASSIGN_OR_RETURN(ResourceRef copy, cloner.Clone(*handle));
  SM_ASSIGN_OR_RETURN(Tensor clone, Tensor::Allocate(DType::kResource, value.shape()));
  clone.mutable_data<ResourceRef>()[0] = std::move(copy);
  return clone;
}

}  // namespace

StatusOr<std::shared_ptr<const ModelImpl>> CloneModel(const ModelImpl& model) {
  auto clone = std::make_shared<ModelImpl>();
  const ModelContext& from = model.context;
  ModelContext& to = clone->context;
  to.options = from.options;
  to.own_registry = from.own_registry;
  to.registry = from.registry;
  to.functions = from.functions;
  to.pool = from.pool;
  to.files = from.files;
  to.model_files = from.model_files;
  to.checkpoints = from.checkpoints;
  to.packs = from.packs;
  clone->meta = model.meta;
  clone->directory = model.directory;
  clone->signatures = model.signatures;
  clone->node_errors = model.node_errors;
  clone->node_paths = model.node_paths;

  ResourceCloner cloner;
  {
    std::lock_guard<std::mutex> lock(model.main_graph_variables.mutex);
    for (const auto& [key, resource] : from.resources.All()) {
      SM_ASSIGN_OR_RETURN(ResourceRef copy, cloner.Clone(resource));
      if (copy != nullptr) to.resources.Put(key, std::move(copy));
    }
    clone->main_graph_variables.are_bound = model.main_graph_variables.are_bound;
  }
  for (const Tensor& value : model.node_values) {
    SM_ASSIGN_OR_RETURN(Tensor copy, CloneHandle(cloner, value));
    clone->node_values.push_back(std::move(copy));
  }
  clone->variables = model.variables;
  for (ModelImpl::VariableEntry& entry : clone->variables) {
    SM_ASSIGN_OR_RETURN(ResourceRef copy, cloner.Clone(entry.resource));
    entry.resource = std::static_pointer_cast<VariableResource>(std::move(copy));
  }
  return std::shared_ptr<const ModelImpl>(std::move(clone));
}

}  // namespace savedmodel::api
