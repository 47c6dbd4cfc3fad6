#include "savedmodel/value.h"

#include <algorithm>

#include "src/base/strcat.h"

namespace savedmodel {
namespace {

const Value& None() {
  static const Value* const none = new Value();
  return *none;
}

}  // namespace

Value Value::Dict(const std::map<std::string, Value>& items) {
  Value v;
  v.kind_ = Kind::kDict;
  for (const auto& [key, item] : items) {
    v.keys_.push_back(key);
    v.items_.push_back(item);
  }
  return v;
}

Value Value::NamedTuple(std::string name, std::vector<std::pair<std::string, Value>> fields) {
  Value v;
  v.kind_ = Kind::kNamedTuple;
  v.text_ = std::move(name);
  for (auto& [key, item] : fields) {
    v.keys_.push_back(std::move(key));
    v.items_.push_back(std::move(item));
  }
  return v;
}

Value Value::Ragged(Value values, Tensor row_splits) {
  Value v;
  v.kind_ = Kind::kRagged;
  v.items_ = {std::move(values), Value(std::move(row_splits))};
  return v;
}

Value Value::Sparse(Tensor indices, Tensor values, Tensor dense_shape) {
  Value v;
  v.kind_ = Kind::kSparse;
  v.items_ = {Value(std::move(indices)), Value(std::move(values)), Value(std::move(dense_shape))};
  return v;
}

const Tensor& Value::tensor() const {
  static const Tensor* const empty = new Tensor();
  const Tensor* t = std::get_if<Tensor>(&leaf_);
  return t == nullptr ? *empty : *t;
}

const Value& Value::operator[](size_t i) const { return i < items_.size() ? items_[i] : None(); }

const Value& Value::operator[](const std::string& key) const {
  const auto it = std::find(keys_.begin(), keys_.end(), key);
  return it == keys_.end() ? None() : items_[it - keys_.begin()];
}

std::vector<Tensor> Value::Flatten() const {
  std::vector<Tensor> out;
  std::vector<const Value*> stack = {this};
  while (!stack.empty()) {
    const Value* v = stack.back();
    stack.pop_back();
    if (v->is_tensor()) out.push_back(v->tensor());
    if (v->kind_ == Kind::kRagged) {  // flat values, then row splits from the outermost
      const Value* at = v;
      while (at->items_[0].kind_ == Kind::kRagged) at = &at->items_[0];
      out.push_back(at->items_[0].tensor());
      for (at = v; at->kind_ == Kind::kRagged; at = &at->items_[0]) {
        out.push_back(at->items_[1].tensor());
      }
      continue;
    }
    for (size_t i = v->items_.size(); i-- > 0;) stack.push_back(&v->items_[i]);
  }
  return out;
}

std::string Value::ToString() const {
  // Text to write, or a value to open, innermost last.
  struct Item {
    const Value* value;
    std::string text;
  };
  std::vector<Item> stack = {{this, ""}};
  std::string out;
  while (!stack.empty()) {
    const Item item = std::move(stack.back());
    stack.pop_back();
    out += item.text;
    if (item.value == nullptr) continue;
    const Value& v = *item.value;
    switch (v.kind_) {
      case Kind::kNone:
        out += "None";
        continue;
      case Kind::kTensor:
        out += v.tensor().TypeString();
        continue;
      case Kind::kBool:
        out += v.bool_value() ? "True" : "False";
        continue;
      case Kind::kInt:
        out += StrCat(v.int_value());
        continue;
      case Kind::kFloat:
        out += StrCat(v.float_value());
        continue;
      case Kind::kString:
        out += StrCat("'", v.text_, "'");
        continue;
      default:
        break;
    }
    const bool dict = v.kind_ == Kind::kDict, list = v.kind_ == Kind::kList;
    if (v.kind_ == Kind::kNamedTuple) out += v.text_;
    if (v.kind_ == Kind::kRagged) out += "Ragged";
    if (v.kind_ == Kind::kSparse) out += "Sparse";
    out += dict ? "{" : list ? "[" : "(";
    stack.push_back({nullptr, dict ? "}" : list ? "]" : ")"});
    for (size_t i = v.items_.size(); i-- > 0;) {
      std::string before = i > 0 ? ", " : "";
      if (dict) before += StrCat("'", v.keys_[i], "': ");
      if (v.kind_ == Kind::kNamedTuple) before += v.keys_[i] + "=";
      stack.push_back({&v.items_[i], std::move(before)});
    }
  }
  return out;
}

}  // namespace savedmodel
