// Structured values: how the object graph describes arguments, results and defaults.
#pragma once

#include <string>
#include <vector>

#include "savedmodel/tensor.h"

namespace savedmodel {

namespace proto {
class StructuredValue;
class TypeSpecProto;
}  // namespace proto

// A tree of Python-like values and of specs that stand for tensors.
struct StructuredValue {
  enum class Kind {
    kNone,
    kBool,
    kInt,
    kFloat,
    kString,
    kShape,
    kDType,
    kTensor,             // a constant: a tensor or numpy array
    kTensorSpec,         // a tensor of `dtype` and `shape` named `text`
    kBoundedTensorSpec,  // likewise, with items = {minimum, maximum}
    kTypeSpec,           // a composite: `type_spec` with items = {its state}
    kList,
    kTuple,
    kDict,
    kNamedTuple,  // of type `text`
  };
  // TensorFlow's TypeSpecProto.TypeSpecClass.
  enum class TypeSpec {
    kUnknown = 0,
    kSparseTensor = 1,
    kIndexedSlices = 2,
    kRaggedTensor = 3,
    kTensorArray = 4,
    kDataset = 5,
    kIterator = 6,
    kOptional = 7,
    kPerReplica = 8,
    kVariable = 9,
    kRowPartition = 10,
    kRegistered = 12,
    kExtensionType = 13,
  };

  Kind kind = Kind::kNone;
  bool bool_value = false;
  int64_t int_value = 0;
  double float_value = 0;
  std::string text;  // a string; a spec's name; a named tuple's or type spec's class
  DType dtype = DType::kInvalid;
  Shape shape = Shape::Unknown();
  Tensor tensor;
  TypeSpec type_spec = TypeSpec::kUnknown;
  int num_flat_components = 0;    // tensors that a type spec stands for; 0 where not said
  std::vector<std::string> keys;  // of a dict (sorted) or named tuple (in order)
  std::vector<StructuredValue> items;

  bool is_structure() const { return kind >= Kind::kList; }
  // Item `key` of a dict or named tuple, or nullptr.
  const StructuredValue* Find(const std::string& key) const;
};

// INVALID_ARGUMENT for shapes and dtypes that cannot be. The parser's limit on nesting bounds the
// depth of `proto`, and so that of the recursion.
StatusOr<StructuredValue> StructuredValueFromProto(const proto::StructuredValue& proto);
StatusOr<StructuredValue> TypeSpecFromProto(const proto::TypeSpecProto& proto);

}  // namespace savedmodel
