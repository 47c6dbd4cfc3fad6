// Layers of Keras models by name.
#include "src/api/model_impl.h"
#include "src/base/status_macros.h"
#include "src/loader/keras_metadata.h"

namespace savedmodel {

StatusOr<std::vector<KerasLayer>> Model::layers() const {
  SM_RETURN_IF_ERROR(status());
  SM_ASSIGN_OR_RETURN(
      const std::vector<KerasObject> objects,
      ReadKerasMetadata(*impl_->context.files, impl_->directory, *impl_->meta.objects));
  std::vector<KerasLayer> layers;
  for (const KerasObject& o : objects) {
    if (impl_->node_paths[o.node].empty()) continue;  // nothing leads there
    layers.push_back({o.name, o.class_name, impl_->node_paths[o.node]});
  }
  return layers;
}

Object Model::layer(const std::string& name) const {
  const StatusOr<std::vector<KerasLayer>> all = layers();
  if (!all.ok()) return Object::FromError(all.status());
  std::string names;
  for (const KerasLayer& layer : *all) {
    if (layer.name == name) return object(layer.path);
    names += (names.empty() ? "" : ", ") + layer.name;
  }
  return Object::FromError(NotFound("layer '", name, "': the Keras metadata names {", names, "}"));
}

}  // namespace savedmodel
