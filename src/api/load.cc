// Models from files and from memory.
#include "savedmodel/model.h"
#include "src/api/model_files.h"
#include "src/api/model_impl.h"
#include "src/base/status_macros.h"
#include "src/loader/checkpoint_reader.h"
#include "src/loader/tensor_proto.h"

namespace savedmodel {
namespace {

StatusOr<Model> LoadFrom(const std::string& path, const LoadOptions& options) {
  auto impl = std::make_shared<api::ModelImpl>();
  api::SetUpContext(options, &impl->context);
  api::ModelContext& context = impl->context;
  impl->directory = path;
  context.model_files = api::FilesBelow(context.files, path, options.follow_links);
  context.checkpoints = MakeCheckpointOpener(context.model_files, options.verify_checksums);
  ReadOptions read;
  read.tags = options.tags;
  SM_ASSIGN_OR_RETURN(impl->meta,
                      ReadSavedModel(*context.model_files, path, *context.registry, read));
  context.functions = impl->meta.functions;
  for (const LoadedSignature& s : impl->meta.signatures) {
    impl->signatures.push_back(
        {s.key, s.method_name, api::FlatSpecs(s.inputs), api::FlatSpecs(s.outputs)});
  }
  SM_RETURN_IF_ERROR(impl->has_objects() ? api::RestoreObjects(impl.get())
                                         : api::RestoreSession(impl.get()));
  return Model(std::move(impl));
}

}  // namespace

StatusOr<Model> Load(const std::string& path, const LoadOptions& options) {
  StatusOr<Model> model = LoadFrom(path, options);
  if (!model.ok()) return model.status().At("Load " + path);
  return model;
}

StatusOr<Model> LoadMetaGraph(const std::string& path, const std::string& checkpoint,
                              const LoadOptions& options) {
  auto impl = std::make_shared<api::ModelImpl>();
  api::SetUpContext(options, &impl->context);
  api::ModelContext& context = impl->context;
  SM_ASSIGN_OR_RETURN(std::shared_ptr<const FileContent> content, context.files->Read(path));
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  StatusOr<LoadedMetaGraph> meta = LoadMetaGraphDef(content->bytes(), directory, *context.registry);
  if (!meta.ok()) return meta.status().At("LoadMetaGraph " + path);
  impl->meta = std::move(meta).value();
  impl->meta.variables_prefix = checkpoint;
  context.functions = impl->meta.functions;
  context.model_files = api::FilesBelow(context.files, directory, options.follow_links);
  context.checkpoints = MakeCheckpointOpener(context.files, options.verify_checksums);
  SM_RETURN_IF_ERROR(api::RestoreSession(impl.get()).At("LoadMetaGraph " + path));
  return Model(std::move(impl));
}

StatusOr<std::vector<std::vector<std::string>>> ListTagSets(
    const std::string& path, std::shared_ptr<const FileSystem> file_system) {
  if (file_system == nullptr) file_system = PosixFileSystem();
  return ReadTagSets(*file_system, path);
}

namespace {

void AddPrefix(const std::string& prefix, LoadedGraph* loaded) {
  if (prefix.empty()) return;
  const std::string scope = prefix.back() == '/' ? prefix : prefix + "/";
  std::unordered_map<std::string, NodeId> by_name;
  for (const auto& [name, id] : loaded->by_name) by_name.emplace(scope + name, id);
  loaded->by_name = std::move(by_name);
  for (NodeId id = 0; id < loaded->graph.num_nodes(); ++id) {
    std::string& name = loaded->graph.node(id).name;
    name = scope + name;
  }
}

}  // namespace

StatusOr<Model> LoadGraphDef(const std::string& bytes, const LoadOptions& options,
                             const ImportOptions& import) {
  auto impl = std::make_shared<api::ModelImpl>();
  api::SetUpContext(options, &impl->context);
  impl->meta.objects = std::make_shared<const ObjectGraph>();
  SM_ASSIGN_OR_RETURN(LoadedGraph graph, LoadGraphDef(bytes, *impl->context.registry));
  SM_RETURN_IF_ERROR(api::MapInputs(import.input_map, &graph).At("LoadGraphDef"));
  AddPrefix(import.prefix, &graph);
  impl->context.functions = impl->meta.functions = graph.functions;
  impl->meta.main_graph = std::make_shared<const MainGraph>(std::move(graph));
  return Model(std::move(impl));
}

StatusOr<Tensor> ParseTensorProto(const std::string& bytes) {
  return ParseTensorProto(std::string_view(bytes));
}

}  // namespace savedmodel
