#include <mutex>
#include <unordered_map>
#include <utility>

#include "src/base/status_macros.h"
#include "src/loader/checkpoint_reader.h"

namespace savedmodel {
namespace {

class Opener final : public CheckpointOpener {
 public:
  explicit Opener(std::shared_ptr<const FileSystem> files) : files_(std::move(files)) {}

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
        bundle ? OpenBundle(files_, prefix) : OpenTableCheckpoint(files_, prefix);
    if (!reader.ok()) return reader;
    std::lock_guard<std::mutex> lock(mutex_);
    open_[prefix] = *reader;
    return reader;
  }

 private:
  const std::shared_ptr<const FileSystem> files_;
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string, std::weak_ptr<const CheckpointReader>> open_;
};

}  // namespace

std::shared_ptr<const CheckpointOpener> MakeCheckpointOpener(
    std::shared_ptr<const FileSystem> files) {
  return std::make_shared<Opener>(std::move(files));
}

}  // namespace savedmodel
