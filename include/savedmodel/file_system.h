/// Where files of a model come from. A host may supply its own: archives, encrypted models, memory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "savedmodel/export.h"
#include "savedmodel/status.h"

namespace savedmodel {

/// The bytes of one file, mapped or held in memory, for as long as the object lives.
class SAVEDMODEL_EXPORT FileContent {
 public:
  virtual ~FileContent();
  virtual std::string_view bytes() const = 0;
};

/// Reads files. Paths are as given to Load, joined with '/'. Implementations are thread-safe.
class SAVEDMODEL_EXPORT FileSystem {
 public:
  virtual ~FileSystem();
  /// The whole file. NOT_FOUND when there is none; other codes say why it cannot be read.
  virtual StatusOr<std::shared_ptr<const FileContent>> Read(const std::string& path) const = 0;
  /// Names (not paths) of the entries of a directory, sorted. NOT_FOUND when there is none.
  virtual StatusOr<std::vector<std::string>> List(const std::string& directory) const = 0;
  /// True when `path` is a file that can be read.
  virtual bool Exists(const std::string& path) const = 0;
  /// The path with links and `..` resolved, as far as it exists; the path itself where that means
  /// nothing.
  virtual std::string Canonical(const std::string& path) const { return path; }
};

/// The machine's files; large ones are mapped. Only regular files are read.
SAVEDMODEL_EXPORT std::shared_ptr<const FileSystem> PosixFileSystem();

/// A file system of `files`, path to content.
SAVEDMODEL_EXPORT std::shared_ptr<const FileSystem> MemoryFileSystem(
    std::map<std::string, std::string> files);

}  // namespace savedmodel
