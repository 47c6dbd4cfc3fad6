// Features of serialized tf.Example and tf.SequenceExample messages, read in one pass.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// Values of features of one dtype (float, int64 or string), one after another.
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
  // Moves values [from, from + count) to element `at` of `out`.
  void MoveTo(Tensor* out, int64_t at, int64_t from, int64_t count);

 private:
  std::vector<float> floats_;
  std::vector<int64_t> ints_;
  std::vector<std::string> strings_;
};

// Splits a serialized Feature into the dtype of its list, kInvalid where it holds none, and the
// serialized list. False if malformed.
bool ReadFeature(std::string_view feature, DType* dtype, std::string_view* list);

// Finds the entries under wanted keys of a serialized map<string, message>.
class KeyIndex {
 public:
  // The next slot is that of `key`. A key with two slots is never found, as in TensorFlow.
  void Add(const std::string& key);
  // Slots of the entries of the map read last: the next map mostly has the same keys in the same
  // order.
  using Order = std::vector<size_t>;
  // For each entry of `map` (field 1, repeated) sets found[slot of its key] to the serialized
  // value; the last entry of a key wins. False if malformed.
  bool Find(std::string_view map, std::vector<std::string_view>* found, Order* order) const;

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);

  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view key) const { return std::hash<std::string_view>()(key); }
  };

  // By slot: an entry's bytes up to the length of its value, as writers order them.
  std::vector<std::string> heads_;
  std::unordered_map<std::string, size_t, Hash, std::equal_to<>> slots_;
};

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

// The column of a dense feature. INVALID_ARGUMENT where default and shape do not go together.
StatusOr<FeatureColumn> DenseColumn(std::string key, const Shape& shape,
                                    const Tensor& default_value, bool batched);

// The values of one column in a run of examples.
struct ColumnData {
  FeatureValues values;         // but of kDense
  std::vector<int64_t> counts;  // of values, per example
  // Of kDense: the output, and the element that the values of the next example begin with.
  Tensor* rows = nullptr;
  int64_t next = 0;
};

// Allocates the output of a kDense column; AppendFeature fills it.
Status PlaceDense(OpContext& ctx, int output, const FeatureColumn& column, int64_t examples,
                  bool batched);

// Appends the feature of one example to `data`; `feature` has no data where there is none.
// `where` says which example, for messages.
using Where = FunctionRef<std::string()>;
Status AppendFeature(const FeatureColumn& column, std::string_view feature, Where where,
                     ColumnData* data);

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
