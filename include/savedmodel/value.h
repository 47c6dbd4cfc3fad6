/// Value: nested structures of tensors, as tf.function takes and returns them.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "savedmodel/export.h"
#include "savedmodel/tensor.h"

namespace savedmodel {

/// A tensor, a Python-like scalar, None, or a list, tuple, dict or namedtuple of Values.
///
/// Ragged and sparse tensors are kRagged and kSparse: their component tensors as items, in
/// TensorFlow's order (values then row splits from the outermost; indices, values, dense_shape).
class SAVEDMODEL_EXPORT Value {
 public:
  enum class Kind {
    kNone,
    kTensor,
    kBool,
    kInt,
    kFloat,
    kString,
    kList,
    kTuple,
    kDict,
    kNamedTuple,
    kRagged,
    kSparse
  };

  Value() = default;
  Value(Tensor tensor) : kind_(Kind::kTensor), leaf_(std::move(tensor)) {}  // NOLINT: implicit
  /// Python scalars. They choose a trace; a trace that takes a tensor accepts a number too.
  static Value Bool(bool v) { return Value(Kind::kBool, v); }
  static Value Int(int64_t v) { return Value(Kind::kInt, v); }
  static Value Float(double v) { return Value(Kind::kFloat, v); }
  static Value String(std::string v) { return Value(Kind::kString, std::move(v)); }
  static Value List(std::vector<Value> items) { return Value(Kind::kList, std::move(items)); }
  static Value Tuple(std::vector<Value> items) { return Value(Kind::kTuple, std::move(items)); }
  static Value Dict(const std::map<std::string, Value>& items);
  /// Fields in declared order.
  static Value NamedTuple(std::string name, std::vector<std::pair<std::string, Value>> fields);
  static Value Ragged(Value values, Tensor row_splits);
  static Value Sparse(Tensor indices, Tensor values, Tensor dense_shape);

  Kind kind() const { return kind_; }
  bool is_tensor() const { return kind_ == Kind::kTensor; }
  /// The tensor of a kTensor; an empty Tensor otherwise.
  const Tensor& tensor() const;
  bool bool_value() const { return Get<bool>(); }
  int64_t int_value() const { return Get<int64_t>(); }
  double float_value() const { return Get<double>(); }
  /// Text of a kString, type name of a kNamedTuple.
  const std::string& string_value() const { return text_; }

  /// Number of items of a structure; 0 for a leaf.
  size_t size() const { return items_.size(); }
  const std::vector<Value>& items() const& { return items_; }
  std::vector<Value> items() && { return std::move(items_); }
  /// Keys of a kDict (sorted) or kNamedTuple (in order), parallel to items().
  const std::vector<std::string>& keys() const { return keys_; }
  /// Item `i`, or under `key`; a None value when there is none.
  const Value& operator[](size_t i) const;
  const Value& operator[](const std::string& key) const;

  /// All tensors, depth first, dicts by sorted key: TensorFlow's flattening order.
  std::vector<Tensor> Flatten() const;
  /// Python-like text, tensors by type.
  std::string ToString() const;

 private:
  using Leaf = std::variant<std::monostate, Tensor, bool, int64_t, double>;
  template <class T>
  Value(Kind kind, T leaf) : kind_(kind), leaf_(leaf) {}
  Value(Kind kind, std::string text) : kind_(kind), text_(std::move(text)) {}
  Value(Kind kind, std::vector<Value> items) : kind_(kind), items_(std::move(items)) {}
  template <class T>
  T Get() const {
    const T* v = std::get_if<T>(&leaf_);
    return v == nullptr ? T{} : *v;
  }

  Kind kind_ = Kind::kNone;
  Leaf leaf_;
  std::string text_;
  std::vector<std::string> keys_;
  std::vector<Value> items_;
};

}  // namespace savedmodel
