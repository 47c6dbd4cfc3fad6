#include "src/loader/keras_metadata.h"

#include <nlohmann/json.hpp>

#include "proto/savedmodel_model.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/proto_parsing.h"

namespace savedmodel {
namespace {

constexpr char kLayerPrefix[] = "_tf_keras_";

bool IsLayer(const std::string& identifier) {
  return identifier.compare(0, sizeof(kLayerPrefix) - 1, kLayerPrefix) == 0 &&
         identifier != "_tf_keras_metric";
}

StatusOr<KerasObject> FromJson(int node, const std::string& metadata) {
  const nlohmann::json json = nlohmann::json::parse(metadata, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return DataLoss("Keras metadata of object node ", node, ": found no JSON object");
  }
  KerasObject object;
  object.node = node;
  for (const auto& [key, to] :
       {std::pair{"name", &object.name}, std::pair{"class_name", &object.class_name}}) {
    const auto it = json.find(key);
    if (it != json.end() && it->is_string()) *to = it->get<std::string>();
  }
  return object;
}

}  // namespace

StatusOr<std::vector<KerasObject>> ReadKerasMetadata(const FileSystem& files,
                                                     const std::string& directory,
                                                     const ObjectGraph& objects) {
  std::vector<KerasObject> out;
  const std::string path = directory + "/keras_metadata.pb";
  if (directory.empty() || !files.Exists(path)) {
    for (size_t id = 0; id < objects.nodes.size(); ++id) {
      const ObjectNode& node = objects.nodes[id];
      if (!IsLayer(node.identifier) || node.metadata.empty()) continue;
      SM_ASSIGN_OR_RETURN(KerasObject object, FromJson(static_cast<int>(id), node.metadata));
      out.push_back(std::move(object));
    }
    return out;
  }
  SM_ASSIGN_OR_RETURN(const std::shared_ptr<const FileContent> content, files.Read(path));
  proto::SavedMetadata metadata;
  SM_RETURN_IF_ERROR(ParseBinary(content->bytes(), path, &metadata));
  for (const auto& proto : metadata.nodes()) {
    if (!IsLayer(proto.identifier())) continue;
    if (proto.node_id() < 0 || proto.node_id() >= static_cast<int>(objects.nodes.size())) {
      return DataLoss(path, ": found object node ", proto.node_id(), ", the model has ",
                      objects.nodes.size(), " nodes");
    }
    StatusOr<KerasObject> object = FromJson(proto.node_id(), proto.metadata());
    if (!object.ok()) return object.status().At(path);
    out.push_back(std::move(object).value());
  }
  return out;
}

}  // namespace savedmodel
