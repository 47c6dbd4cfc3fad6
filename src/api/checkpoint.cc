// Checkpoints on their own.
#include "savedmodel/checkpoint.h"

#include <deque>
#include <string_view>
#include <unordered_map>

#include "src/api/model_impl.h"
#include "src/base/status_macros.h"
#include "src/loader/checkpoint_reader.h"

namespace savedmodel {
namespace api {

struct CheckpointState {
  Status error;
  std::shared_ptr<const CheckpointReader> reader;
  std::vector<CheckpointNode> objects;  // empty for a name-based checkpoint
};

namespace {

// A variable and the value that it will get.
struct Assignment {
  std::shared_ptr<VariableResource> variable;
  Tensor value;
};

// The node at a dotted path from the root; children's own names may hold dots.
StatusOr<int> FindObject(const std::vector<CheckpointNode>& objects, const std::string& path) {
  if (path == ".") return 0;
  int node = 0;
  size_t from = 0;
  while (from <= path.size()) {
    size_t best = 0;
    int child_of_best = -1;
    for (const ObjectChild& child : objects[node].children) {
      const size_t end = from + child.name.size();
      if (path.compare(from, child.name.size(), child.name) != 0) continue;
      if (end != path.size() && (end > path.size() || path[end] != '.')) continue;
      if (child_of_best >= 0 && end <= best) continue;
      best = end;
      child_of_best = child.id;
    }
    if (child_of_best < 0) {
      return NotFound("object '", path, "': the checkpoint has no child '", path.substr(from),
                      "' there; Checkpoint::object_paths lists what it holds");
    }
    node = child_of_best;
    from = best + 1;
  }
  return node;
}

}  // namespace
}  // namespace api

Checkpoint Checkpoint::FromError(const Status& status) {
  auto state = std::make_shared<api::CheckpointState>();
  state->error = status;
  Checkpoint checkpoint;
  checkpoint.state_ = std::move(state);
  return checkpoint;
}

Status Checkpoint::status() const {
  if (state_ == nullptr) return FailedPrecondition("an empty Checkpoint; OpenCheckpoint makes one");
  return state_->error;
}

std::vector<Checkpoint::Entry> Checkpoint::entries() const {
  std::vector<Entry> entries;
  if (!status().ok()) return entries;
  for (const CheckpointEntry& e : state_->reader->entries()) {
    entries.push_back({e.key, e.dtype, e.shape});
  }
  return entries;
}

bool Checkpoint::Has(const std::string& key) const {
  return status().ok() && state_->reader->Find(key) != nullptr;
}

StatusOr<Tensor> Checkpoint::Read(const std::string& key) const {
  SM_RETURN_IF_ERROR(status());
  return state_->reader->Read(key);
}

std::vector<std::pair<std::string, std::string>> Checkpoint::object_paths() const {
  std::vector<std::pair<std::string, std::string>> out;
  if (!status().ok() || state_->objects.empty()) return out;
  std::vector<bool> seen(state_->objects.size(), false);
  std::deque<std::pair<int, std::string>> queue = {{0, ""}};
  seen[0] = true;
  while (!queue.empty()) {
    const auto [id, path] = std::move(queue.front());
    queue.pop_front();
    const CheckpointNode& node = state_->objects[id];
    if (const std::string key = ValueKey(node); !key.empty()) out.emplace_back(path, key);
    for (const ObjectChild& child : node.children) {
      if (seen[child.id]) continue;
      seen[child.id] = true;
      queue.emplace_back(child.id, path.empty() ? child.name : path + "." + child.name);
    }
  }
  return out;
}

StatusOr<RestoreReport> Checkpoint::Restore(const Model& model, const std::string& root) const {
  SM_RETURN_IF_ERROR(status());
  SM_RETURN_IF_ERROR(model.status());
  const api::ModelImpl& impl = *model.impl_;
  const ObjectGraph& objects = *impl.meta.objects;
  std::vector<int> matches(objects.nodes.size(), -1);
  if (!state_->objects.empty()) {
    SM_ASSIGN_OR_RETURN(const int node, api::FindObject(state_->objects, root));
    matches = MatchCheckpointObjects(objects, state_->objects, node);
  }
  std::unordered_map<std::string_view, const LoadedVariable*> of_graph;  // TensorFlow 1
  for (const LoadedVariable& v : impl.meta.variables) of_graph.emplace(v.name, &v);
  RestoreReport report;
  std::vector<api::Assignment> assignments;
  for (const auto& entry : impl.variables) {
    const LoadedVariable* v = entry.node < 0 ? of_graph.at(entry.name) : nullptr;
    const std::string key =
        v != nullptr ? api::KeyByName(*v)
                     : VariableKey(objects, entry.node, state_->objects, matches, *state_->reader);
    if (key.empty() || state_->reader->Find(key) == nullptr) {
      report.not_found.push_back(entry.path);
      continue;
    }
    StatusOr<Tensor> read =
        v != nullptr ? api::ReadByName(*state_->reader, *v) : state_->reader->Read(key);
    if (!read.ok()) return read.status();
    Tensor value = std::move(read).value();
    const VariableResource& variable = *entry.resource;
    if (value.dtype() != variable.dtype() || !variable.shape().CompatibleWith(value.shape())) {
      return InvalidArgument("variable '", entry.path, "' is ", variable.dtype(), variable.shape(),
                             ", the checkpoint holds ", value.TypeString(), " under '", key, "'");
    }
    assignments.push_back({entry.resource, std::move(value)});
    report.restored.push_back(entry.path);
  }
  for (api::Assignment& a : assignments) {
    SM_RETURN_IF_ERROR(a.variable->Assign(std::move(a.value)));
  }
  return report;
}

StatusOr<Checkpoint> OpenCheckpoint(const std::string& path, const CheckpointOptions& options) {
  const std::shared_ptr<const FileSystem> files =
      options.file_system != nullptr ? options.file_system : PosixFileSystem();
  const auto open = [&]() -> StatusOr<Checkpoint> {
    auto state = std::make_shared<api::CheckpointState>();
    SM_ASSIGN_OR_RETURN(const std::string prefix, ResolveCheckpoint(*files, path));
    SM_ASSIGN_OR_RETURN(state->reader, MakeCheckpointOpener(files)->Open(prefix));
    SM_ASSIGN_OR_RETURN(state->objects, ReadCheckpointObjects(*state->reader));
    Checkpoint checkpoint;
    checkpoint.state_ = std::move(state);
    return checkpoint;
  };
  StatusOr<Checkpoint> checkpoint = open();
  if (!checkpoint.ok()) return checkpoint.status().At("OpenCheckpoint " + path);
  return checkpoint;
}

}  // namespace savedmodel
