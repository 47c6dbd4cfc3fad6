#include "tests/replay/model_source.h"

#include "src/loader/checkpoint_reader.h"
#include "tests/replay/case.h"

namespace savedmodel::replay {

StatusOr<Model> LoadSource(const std::string& directory, const Json& spec,
                           const LoadOptions& options) {
  const std::string path = directory + "/" + spec["path"].get<std::string>();
  if (spec["kind"] == "saved_model") return Load(path, options);
  if (spec["kind"] == "graph_def") {
    auto bytes = ReadFile(path);
    return bytes.ok() ? LoadGraphDef(*bytes, options) : StatusOr<Model>(bytes.status());
  }
  return LoadMetaGraph(path, CheckpointPrefix(directory, spec), options);
}

std::string CheckpointPrefix(const std::string& directory, const Json& spec) {
  const std::string path = spec["path"];
  if (spec.contains("checkpoint")) return directory + "/" + spec["checkpoint"].get<std::string>();
  return directory + "/" + (spec["kind"] == "checkpoint" ? path : path + "/variables/variables");
}

StatusOr<std::shared_ptr<const CheckpointReader>> OpenCheckpoint(const std::string& prefix) {
  return MakeCheckpointOpener(PosixFileSystem())->Open(prefix);
}

}  // namespace savedmodel::replay
