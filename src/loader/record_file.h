// Riegeli/records files: what TensorFlow writes split messages into.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "savedmodel/file_system.h"
#include "savedmodel/status.h"

namespace savedmodel {

// The records of a file, read when asked for. Chunks may be plain or compressed with Brotli; other
// compressions and transposed chunks are UNIMPLEMENTED. Hashes are not checked: what a
// saved_model.pb holds has none either. Anything that is no such file is DATA_LOSS.
class RecordFile {
 public:
  // Finds the chunks of `file`; messages begin with `name`.
  static StatusOr<RecordFile> Open(std::shared_ptr<const FileContent> file, std::string name);

  // The record at `position`, as its writer gave it: where its chunk begins, plus its index there.
  StatusOr<std::string> Read(uint64_t position);
  // The last record of the file.
  StatusOr<std::string> ReadLast();

 private:
  struct Chunk {
    uint64_t begin = 0;  // in the file
    uint64_t data = 0;   // in the file without block headers
    uint64_t data_size = 0;
    uint64_t num_records = 0;
    uint64_t decoded_size = 0;
    char type = 0;
  };

  RecordFile(std::shared_ptr<const FileContent> file, std::string name)
      : file_(std::move(file)), name_(std::move(name)) {}

  Status FindChunks();
  // `size` bytes at `begin` of the file without block headers; false when it ends before.
  bool ReadBytes(uint64_t begin, uint64_t size, std::string* out) const;
  // Makes the records of `chunk` those of `sizes_` and `values_`.
  Status Decode(const Chunk& chunk);
  StatusOr<std::string> RecordOf(const Chunk& chunk, uint64_t index);
  Status Damaged(std::string_view what) const;

  std::shared_ptr<const FileContent> file_;
  std::string name_;
  std::vector<Chunk> chunks_;      // that hold records, in the file's order
  uint64_t decoded_ = UINT64_MAX;  // begin of the chunk that was decoded last
  std::vector<uint64_t> ends_;     // of its records, in values_
  std::string values_;
};

}  // namespace savedmodel
