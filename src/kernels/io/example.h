// Features of serialized tf.Example and tf.SequenceExample messages, read in one pass.
#pragma once

#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// Values of features of one dtype (float, int64 or string), one after another. Strings are views of
// what was appended, which must stay.
class FeatureValues {
 public:
  int64_t size(DType dtype) const {
    return static_cast<int64_t>(dtype == DType::kFloat   ? floats_.size()
                                : dtype == DType::kInt64 ? ints_.size()
                                                         : strings_.size());
  }
  // Appends the values of a serialized FloatList, Int64List or BytesList; false if malformed.
  bool Append(DType dtype, std::string_view list);
  // Makes room for `count` more values.
  void Reserve(DType dtype, int64_t count);
  // Appends all elements of `tensor`, of one of the three dtypes.
  void Append(const Tensor& tensor);
  void Clear();
  // Copies values [from, from + count) to elements of a tensor at `to`; returns where they end.
  void* CopyTo(DType dtype, int64_t from, int64_t count, void* to) const;

 private:
  std::vector<float> floats_;
  std::vector<int64_t> ints_;
  std::vector<std::string_view> strings_;
};

// Splits a serialized Feature into the dtype of its list, kInvalid where it holds none, and the
// serialized list. False if malformed.
bool ReadFeature(std::string_view feature, DType* dtype, std::string_view* list);

// How one feature becomes outputs.
struct FeatureColumn {
  enum class Form : uint8_t {
    kDense,   // of `shape` in every example
    kPadded,  // of as many times `shape`'s inner dimensions as the example has
    kList,    // as many values as the example has: sparse and ragged outputs
  };
  std::string key;
  DType dtype = DType::kInvalid;
  Form form = Form::kList;
  Shape shape;           // without the batch dimension; of kPadded with a first dimension -1
  int64_t stride = 1;    // elements of `shape`, of kPadded of its inner dimensions
  std::string head;      // of kDense floats: a Feature's bytes before its values, when packed
  Tensor default_value;  // of kDense: for missing features unless it is empty; of kPadded: padding
};

// The value of a map's entry.
struct FoundValue {
  std::string_view bytes;  // serialized; without data where there is no entry
  bool packed = false;     // `bytes` are the floats of a column with a head, and nothing else
};

// Finds the entries under the keys of columns in a serialized map<string, message>.
class KeyIndex {
 public:
  // The next slot is that of `column`. A key with two slots is never found, as in TensorFlow.
  void Add(const FeatureColumn& column);
  // By slot: that of the entry expected next; behind them, that of the first. It is the one that
  // came next in the maps read before, and in the beginning the next slot.
  using Order = std::vector<size_t>;
  // For each entry of `map` (field 1, repeated) sets found[slot of its key] to its value; the last
  // entry of a key wins. False if malformed.
  bool Find(std::string_view map, std::vector<FoundValue>* found, Order* order) const;

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);

  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view key) const { return std::hash<std::string_view>()(key); }
  };
  // What entries of a key begin with, as writers order their fields.
  struct Head {
    std::string entry;   // up to the length of the value
    std::string packed;  // of a column with a head: all before the floats, the map's tag included
    bool is_unique = true;  // no other slot has the key
    size_t num_bytes = 0;   // of those floats
  };

  // Takes the entry that `map` begins with where it begins like this. Its length, or 0.
  static size_t TakePacked(std::string_view map, const Head& head, FoundValue* found);

  std::vector<Head> heads_;  // by slot
  std::unordered_map<std::string, size_t, Hash, std::equal_to<>> slots_;
};

// The column of a dense feature. INVALID_ARGUMENT where default and shape do not go together.
StatusOr<FeatureColumn> DenseColumn(std::string key, const Shape& shape,
                                    const Tensor& default_value, bool batched);

// The values of one column in a run of examples.
struct ColumnData {
  FeatureValues values;         // but of kDense
  std::vector<int64_t> counts;  // of values, per example
  void* row = nullptr;          // of kDense: where in the output the next example's values go
};

// Allocates the output of a kDense column; AppendFeature fills it.
Status PlaceDense(OpContext& ctx, int output, const FeatureColumn& column, int64_t examples,
                  bool batched);

// Appends the feature of one example to `data`. `where` says which example, for messages.
using Where = FunctionRef<std::string()>;
Status AppendUnpacked(const FeatureColumn& column, std::string_view feature, Where where,
                      ColumnData* data);
inline Status AppendFeature(const FeatureColumn& column, const FoundValue& feature, Where where,
                            ColumnData* data) {
  if (!feature.packed) return AppendUnpacked(column, feature.bytes, where, data);
  const size_t size = feature.bytes.size();
  if (size == sizeof(float)) {
    std::memcpy(data->row, feature.bytes.data(), sizeof(float));  // not a call
  } else {
    std::memcpy(data->row, feature.bytes.data(), size);
  }
  data->row = static_cast<char*>(data->row) + size;
  return Status();
}

// The columns of a batch as outputs. `parts` are runs of examples in order, and hold a ColumnData
// per column. Without a batch dimension (one example) where `batched` is false.
Status EmitSparse(OpContext& ctx, int indices_output, int values_output, int shape_output,
                  DType dtype, std::vector<std::vector<ColumnData>>& parts, size_t column,
                  bool batched);
Status EmitPadded(OpContext& ctx, int output, const FeatureColumn& spec,
                  std::vector<std::vector<ColumnData>>& parts, size_t column, bool batched);
Status EmitRagged(OpContext& ctx, int values_output, int splits_output, DType dtype,
                  std::vector<std::vector<ColumnData>>& parts, size_t column, bool batched);

// Writes `splits` to output `i`, int32 or int64.
Status EmitSplits(OpContext& ctx, int i, const Shape& shape, const std::vector<int64_t>& splits);

}  // namespace savedmodel
