#include "src/loader/meta_graph.h"

#include <algorithm>
#include <set>
#include <utility>

#include "proto/savedmodel_model.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/deferred_parsing.h"
#include "src/loader/function_library.h"
#include "src/loader/graph_importer.h"

namespace savedmodel {
namespace {

constexpr char kMainOp[] = "saved_model_main_op";
constexpr char kLegacyInitOp[] = "legacy_init_op";
constexpr char kInitOpSignature[] = "__saved_model_init_op";
constexpr char kTrainOpSignature[] = "__saved_model_train_op";
constexpr char kAssets[] = "saved_model_assets";

// "node" of "node", "node:k" or "^node".
std::string NodeName(const std::string& name) {
  const size_t begin = !name.empty() && name[0] == '^' ? 1 : 0;
  return name.substr(begin, name.find(':') - begin);
}

LoadedCollection CollectionFromProto(const proto::CollectionDef& proto) {
  LoadedCollection c;
  c.nodes.assign(proto.node_list().value().begin(), proto.node_list().value().end());
  c.bytes.assign(proto.bytes_list().value().begin(), proto.bytes_list().value().end());
  c.ints.assign(proto.int64_list().value().begin(), proto.int64_list().value().end());
  c.floats.assign(proto.float_list().value().begin(), proto.float_list().value().end());
  for (const auto& any : proto.any_list().value()) c.bytes.push_back(any.value());
  return c;
}

// Files of a model lie below its directory, whatever the model says.
Status CheckAssetName(const std::string& name) {
  const auto refuse = [&](std::string_view what) {
    return InvalidArgument("asset '", name.substr(0, 200).c_str(), "': ", what,
                           ", expected a file name below the model's assets directory");
  };
  if (name.empty()) return refuse("the name is empty");
  if (name.size() > 4096) return refuse("the name is too long");
  if (name[0] == '/') return refuse("the name is an absolute path");
  if (name.find('\0') != std::string::npos) return refuse("the name holds a NUL byte");
  if (name.find("://") != std::string::npos) return refuse("the name has a URL scheme");
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = std::string_view(name).substr(begin, end - begin);
    if (part == ".." || part == "." || part.empty()) return refuse("a part of the name is no name");
    begin = end + 1;
  }
  return Status();
}

Status AddAsset(const proto::AssetFileDef& proto, const std::string& directory,
                std::vector<LoadedAsset>* assets) {
  SM_RETURN_IF_ERROR(CheckAssetName(proto.filename()));
  assets->push_back({proto.tensor_info().name(), proto.filename(),
                     StrCat(directory, "/assets/", proto.filename())});
  return Status();
}

Status FillAssets(const proto::MetaGraphDef& proto, const std::string& directory,
                  LoadedMetaGraph* loaded) {
  for (const auto& asset : proto.asset_file_def()) {
    SM_RETURN_IF_ERROR(AddAsset(asset, directory, &loaded->assets));
  }
  auto collection = proto.collection_def().find(kAssets);
  if (!loaded->assets.empty() || collection == proto.collection_def().end()) return Status();
  for (const auto& any : collection->second.any_list().value()) {
    proto::AssetFileDef asset;
    if (!asset.ParseFromString(any.value())) {
      return InvalidArgument("collection '", kAssets, "': an entry is no AssetFileDef");
    }
    SM_RETURN_IF_ERROR(AddAsset(asset, directory, &loaded->assets));
  }
  return Status();
}

// The variables of all collections that hold VariableDefs, each once.
void FillVariables(const proto::MetaGraphDef& proto, const LoadedGraph& graph,
                   LoadedMetaGraph* loaded) {
  std::set<std::string> seen;
  for (const char* name : {"variables", "local_variables", "model_variables",
                           "moving_average_variables", "trainable_variables"}) {
    auto collection = proto.collection_def().find(name);
    if (collection == proto.collection_def().end()) continue;
    for (const std::string& bytes : collection->second.bytes_list().value()) {
      proto::VariableDef def;
      // Collections may hold anything: what is no variable of the graph is skipped.
      if (!def.ParseFromString(bytes) || graph.by_name.count(NodeName(def.variable_name())) == 0 ||
          !seen.insert(def.variable_name()).second) {
        continue;
      }
      LoadedVariable variable;
      variable.tensor_name = def.variable_name();
      variable.name = NodeName(def.variable_name());
      variable.initializer = NodeName(def.initializer_name());
      variable.snapshot = def.snapshot_name();
      variable.is_resource = def.is_resource();
      variable.trainable = def.trainable();
      if (def.has_save_slice_info_def()) {
        const auto& slice = def.save_slice_info_def();
        variable.full_name = slice.full_name();
        variable.full_shape.assign(slice.full_shape().begin(), slice.full_shape().end());
        variable.offset.assign(slice.var_offset().begin(), slice.var_offset().end());
        variable.extent.assign(slice.var_shape().begin(), slice.var_shape().end());
      }
      loaded->variables.push_back(std::move(variable));
    }
  }
}

// As TensorFlow looks for it: a signature of its own, then the two collections.
Status FindInitOp(const proto::MetaGraphDef& proto, LoadedMetaGraph* loaded) {
  auto signature = proto.signature_def().find(kInitOpSignature);
  if (signature != proto.signature_def().end()) {
    auto output = signature->second.outputs().find(kInitOpSignature);
    if (output == signature->second.outputs().end()) {
      return InvalidArgument("signature '", kInitOpSignature, "' has no output of that name");
    }
    loaded->init_op = NodeName(output->second.name());
  }
  for (const char* name : {kMainOp, kLegacyInitOp}) {
    auto collection = loaded->collections.find(name);
    if (!loaded->init_op.empty() || collection == loaded->collections.end()) continue;
    if (collection->second.nodes.size() != 1) {
      return FailedPrecondition("collection '", name, "': found ", collection->second.nodes.size(),
                                " ops, expected one");
    }
    loaded->init_op = NodeName(collection->second.nodes[0]);
  }
  return Status();
}

// Whether the nodes that initialise and restore are there.
Status CheckNames(const LoadedMetaGraph& loaded, const LoadedGraph& graph) {
  if (!loaded.init_op.empty() && graph.by_name.count(loaded.init_op) == 0) {
    return NotFound("the op that initialises the model, '", loaded.init_op,
                    "', is not in the graph");
  }
  if (!loaded.saver.has_value()) return Status();
  const LoadedSaver& saver = *loaded.saver;
  if (!saver.restore_op.empty() && graph.by_name.count(saver.restore_op) == 0) {
    return NotFound("saver: the restore op '", saver.restore_op, "' is not in the graph");
  }
  if (!saver.filename_tensor.empty()) {
    auto node = graph.by_name.find(NodeName(saver.filename_tensor));
    if (node == graph.by_name.end()) {
      return NotFound("saver: the tensor '", saver.filename_tensor,
                      "' for the file name is not in the graph");
    }
    const Node& n = graph.graph.node(node->second);
    if (n.registered != nullptr &&
        (n.output_types.empty() || n.output_types[0] != DType::kString)) {
      return InvalidArgument("saver: the tensor '", saver.filename_tensor, "' (", n.op,
                             ") for the file name is no string");
    }
  }
  return Status();
}

// The values of constant objects. They alone need no main graph.
Status FillConstants(const proto::GraphDef& graph_def, LoadedMetaGraph* loaded) {
  for (const ObjectNode& node : loaded->objects->nodes) {
    if (node.kind == ObjectKind::kConstant) loaded->constants[node.tensor_name];
  }
  if (loaded->constants.empty()) return Status();
  if (!graph_def.unparsed().empty()) {
    ReadUnparsedConstants(graph_def, &loaded->constants);
    return Status();
  }
  SM_ASSIGN_OR_RETURN(const LoadedGraph* const main, loaded->main_graph->Get());
  for (auto& [name, value] : loaded->constants) {
    const auto it = main->by_name.find(name);
    if (it == main->by_name.end()) continue;
    const Tensor* constant = main->graph.constant({it->second, 0});
    if (constant != nullptr) value = *constant;
  }
  return Status();
}

void FillInfo(const proto::MetaGraphDef::MetaInfoDef& info, LoadedMetaGraph* loaded) {
  loaded->tags.assign(info.tags().begin(), info.tags().end());
  for (const auto& op : info.stripped_op_list().op()) loaded->stripped_ops.push_back(op.name());
  loaded->stripped_default_attrs = info.stripped_default_attrs();
  loaded->function_aliases.insert(info.function_aliases().begin(), info.function_aliases().end());
  loaded->tensorflow_version = info.tensorflow_version();
  loaded->tensorflow_git_version = info.tensorflow_git_version();
}

}  // namespace

