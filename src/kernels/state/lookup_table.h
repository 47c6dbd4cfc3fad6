// LookupTable: what every table op works on.
#pragma once

#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "savedmodel/op.h"
#include "savedmodel/resource.h"

namespace savedmodel {

// A map from keys (scalars, or tensors of `key_shape`) to values of `value_shape`. Thread-safe.
//
// A table that is not mutable is filled once; until then it cannot be searched.
class LookupTable final : public Resource {
 public:
  struct Spec {
    DType key_dtype = DType::kInvalid;
    DType value_dtype = DType::kInvalid;
    Shape key_shape;
    Shape value_shape;
    bool is_mutable = false;
    std::vector<Tensor> reserved_keys;  // keys that a dense table must not hold
  };

  explicit LookupTable(Spec spec) : spec_(std::move(spec)) {}
  std::string_view kind() const override { return "table"; }
  StatusOr<ResourceRef> Clone() const override;
  const Spec& spec() const { return spec_; }

  int64_t size() const;
  // The value of each key, or its default: `defaults` has one value or one for each key.
  Status Find(OpContext& ctx, const Tensor& keys, const Tensor& defaults, int output) const;
  // Fills a table that is not mutable. Filling it again with as many entries does nothing;
  // FAILED_PRECONDITION when a key comes with two values.
  Status Initialize(const Tensor& keys, const Tensor& values);
  // Adds entries or replaces their values.
  Status Insert(const Tensor& keys, const Tensor& values);
  // Replaces all entries. For a dense table these are all buckets of another, one key and value a
  // row, unused ones included.
  Status Import(Tensor keys, Tensor values);
  Status Remove(const Tensor& keys);
  // All entries, in order of insertion but for removals.
  Status Export(OpContext& ctx) const;

 private:
  Status CheckKeys(const Tensor& keys) const;
  Status CheckNotReserved(const Tensor& keys) const;
  Status CheckEntries(const Tensor& keys, const Tensor& values) const;
  // Shape of the keys without the dimensions of one key.
  Shape Outer(const Tensor& keys) const;
  // A key as the maps have it: a number, or bytes with their hash, which is computed once.
  struct Key {
    int64_t number = 0;
    std::string_view bytes;
    size_t hash = 0;
  };
  bool HasBytes() const { return spec_.key_dtype == DType::kString || spec_.key_shape.rank() > 0; }
  Key KeyAt(const Tensor& keys, int64_t i) const;
  // -1 where there is none.
  int64_t FindRow(const Key& key) const;
  // Begins to read what FindRow will.
  void Fetch(const Key& key) const;
  // The row of the key, made if there is none; `added` tells.
  int64_t FindOrAddRow(const Key& key, bool* added);
  Status Grow(int64_t rows);
  // Makes room for `capacity` rows and copies the first `size_` into it.
  Status TakeRows(const Tensor& from_keys, const Tensor& from_values, int64_t capacity);
  bool IsReserved(const Tensor& keys, int64_t i) const;
  Status InsertLocked(const Tensor& keys, const Tensor& values, bool keep_old);
  void RemoveRow(int64_t row);

  static size_t HashOf(std::string_view bytes) {
    return absl::Hash<absl::string_view>()({bytes.data(), bytes.size()});
  }
  struct Hash {
    using is_transparent = void;
    size_t operator()(const Key& key) const { return key.hash; }
    size_t operator()(const std::string& bytes) const { return HashOf(bytes); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const std::string& a, const Key& b) const { return a == b.bytes; }
    bool operator()(const std::string& a, const std::string& b) const { return a == b; }
  };

  const Spec spec_;
  mutable std::shared_mutex mutex_;
  bool initialized_ = false;
  // Row of each key: numbers are keys by their bits, strings and tensors by their bytes.
  absl::flat_hash_map<int64_t, int64_t> numbers_;
  absl::flat_hash_map<std::string, int64_t, Hash, Equal> bytes_;
  Tensor keys_, values_;  // rows [0, size_) are used
  int64_t size_ = 0;
};

// Fills tables from the lines of text files.
Status InitializeFromTextFile(OpContext& ctx, LookupTable& table, const Attrs& attrs);

}  // namespace savedmodel
