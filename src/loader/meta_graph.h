// MetaGraphDef → LoadedMetaGraph. Internal to the loader.
#pragma once

#include <memory>
#include <string>

#include "src/loader/saved_model_reader.h"

namespace savedmodel {

namespace proto {
class MetaGraphDef;
class SignatureDef;
}  // namespace proto

// Converts `meta_graph`, which lives as long as `owner`; large constants are moved out of it.
StatusOr<LoadedMetaGraph> ImportMetaGraph(std::shared_ptr<const void> owner,
                                          proto::MetaGraphDef* meta_graph,
                                          const std::string& directory, const OpRegistry& registry,
                                          int64_t max_nodes);

StatusOr<LoadedSignature> SignatureFromProto(const std::string& key,
                                             const proto::SignatureDef& proto);

}  // namespace savedmodel
