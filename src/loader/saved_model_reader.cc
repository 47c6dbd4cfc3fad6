#include "src/loader/saved_model_reader.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <utility>

#include "proto/savedmodel_model.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/chunked_proto.h"
#include "src/loader/deferred_parsing.h"
#include "src/loader/meta_graph.h"
#include "src/loader/proto_parsing.h"

namespace savedmodel {
namespace {

constexpr int64_t kSchemaVersion = 1;

struct ParsedModel {
  std::shared_ptr<google::protobuf::Arena> arena;
  proto::SavedModel* model = nullptr;
};

StatusOr<ParsedModel> ParseModel(const FileSystem& files, const std::string& directory) {
  ParsedModel parsed;
  parsed.arena = std::make_shared<google::protobuf::Arena>();
  parsed.model = google::protobuf::Arena::CreateMessage<proto::SavedModel>(parsed.arena.get());
  const std::string base = directory + "/saved_model";
  const std::string binary = base + ".pb", text = base + ".pbtxt", chunked = base + ".cpb";
  StatusOr<std::shared_ptr<const FileContent>> file = files.Read(binary);
  if (file.ok()) {
    SM_RETURN_IF_ERROR(ParseDeferring((*file)->bytes(), binary, parsed.model));
  } else if (file.status().code() != StatusCode::kNotFound) {
    return file.status();
  } else if (file = files.Read(text); file.ok()) {
    SM_RETURN_IF_ERROR(ParseBinaryOrText((*file)->bytes(), text, parsed.model));
  } else if (file.status().code() != StatusCode::kNotFound) {
    return file.status();
  } else if (file = files.Read(chunked); file.ok()) {
    SM_RETURN_IF_ERROR(ReadChunked(*file, chunked, parsed.model));
  } else if (file.status().code() != StatusCode::kNotFound) {
    return file.status();
  } else {
    return NotFound(directory,
                    ": found none of saved_model.pb, .pbtxt and .cpb, expected the directory of a "
                    "SavedModel");
  }
  if (parsed.model->saved_model_schema_version() > kSchemaVersion) {
    return Unimplemented(directory, ": found schema version ",
                         parsed.model->saved_model_schema_version(),
                         " of the SavedModel format, "
                         "expected at most ",
                         kSchemaVersion);
  }
  return parsed;
}

std::vector<std::string> TagsOf(const proto::MetaGraphDef& meta_graph) {
  const auto& tags = meta_graph.meta_info_def().tags();
  return {tags.begin(), tags.end()};
}

std::string TagSetText(std::vector<std::string> tags) {
  std::sort(tags.begin(), tags.end());
  return StrCat("{", StrJoin(tags, ", "), "}");
}

StatusOr<proto::MetaGraphDef*> ChooseMetaGraph(const std::string& directory,
                                               const ReadOptions& options,
                                               proto::SavedModel* model) {
  const auto as_set = [](std::vector<std::string> tags) {
    std::sort(tags.begin(), tags.end());
    tags.erase(std::unique(tags.begin(), tags.end()), tags.end());
    return tags;
  };
  std::vector<std::string> wanted = as_set(options.tags);
  const auto find = [&]() -> proto::MetaGraphDef* {
    for (proto::MetaGraphDef& meta_graph : *model->mutable_meta_graphs()) {
      if (as_set(TagsOf(meta_graph)) == wanted) return &meta_graph;
    }
    return nullptr;
  };
  if (proto::MetaGraphDef* found = find(); found != nullptr) return found;
  if (wanted.empty()) {
    if (model->meta_graphs_size() == 1) return model->mutable_meta_graphs(0);
    wanted = {"serve"};
    if (proto::MetaGraphDef* found = find(); found != nullptr) return found;
  }
  constexpr int kMostListed = 20;
  std::vector<std::string> found;
  for (const auto& meta_graph : model->meta_graphs()) {
    if (found.size() < kMostListed) found.push_back(TagSetText(TagsOf(meta_graph)));
  }
  if (model->meta_graphs_size() > kMostListed) found.push_back("...");
  return NotFound(directory, ": no MetaGraph has the tags ", TagSetText(wanted),
                  "; found the tag sets ", found.empty() ? "(none)" : StrJoin(found, ", "));
}

// The file is advisory: what cannot be read is left out.
std::optional<LoadedFingerprint> ReadFingerprint(const FileSystem& files,
                                                 const std::string& directory) {
  StatusOr<std::shared_ptr<const FileContent>> file = files.Read(directory + "/fingerprint.pb");
  proto::FingerprintDef proto;
  if (!file.ok() || !ParseBinary((*file)->bytes(), "fingerprint.pb", &proto).ok()) {
    return std::nullopt;
  }
  return LoadedFingerprint{proto.saved_model_checksum(), proto.graph_def_program_hash(),
                           proto.signature_def_hash(),   proto.saved_object_graph_hash(),
                           proto.checkpoint_hash(),      proto.uuid()};
}

// V2 has an index file; V1, of the first SavedModels, is one table or several.
std::string FindVariables(const FileSystem& files, const std::string& directory) {
  const std::string prefix = directory + "/variables/variables";
  if (files.Exists(prefix + ".index") || files.Exists(prefix)) return prefix;
  StatusOr<std::vector<std::string>> names = files.List(directory + "/variables");
  if (!names.ok()) return std::string();
  for (const std::string& name : *names) {
    if (name.compare(0, 10, "variables-") == 0) return prefix + "-*-of-*";
  }
  return std::string();
}

}  // namespace

StatusOr<LoadedMetaGraph> ReadSavedModel(const FileSystem& files, const std::string& directory,
                                         const OpRegistry& registry, const ReadOptions& options) {
  SM_ASSIGN_OR_RETURN(ParsedModel parsed, ParseModel(files, directory));
  SM_ASSIGN_OR_RETURN(proto::MetaGraphDef * meta_graph,
                      ChooseMetaGraph(directory, options, parsed.model));
  StatusOr<LoadedMetaGraph> loaded =
      ImportMetaGraph(parsed.arena, meta_graph, directory, registry, options.max_nodes);
  if (!loaded.ok()) return loaded.status().At(directory);
  loaded->fingerprint = ReadFingerprint(files, directory);
  loaded->variables_prefix = FindVariables(files, directory);
  return loaded;
}

StatusOr<std::vector<std::vector<std::string>>> ReadTagSets(const FileSystem& files,
                                                            const std::string& directory) {
  SM_ASSIGN_OR_RETURN(const ParsedModel parsed, ParseModel(files, directory));
  std::vector<std::vector<std::string>> sets;
  for (const auto& meta_graph : parsed.model->meta_graphs()) sets.push_back(TagsOf(meta_graph));
  return sets;
}

StatusOr<LoadedMetaGraph> LoadMetaGraphDef(std::string_view bytes_or_text,
                                           const std::string& directory,
                                           const OpRegistry& registry) {
  auto arena = std::make_shared<google::protobuf::Arena>();
  auto* meta_graph = google::protobuf::Arena::CreateMessage<proto::MetaGraphDef>(arena.get());
  SM_RETURN_IF_ERROR(ParseBinaryOrText(bytes_or_text, "meta graph", meta_graph));
  return ImportMetaGraph(std::move(arena), meta_graph, directory, registry,
                         ReadOptions().max_nodes);
}

}  // namespace savedmodel
