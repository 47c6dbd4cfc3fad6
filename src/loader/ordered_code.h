// Byte strings that sort as the values they stand for: the keys of slices in checkpoints.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace savedmodel {

// A part of a tensor: per dimension where it starts and how long it is. A length of -1 is the
// whole dimension.
struct TensorSlice {
  std::vector<int64_t> starts;
  std::vector<int64_t> lengths;

  int rank() const { return static_cast<int>(starts.size()); }
  friend bool operator==(const TensorSlice&, const TensorSlice&) = default;
};

// The key under which a checkpoint stores slice `slice` of tensor `name`.
std::string SliceKey(std::string_view name, const TensorSlice& slice);

// True for keys made by SliceKey.
inline bool IsSliceKey(std::string_view key) { return !key.empty() && key[0] == '\0'; }

}  // namespace savedmodel
