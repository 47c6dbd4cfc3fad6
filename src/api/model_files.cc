#include "src/api/model_files.h"

#include "src/base/status_macros.h"

namespace savedmodel::api {
namespace {

class Below final : public FileSystem {
 public:
  Below(std::shared_ptr<const FileSystem> files, const std::string& root)
      : files_(std::move(files)), root_(files_->Canonical(root) + "/") {}

  StatusOr<std::shared_ptr<const FileContent>> Read(const std::string& path) const override {
    SM_RETURN_IF_ERROR(Check(path));
    return files_->Read(path);
  }
  StatusOr<std::vector<std::string>> List(const std::string& directory) const override {
    SM_RETURN_IF_ERROR(Check(directory + "/"));
    return files_->List(directory);
  }
  bool Exists(const std::string& path) const override {
    return Check(path).ok() && files_->Exists(path);
  }
  std::string Canonical(const std::string& path) const override { return files_->Canonical(path); }

 private:
  Status Check(const std::string& path) const {
    const std::string real = files_->Canonical(path) + (path.back() == '/' ? "/" : "");
    const bool climbs = ("/" + real + "/").find("/../") != std::string::npos;
    if (!climbs && real.compare(0, root_.size(), root_) == 0) return Status();
    return Status(StatusCode::kPermissionDenied,
                  StrCat(path, ": lies outside of the model's directory ", root_,
                         "; a model's graph reads its own files only"));
  }

  const std::shared_ptr<const FileSystem> files_;
  const std::string root_;
};

}  // namespace

std::shared_ptr<const FileSystem> FilesBelow(std::shared_ptr<const FileSystem> files,
                                             const std::string& root) {
  return std::make_shared<const Below>(std::move(files), root);
}

}  // namespace savedmodel::api
