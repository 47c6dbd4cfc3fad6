#include "src/api/model_files.h"

#include <filesystem>

#include "src/base/status_macros.h"

namespace savedmodel::api {
namespace {

// Whether `path` leads below `root` by its text alone.
bool IsInside(const std::string& path, const std::string& root) {
  const std::filesystem::path from = (std::filesystem::path(root) / "").lexically_normal();
  const std::filesystem::path rest =
      (std::filesystem::path(path) / "").lexically_normal().lexically_relative(from);
  return !rest.empty() && *rest.begin() != "..";
}

class Below final : public FileSystem {
 public:
  Below(std::shared_ptr<const FileSystem> files, const std::string& root, bool follow_links)
      : files_(std::move(files)),
        root_(root.empty() ? "." : root),
        real_root_(files_->Canonical(root_)),
        follow_links_(follow_links) {}

  StatusOr<std::shared_ptr<const FileContent>> Read(const std::string& path) const override {
    SM_RETURN_IF_ERROR(Check(path));
    return files_->Read(path);
  }
  StatusOr<std::vector<std::string>> List(const std::string& directory) const override {
    SM_RETURN_IF_ERROR(Check(directory));
    return files_->List(directory);
  }
  // A link that leaves is there: reading it says what is wrong.
  bool Exists(const std::string& path) const override {
    return IsNamedInside(path) && files_->Exists(path);
  }
  std::string Canonical(const std::string& path) const override { return files_->Canonical(path); }

 private:
  bool IsNamedInside(const std::string& path) const {
    return IsInside(path, root_) || IsInside(path, real_root_);
  }

  Status Check(const std::string& path) const {
    if (follow_links_ ? IsNamedInside(path) : IsInside(files_->Canonical(path), real_root_)) {
      return Status();
    }
    return Status(StatusCode::kPermissionDenied,
                  StrCat(path, ": lies outside of the model's directory ", real_root_,
                         "; a model reads its own files only"));
  }

  const std::shared_ptr<const FileSystem> files_;
  const std::string root_, real_root_;
  const bool follow_links_;
};

}  // namespace

std::shared_ptr<const FileSystem> FilesBelow(std::shared_ptr<const FileSystem> files,
                                             const std::string& root, bool follow_links) {
  return std::make_shared<const Below>(std::move(files), root, follow_links);
}

}  // namespace savedmodel::api
