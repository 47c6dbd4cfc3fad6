// Sorted tables (the LevelDB format): the index of a V2 checkpoint, and V1 checkpoints.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "savedmodel/file_system.h"
#include "savedmodel/span.h"
#include "savedmodel/status.h"

namespace savedmodel {

// A table: entries sorted by key, in blocks with checksums. Immutable, thread-safe.
class TableReader {
 public:
  using EntryFn = FunctionRef<Status(std::string_view key, std::string_view value)>;

  // Reads the footer and the index of `file`; messages begin with `name`.
  // DATA_LOSS for anything that is no intact table.
  static StatusOr<TableReader> Open(std::shared_ptr<const FileContent> file, std::string name);

  // Calls `fn` for all entries in order. Checks that keys ascend.
  Status ForEach(EntryFn fn) const;

  // Calls `fn` for the entry under `key`. NOT_FOUND when there is none.
  Status Visit(std::string_view key, FunctionRef<Status(std::string_view value)> fn) const;

 private:
  struct Handle {
    uint64_t offset = 0;
    uint64_t size = 0;
  };
  struct IndexEntry {
    std::string last_key;  // not below any key of the block
    Handle block;
  };

  TableReader(std::shared_ptr<const FileContent> file, std::string name)
      : file_(std::move(file)), name_(std::move(name)) {}

  Status ReadIndex();
  // The checked content of a block: a part of the file, or of `storage` when it was compressed.
  StatusOr<std::string_view> ReadBlock(const Handle& handle, std::string* storage) const;
  Status ForEachInBlock(std::string_view block, EntryFn fn) const;
  bool TakeHandle(std::string_view* in, Handle* handle) const;

  std::shared_ptr<const FileContent> file_;
  std::string name_;
  std::vector<IndexEntry> index_;
};

// Takes a base-128 number from the front of `in`; false when it is cut off or too large.
bool TakeVarint(std::string_view* in, uint64_t* value);

}  // namespace savedmodel
