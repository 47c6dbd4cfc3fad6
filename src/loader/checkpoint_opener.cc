#include <mutex>
#include <unordered_map>
#include <utility>

#include "proto/savedmodel_checkpoint.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/checkpoint_reader.h"
#include "src/loader/proto_parsing.h"

namespace savedmodel {
namespace {

class Opener final : public CheckpointOpener {
 public:
  Opener(std::shared_ptr<const FileSystem> files, bool verify_checksums)
      : files_(std::move(files)), verify_checksums_(verify_checksums) {}

  StatusOr<std::shared_ptr<const CheckpointReader>> Open(const std::string& prefix) const override {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      auto it = open_.find(prefix);
      if (it != open_.end()) {
        if (auto reader = it->second.lock()) return reader;
      }
    }
    const bool bundle = files_->Exists(prefix + ".index");
    StatusOr<std::shared_ptr<const CheckpointReader>> reader =
        bundle ? OpenBundle(files_, prefix, verify_checksums_)
               : OpenTableCheckpoint(files_, prefix);
    if (!reader.ok()) return reader;
    std::lock_guard<std::mutex> lock(mutex_);
    open_[prefix] = *reader;
    return reader;
  }

 private:
  const std::shared_ptr<const FileSystem> files_;
  const bool verify_checksums_;
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string, std::weak_ptr<const CheckpointReader>> open_;
};

}  // namespace

StatusOr<std::string> ResolveCheckpoint(const FileSystem& files, const std::string& path) {
  const std::string directory = path.empty() || path.back() == '/' ? path : path + "/";
  if (files.Exists(path + ".index")) return path;
  if (files.Exists(directory + "variables/variables.index")) {
    return directory + "variables/variables";
  }
  const std::string state_path = directory + "checkpoint";
  if (!files.Exists(state_path)) return path;
  SM_ASSIGN_OR_RETURN(std::shared_ptr<const FileContent> content, files.Read(state_path));
  proto::CheckpointState state;
  SM_RETURN_IF_ERROR(ParseText(content->bytes(), state_path, &state));
  const std::string& latest = state.model_checkpoint_path();
  if (latest.empty()) return NotFound(state_path, ": names no latest checkpoint");
  return latest.front() == '/' ? latest : directory + latest;
}

std::shared_ptr<const CheckpointOpener> MakeCheckpointOpener(
    std::shared_ptr<const FileSystem> files, bool verify_checksums) {
  return std::make_shared<Opener>(std::move(files), verify_checksums);
}

}  // namespace savedmodel
