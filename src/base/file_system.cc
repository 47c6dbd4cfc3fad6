// Files of the machine, and files in memory.
#include "savedmodel/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "src/base/status_macros.h"

namespace savedmodel {
namespace {

Status SystemError(const std::string& path, const char* what, int error) {
  const StatusCode code = error == ENOENT || error == ENOTDIR ? StatusCode::kNotFound
                          : error == EACCES || error == EPERM ? StatusCode::kPermissionDenied
                                                              : StatusCode::kUnavailable;
  return Status(code, StrCat(path, ": cannot ", what, ": ", std::strerror(error)));
}

class MappedFile final : public FileContent {
 public:
  MappedFile(void* data, size_t size) : data_(data), size_(size) {}
  ~MappedFile() override {
    if (size_ > 0) ::munmap(data_, size_);
  }
  std::string_view bytes() const override { return {static_cast<const char*>(data_), size_}; }

 private:
  void* data_;
  size_t size_;
};

class TextFile final : public FileContent {
 public:
  explicit TextFile(std::string text) : text_(std::move(text)) {}
  std::string_view bytes() const override { return text_; }

 private:
  std::string text_;
};

// Closes a descriptor at the end of a scope.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

class Posix final : public FileSystem {
 public:
  StatusOr<std::shared_ptr<const FileContent>> Read(const std::string& path) const override {
    // O_NONBLOCK: opening a FIFO must not wait for a writer.
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0) return SystemError(path, "open", errno);
    struct stat facts;
    if (::fstat(file.get(), &facts) != 0) return SystemError(path, "stat", errno);
    if (!S_ISREG(facts.st_mode)) {
      return InvalidArgument(path, ": found a directory or device, expected a regular file");
    }
    const size_t size = static_cast<size_t>(facts.st_size);
    if (size == 0) return std::shared_ptr<const FileContent>(new TextFile(""));
    void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (data == MAP_FAILED) return SystemError(path, "map", errno);
    return std::shared_ptr<const FileContent>(new MappedFile(data, size));
  }

  StatusOr<std::vector<std::string>> List(const std::string& directory) const override {
    DIR* dir = ::opendir(directory.c_str());
    if (dir == nullptr) return SystemError(directory, "list", errno);
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(dir)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    ::closedir(dir);
    std::sort(names.begin(), names.end());
    return names;
  }

  bool Exists(const std::string& path) const override {
    struct stat facts;
    return ::stat(path.c_str(), &facts) == 0 && S_ISREG(facts.st_mode);
  }

  std::string Canonical(const std::string& path) const override {
    char resolved[PATH_MAX];
    return ::realpath(path.c_str(), resolved) == nullptr ? path : std::string(resolved);
  }
};

class Memory final : public FileSystem {
 public:
  explicit Memory(std::map<std::string, std::string> files) {
    for (auto& [path, text] : files) files_[path] = std::make_shared<TextFile>(std::move(text));
  }

  StatusOr<std::shared_ptr<const FileContent>> Read(const std::string& path) const override {
    auto it = files_.find(path);
    if (it == files_.end()) return NotFound(path, ": no such file in memory");
    return it->second;
  }

  StatusOr<std::vector<std::string>> List(const std::string& directory) const override {
    const std::string prefix = directory.empty() ? "" : directory + "/";
    std::set<std::string> names;
    for (const auto& [path, file] : files_) {
      if (path.compare(0, prefix.size(), prefix) != 0) continue;
      names.insert(path.substr(prefix.size(), path.find('/', prefix.size()) - prefix.size()));
    }
    if (names.empty()) return NotFound(directory, ": no such directory in memory");
    return std::vector<std::string>(names.begin(), names.end());
  }

  bool Exists(const std::string& path) const override { return files_.count(path) > 0; }

 private:
  std::map<std::string, std::shared_ptr<const FileContent>> files_;
};

}  // namespace

FileContent::~FileContent() = default;
FileSystem::~FileSystem() = default;

std::shared_ptr<const FileSystem> PosixFileSystem() {
  static const auto* const files = new std::shared_ptr<const FileSystem>(new Posix());
  return *files;
}

std::shared_ptr<const FileSystem> MemoryFileSystem(std::map<std::string, std::string> files) {
  return std::make_shared<const Memory>(std::move(files));
}

}  // namespace savedmodel
