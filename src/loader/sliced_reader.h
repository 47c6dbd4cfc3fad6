// What checkpoint formats share: entries by key, tensors stored whole or in slices.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "src/base/checkpoint.h"
#include "src/loader/ordered_code.h"

namespace savedmodel {

namespace proto {
class TensorSliceProto;
}  // namespace proto

// Assembles tensors and slices of tensors from the parts that a format stores.
class SlicedReader : public CheckpointReader {
 public:
  const std::vector<CheckpointEntry>& entries() const override { return entries_; }
  const CheckpointEntry* Find(const std::string& key) const override;
  StatusOr<Tensor> Read(const std::string& key) const override;
  StatusOr<Tensor> ReadSlice(const std::string& key, const std::vector<int64_t>& starts,
                             const std::vector<int64_t>& lengths) const override;

 protected:
  // Adds an entry; keys come in ascending order. `slices` is empty for a tensor stored whole.
  // DATA_LOSS for slices that lie outside of the shape or overlap.
  Status AddEntry(CheckpointEntry entry, std::vector<TensorSlice> slices);

  // One stored part: the whole tensor when `slice` is null, else one of the entry's slices, with
  // `shape` its shape.
  virtual StatusOr<Tensor> ReadPart(const CheckpointEntry& entry, size_t index,
                                    const TensorSlice* slice, const Shape& shape) const = 0;

 private:
  StatusOr<Tensor> Assemble(size_t index, const TensorSlice& region) const;

  std::vector<CheckpointEntry> entries_;
  std::vector<std::vector<TensorSlice>> slices_;  // parallel to entries_, as stored
  std::unordered_map<std::string, size_t> by_key_;
};

// DATA_LOSS when a dimension starts below 0.
StatusOr<TensorSlice> SliceFromProto(const proto::TensorSliceProto& proto);

// The slice of a tensor of `shape` with whole dimensions (length -1) written out.
// INVALID_ARGUMENT when it does not lie inside.
StatusOr<TensorSlice> ResolveSlice(const TensorSlice& slice, const Shape& shape);

}  // namespace savedmodel
