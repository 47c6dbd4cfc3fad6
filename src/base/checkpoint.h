// What restore kernels and the loader see of a checkpoint, whatever its format.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "savedmodel/tensor.h"

namespace savedmodel {

// One entry of a checkpoint. A partitioned variable is one entry with its full shape.
struct CheckpointEntry {
  std::string key;
  DType dtype = DType::kInvalid;
  Shape shape;
};

// An open checkpoint. Thread-safe.
class CheckpointReader {
 public:
  virtual ~CheckpointReader() = default;
  // All entries, sorted by key.
  virtual const std::vector<CheckpointEntry>& entries() const = 0;
  // The entry under `key`, or nullptr.
  virtual const CheckpointEntry* Find(const std::string& key) const = 0;
  // The whole tensor; aliases the mapped file where it can. NOT_FOUND, DATA_LOSS.
  virtual StatusOr<Tensor> Read(const std::string& key) const = 0;
  // A slice: `starts` and `lengths` per dimension; a length of -1 takes the whole dimension.
  virtual StatusOr<Tensor> ReadSlice(const std::string& key, const std::vector<int64_t>& starts,
                                     const std::vector<int64_t>& lengths) const = 0;
};

// Opens checkpoints by prefix (V2 bundle) or file pattern (V1 table).
class CheckpointOpener {
 public:
  virtual ~CheckpointOpener() = default;
  virtual StatusOr<std::shared_ptr<const CheckpointReader>> Open(
      const std::string& prefix) const = 0;
};

}  // namespace savedmodel