StatusOr<LoadedMetaGraph> ImportMetaGraph(std::shared_ptr<const void> owner,
                                          proto::MetaGraphDef* meta_graph,
                                          const std::string& directory, const OpRegistry& registry,
                                          int64_t max_nodes) {
  LoadedMetaGraph loaded;
  FillInfo(meta_graph->meta_info_def(), &loaded);
  const ImportOptions options{.max_nodes = max_nodes};
  proto::GraphDef* const graph_def = meta_graph->mutable_graph_def();
  SM_ASSIGN_OR_RETURN(
      std::shared_ptr<ProtoFunctionLibrary> library,
      ProtoFunctionLibrary::Make(std::move(owner), graph_def->library(), registry, options));
  loaded.functions = library;
  loaded.main_graph = std::make_shared<const MainGraph>(
      [library = std::move(library), graph_def, &registry, options] {
        return ImportGraphDef(library, graph_def, registry, options);
      });
  for (const auto& [key, proto] : meta_graph->signature_def()) {
    if (key == kInitOpSignature || key == kTrainOpSignature) continue;  // name an operation
    StatusOr<LoadedSignature> signature = SignatureFromProto(key, proto);
    if (!signature.ok()) return signature.status().At(StrCat("signature '", key, "'"));
    loaded.signatures.push_back(std::move(signature).value());
  }
  std::sort(loaded.signatures.begin(), loaded.signatures.end(),
            [](const auto& a, const auto& b) { return a.key < b.key; });
  for (const auto& [name, collection] : meta_graph->collection_def()) {
    loaded.collections[name] = CollectionFromProto(collection);
  }
  SM_RETURN_IF_ERROR(FillAssets(*meta_graph, directory, &loaded));
  SM_RETURN_IF_ERROR(FindInitOp(*meta_graph, &loaded));
  if (meta_graph->has_saver_def()) {
    const proto::SaverDef& saver = meta_graph->saver_def();
    loaded.saver = {saver.filename_tensor_name(), saver.save_tensor_name(),
                    NodeName(saver.restore_op_name())};
  }
  SM_ASSIGN_OR_RETURN(loaded.objects, ObjectGraphFromProto(meta_graph->object_graph_def()));
  SM_RETURN_IF_ERROR(FillConstants(*graph_def, &loaded));
  if (loaded.objects->nodes.empty()) {
    SM_ASSIGN_OR_RETURN(const LoadedGraph* const graph, loaded.main_graph->Get());
    FillVariables(*meta_graph, *graph, &loaded);
    SM_RETURN_IF_ERROR(CheckNames(loaded, *graph));
  }
  for (size_t i = 0; i < loaded.objects->nodes.size(); ++i) {
    const ObjectNode& node = loaded.objects->nodes[i];
    const int count = static_cast<int>(loaded.assets.size());
    if (node.kind == ObjectKind::kAsset && (node.asset_index < 0 || node.asset_index >= count)) {
      return InvalidArgument("object graph: node ", i, " is asset ", node.asset_index, " of ",
                             count);
    }
  }
  return loaded;
}

}  // namespace savedmodel
