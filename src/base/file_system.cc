// Files of the machine and files held in memory.
#include "savedmodel/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <utility>

#include "src/base/mapped_pages.h"
#include "src/base/status_macros.h"

namespace savedmodel {

FileContent::~FileContent() = default;
FileSystem::~FileSystem() = default;

namespace {

// Files below this size are copied: a mapping costs more, and wastes the rest of its page.
constexpr size_t kMapFrom = 64 * 1024;

class HeldContent final : public FileContent {
 public:
  explicit HeldContent(std::string bytes) : bytes_(std::move(bytes)) {}
  std::string_view bytes() const override { return bytes_; }

 private:
  const std::string bytes_;
};

class MappedContent final : public FileContent {
 public:
  MappedContent(void* data, size_t size) : data_(data), size_(size) { AddMapping(data, size); }
  ~MappedContent() override {
    RemoveMapping(data_);
    munmap(data_, size_);
  }
  std::string_view bytes() const override { return {static_cast<const char*>(data_), size_}; }

 private:
  void* const data_;
  const size_t size_;
};

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

Status ErrnoStatus(const std::string& path, int error) {
  StatusCode code = StatusCode::kUnavailable;
  if (error == ENOENT || error == ENOTDIR) code = StatusCode::kNotFound;
  if (error == EACCES || error == EPERM) code = StatusCode::kPermissionDenied;
  if (error == ENAMETOOLONG || error == ELOOP || error == EINVAL) {
    code = StatusCode::kInvalidArgument;
  }
  if (error == EMFILE || error == ENFILE || error == ENOMEM) code = StatusCode::kResourceExhausted;
  return Status(code, StrCat(path, ": ", std::strerror(error)));
}

Status CheckPath(const std::string& path) {
  if (path.find('\0') == std::string::npos && !path.empty()) return Status();
  return InvalidArgument("path '", path.c_str(), "': found an empty one or one with a NUL byte");
}

const char* KindOfFile(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

StatusOr<std::string> ReadAll(int fd, size_t size, const std::string& path) {
  std::string bytes(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t n = read(fd, bytes.data() + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(path, errno);
    if (n == 0) {
      return DataLoss(path, ": found ", done, " bytes, expected ", size, "; it shrank while read");
    }
    done += static_cast<size_t>(n);
  }
  return bytes;
}

class Posix final : public FileSystem {
 public:
  StatusOr<std::shared_ptr<const FileContent>> Read(const std::string& path) const override {
    SM_RETURN_IF_ERROR(CheckPath(path));
    // Not blocking: opening a pipe would wait for its writer.
    const FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (fd.get() < 0) return ErrnoStatus(path, errno);
    struct stat info;
    if (fstat(fd.get(), &info) != 0) return ErrnoStatus(path, errno);
    if (!S_ISREG(info.st_mode)) {
      return FailedPrecondition(path, ": found ", KindOfFile(info.st_mode),
                                ", expected a regular file");
    }
    const size_t size = static_cast<size_t>(info.st_size);
    if (size < kMapFrom) {
      SM_ASSIGN_OR_RETURN(std::string bytes, ReadAll(fd.get(), size, path));
      return std::shared_ptr<const FileContent>(new HeldContent(std::move(bytes)));
    }
    void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (data == MAP_FAILED) return ErrnoStatus(path, errno);
    return std::shared_ptr<const FileContent>(new MappedContent(data, size));
  }

  StatusOr<std::vector<std::string>> List(const std::string& directory) const override {
    SM_RETURN_IF_ERROR(CheckPath(directory));
    DIR* dir = opendir(directory.c_str());
    if (dir == nullptr) return ErrnoStatus(directory, errno);
    std::vector<std::string> names;
    while (const dirent* entry = readdir(dir)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    closedir(dir);
    std::sort(names.begin(), names.end());
    return names;
  }

  bool Exists(const std::string& path) const override {
    struct stat info;
    return CheckPath(path).ok() && stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
           access(path.c_str(), R_OK) == 0;
  }

  std::string Canonical(const std::string& path) const override {
    if (!CheckPath(path).ok()) return path;
    std::error_code error;
    std::filesystem::path real = std::filesystem::weakly_canonical(path, error);
    if (error) real = std::filesystem::absolute(path, error).lexically_normal();
    return error ? path : real.string();
  }
};

class Memory final : public FileSystem {
 public:
  explicit Memory(std::map<std::string, std::string> files) {
    for (auto& [path, bytes] : files) {
      files_[Canonical(path)] = std::make_shared<HeldContent>(std::move(bytes));
    }
  }

  StatusOr<std::shared_ptr<const FileContent>> Read(const std::string& path) const override {
    auto it = files_.find(Canonical(path));
    if (it == files_.end()) return NotFound(path, ": no such file in memory");
    return it->second;
  }

  StatusOr<std::vector<std::string>> List(const std::string& directory) const override {
    std::string prefix = Canonical(directory);
    if (!prefix.empty() && prefix.back() != '/') prefix += '/';
    std::set<std::string> names;
    for (auto it = files_.lower_bound(prefix); it != files_.end(); ++it) {
      if (it->first.compare(0, prefix.size(), prefix) != 0) break;
      const std::string rest = it->first.substr(prefix.size());
      names.insert(rest.substr(0, rest.find('/')));
    }
    if (names.empty()) return NotFound(directory, ": no such directory in memory");
    return std::vector<std::string>(names.begin(), names.end());
  }

  bool Exists(const std::string& path) const override { return files_.count(Canonical(path)) > 0; }

  std::string Canonical(const std::string& path) const override {
    std::string normal = std::filesystem::path(path).lexically_normal().generic_string();
    if (normal.size() > 1 && normal.back() == '/') normal.pop_back();
    return normal == "." ? std::string() : normal;
  }

 private:
  std::map<std::string, std::shared_ptr<const FileContent>> files_;
};

}  // namespace

std::shared_ptr<const FileSystem> PosixFileSystem() {
  static const std::shared_ptr<const FileSystem> files = std::make_shared<Posix>();
  return files;
}

std::shared_ptr<const FileSystem> MemoryFileSystem(std::map<std::string, std::string> files) {
  return std::make_shared<Memory>(std::move(files));
}

}  // namespace savedmodel
