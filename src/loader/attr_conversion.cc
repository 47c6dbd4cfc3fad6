#include "src/loader/attr_conversion.h"

#include <memory>
#include <utility>
#include <vector>

#include "proto/savedmodel_graph.pb.h"
#include "src/base/status_macros.h"
#include "src/loader/tensor_proto.h"

namespace savedmodel {
namespace {

StatusOr<AttrValue> ConvertValue(const proto::AttrValue& value, const Attrs* call_attrs);

// Functions in attributes of functions recurse; the parser's limit on nesting bounds the depth.
StatusOr<FuncAttr> ConvertFunc(const proto::NameAttrList& func, const Attrs* call_attrs) {
  FuncAttr f;
  f.name = func.name();
  auto attrs = std::make_shared<Attrs>();
  for (const auto& [name, value] : func.attr()) {
    if (name.empty() || name[0] == '_') continue;
    SM_ASSIGN_OR_RETURN(AttrValue converted, ConvertValue(value, call_attrs));
    attrs->Set(name, std::move(converted));
  }
  if (!attrs->empty()) f.attrs = std::move(attrs);
  return f;
}

template <class T, class Field, class Convert>
StatusOr<AttrValue> ConvertEach(const Field& field, const Convert& convert) {
  std::vector<T> list;
  list.reserve(field.size());
  for (const auto& item : field) {
    SM_ASSIGN_OR_RETURN(T converted, convert(item));
    list.push_back(std::move(converted));
  }
  return AttrValue(std::move(list));
}

// An empty list does not say of what it is a list; it becomes one of integers.
StatusOr<AttrValue> ConvertList(const proto::AttrValue::ListValue& list, const Attrs* call_attrs) {
  if (list.s_size() > 0) {
    return AttrValue(std::vector<std::string>(list.s().begin(), list.s().end()));
  }
  if (list.f_size() > 0) return AttrValue(std::vector<float>(list.f().begin(), list.f().end()));
  if (list.b_size() > 0) return AttrValue(std::vector<bool>(list.b().begin(), list.b().end()));
  if (list.type_size() > 0) {
    return ConvertEach<DType>(list.type(), [](int n) { return DTypeFromNumber(n); });
  }
  if (list.shape_size() > 0) {
    return ConvertEach<Shape>(list.shape(), [](const auto& s) { return ShapeFromProto(s); });
  }
  if (list.tensor_size() > 0) {
    return ConvertEach<Tensor>(list.tensor(), [](const auto& t) { return TensorFromProto(t); });
  }
  if (list.func_size() > 0) {
    return ConvertEach<FuncAttr>(list.func(),
                                 [&](const auto& f) { return ConvertFunc(f, call_attrs); });
  }
  return AttrValue(std::vector<int64_t>(list.i().begin(), list.i().end()));
}

template <class T>
StatusOr<AttrValue> Wrap(StatusOr<T> value) {
  if (!value.ok()) return value.status();
  return AttrValue(std::move(value).value());
}

StatusOr<AttrValue> ConvertValue(const proto::AttrValue& value, const Attrs* call_attrs) {
  using Case = proto::AttrValue;
  switch (value.value_case()) {
    case Case::kS:
      return AttrValue(value.s());
    case Case::kI:
      return AttrValue(static_cast<int64_t>(value.i()));
    case Case::kF:
      return AttrValue(value.f());
    case Case::kB:
      return AttrValue(value.b());
    case Case::kType:
      return Wrap(DTypeFromNumber(value.type()));
    case Case::kShape:
      return Wrap(ShapeFromProto(value.shape()));
    case Case::kTensor:
      return Wrap(TensorFromProto(value.tensor()));
    case Case::kList:
      return ConvertList(value.list(), call_attrs);
    case Case::kFunc:
      return Wrap(ConvertFunc(value.func(), call_attrs));
    case Case::kPlaceholder: {
      const AttrValue* given =
          call_attrs == nullptr ? nullptr : call_attrs->Find(value.placeholder());
      if (given != nullptr) return *given;
      return InvalidArgument("found placeholder '", value.placeholder(),
                             "', expected the function's caller to give it a value");
    }
    case Case::VALUE_NOT_SET:
      break;
  }
  return AttrValue();
}

}  // namespace

Status ConvertAttrs(const proto::NodeDef& node, const Attrs* call_attrs, Attrs* attrs) {
  for (const auto& [name, value] : node.attr()) {
    if (name.empty() || name[0] == '_') continue;
    StatusOr<AttrValue> converted = ConvertValue(value, call_attrs);
    if (!converted.ok()) return converted.status().At(StrCat("attribute '", name, "'"));
    attrs->Set(name, std::move(converted).value());
  }
  return Status();
}

Status TakeConstValue(proto::NodeDef* node, Attrs* attrs) {
  auto it = node->mutable_attr()->find("value");
  if (it == node->mutable_attr()->end() || !it->second.has_tensor()) return Status();
  SM_ASSIGN_OR_RETURN(Tensor value, TakeTensorFromProto(it->second.mutable_tensor()));
  attrs->Set("value", std::move(value));
  node->mutable_attr()->erase(it);
  return Status();
}

}  // namespace savedmodel
