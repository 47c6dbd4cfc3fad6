#include "src/loader/structured_value.h"

#include <algorithm>
#include <utility>

#include "proto/savedmodel_model.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/tensor_proto.h"

namespace savedmodel {
namespace {

using Kind = StructuredValue::Kind;

// A dtype that the library lacks is no error until something needs it.
StatusOr<DType> LenientDType(int number) {
  if (number == proto::DT_INVALID) return DType::kInvalid;
  StatusOr<DType> dtype = DTypeFromNumber(number);
  if (dtype.status().code() == StatusCode::kUnimplemented) return DType::kInvalid;
  return dtype;
}

template <class Proto>
StatusOr<StructuredValue> Spec(Kind kind, const Proto& proto) {
  StructuredValue value;
  value.kind = kind;
  value.text = proto.name();
  SM_ASSIGN_OR_RETURN(value.dtype, LenientDType(proto.dtype()));
  SM_ASSIGN_OR_RETURN(value.shape, ShapeFromProto(proto.shape()));
  return value;
}

StatusOr<StructuredValue> Constant(const proto::TensorProto& proto) {
  StructuredValue value;
  value.kind = Kind::kTensor;
  SM_ASSIGN_OR_RETURN(value.tensor, TensorFromProto(proto));
  return value;
}

template <class Items>
StatusOr<StructuredValue> Sequence(Kind kind, const Items& items) {
  StructuredValue value;
  value.kind = kind;
  for (const auto& item : items) {
    SM_ASSIGN_OR_RETURN(StructuredValue converted, StructuredValueFromProto(item));
    value.items.push_back(std::move(converted));
  }
  return value;
}

StatusOr<StructuredValue> Dict(const proto::DictValue& dict) {
  StructuredValue value;
  value.kind = Kind::kDict;
  for (const auto& [key, item] : dict.fields()) value.keys.push_back(key);
  std::sort(value.keys.begin(), value.keys.end());
  for (const std::string& key : value.keys) {
    SM_ASSIGN_OR_RETURN(StructuredValue item, StructuredValueFromProto(dict.fields().at(key)));
    value.items.push_back(std::move(item));
  }
  return value;
}

StatusOr<StructuredValue> NamedTuple(const proto::NamedTupleValue& tuple) {
  StructuredValue value;
  value.kind = Kind::kNamedTuple;
  value.text = tuple.name();
  for (const auto& field : tuple.values()) {
    SM_ASSIGN_OR_RETURN(StructuredValue item, StructuredValueFromProto(field.value()));
    value.keys.push_back(field.key());
    value.items.push_back(std::move(item));
  }
  return value;
}

StatusOr<StructuredValue> Bounded(const proto::BoundedTensorSpecProto& proto) {
  SM_ASSIGN_OR_RETURN(StructuredValue value, Spec(Kind::kBoundedTensorSpec, proto));
  SM_ASSIGN_OR_RETURN(StructuredValue minimum, Constant(proto.minimum()));
  SM_ASSIGN_OR_RETURN(StructuredValue maximum, Constant(proto.maximum()));
  value.items = {std::move(minimum), std::move(maximum)};
  return value;
}

}  // namespace

const StructuredValue* StructuredValue::Find(const std::string& key) const {
  for (size_t i = 0; i < keys.size(); ++i) {
    if (keys[i] == key) return &items[i];
  }
  return nullptr;
}

StatusOr<StructuredValue> TypeSpecFromProto(const proto::TypeSpecProto& proto) {
  StructuredValue value;
  value.kind = Kind::kTypeSpec;
  value.text = proto.type_spec_class_name();
  value.type_spec = static_cast<StructuredValue::TypeSpec>(proto.type_spec_class());
  value.num_flat_components = proto.num_flat_components();
  SM_ASSIGN_OR_RETURN(StructuredValue state, StructuredValueFromProto(proto.type_state()));
  value.items.push_back(std::move(state));
  return value;
}

StatusOr<StructuredValue> StructuredValueFromProto(const proto::StructuredValue& proto) {
  StructuredValue value;
  using Case = proto::StructuredValue;
  switch (proto.kind_case()) {
    case Case::kNoneValue:
    case Case::KIND_NOT_SET:
      return value;
    case Case::kFloat64Value:
      value.kind = Kind::kFloat;
      value.float_value = proto.float64_value();
      return value;
    case Case::kInt64Value:
      value.kind = Kind::kInt;
      value.int_value = proto.int64_value();
      return value;
    case Case::kStringValue:
      value.kind = Kind::kString;
      value.text = proto.string_value();
      return value;
    case Case::kBoolValue:
      value.kind = Kind::kBool;
      value.bool_value = proto.bool_value();
      return value;
    case Case::kTensorShapeValue: {
      value.kind = Kind::kShape;
      SM_ASSIGN_OR_RETURN(value.shape, ShapeFromProto(proto.tensor_shape_value()));
      return value;
    }
    case Case::kTensorDtypeValue: {
      value.kind = Kind::kDType;
      SM_ASSIGN_OR_RETURN(value.dtype, LenientDType(proto.tensor_dtype_value()));
      return value;
    }
    case Case::kTensorSpecValue:
      return Spec(Kind::kTensorSpec, proto.tensor_spec_value());
    case Case::kBoundedTensorSpecValue:
      return Bounded(proto.bounded_tensor_spec_value());
    case Case::kTypeSpecValue:
      return TypeSpecFromProto(proto.type_spec_value());
    case Case::kListValue:
      return Sequence(Kind::kList, proto.list_value().values());
    case Case::kTupleValue:
      return Sequence(Kind::kTuple, proto.tuple_value().values());
    case Case::kDictValue:
      return Dict(proto.dict_value());
    case Case::kNamedTupleValue:
      return NamedTuple(proto.named_tuple_value());
    case Case::kTensorValue:
      return Constant(proto.tensor_value());
    case Case::kNumpyValue:
      return Constant(proto.numpy_value());
  }
  return value;
}

}  // namespace savedmodel
