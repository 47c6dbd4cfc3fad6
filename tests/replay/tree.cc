#include "tests/replay/tree.h"

#include "tests/replay/case.h"

namespace savedmodel::replay {
namespace {

const char* KindName(Value::Kind kind) {
  static constexpr const char* kNames[] = {"none",  "tensor",     "bool",   "int",
                                           "float", "string",     "list",   "tuple",
                                           "dict",  "namedtuple", "ragged", "sparse"};
  return kNames[static_cast<size_t>(kind)];
}

Value::Kind KindOf(const std::string& key) {
  for (int k = 0; k <= static_cast<int>(Value::Kind::kSparse); ++k) {
    if (key == KindName(static_cast<Value::Kind>(k))) return static_cast<Value::Kind>(k);
  }
  return Value::Kind::kNone;
}

Value Scalar(const Json& v) {
  if (v.is_boolean()) return Value::Bool(v);
  if (v.is_number_integer()) return Value::Int(v);
  if (v.is_number()) return Value::Float(v);
  return v.is_string() ? Value::String(v) : Value();
}

StatusOr<std::vector<Value>> Items(const std::string& directory, const Json& nodes) {
  std::vector<Value> items;
  for (const Json& node : nodes) {
    auto item = ValueFromTree(directory, node);
    if (!item.ok()) return item.status();
    items.push_back(*std::move(item));
  }
  return items;
}

// Parts of a ragged or sparse node in the order of Value's items.
std::vector<Json> Components(const std::string& key, const Json& body) {
  if (key == "sparse") return {body.at("indices"), body.at("values"), body.at("dense_shape")};
  return {body.at("values"), body.at("row_splits")};
}

void CompareItems(const std::string& directory, const std::vector<Json>& nodes, const Value& got,
                  const Tolerance& tolerance, const std::string& place,
                  std::vector<std::string>* failures) {
  if (got.size() != nodes.size()) {
    failures->push_back(place + ": " + std::to_string(got.size()) + " items, want " +
                        std::to_string(nodes.size()));
    return;
  }
  for (size_t i = 0; i < nodes.size(); ++i) {
    CompareTree(directory, nodes[i], got[i], tolerance, place + "[" + std::to_string(i) + "]",
                failures);
  }
}

void CompareTensor(const std::string& file, const Value& got, const Tolerance& tolerance,
                   const std::string& place, std::vector<std::string>* failures) {
  auto want = ReadTensor(file);
  std::string what;
  if (!want.ok()) {
    what = want.status().ToString();
  } else if (!got.is_tensor()) {
    what = std::string("a ") + KindName(got.kind()) + ", want a tensor";
  } else {
    what = Difference(*want, got.tensor(), tolerance);
  }
  if (!what.empty()) failures->push_back(place + ": " + what);
}

void ComparePython(const Json& want, const Value& got, const std::string& place,
                   std::vector<std::string>* failures) {
  const Value v = Scalar(want);
  if (v.kind() != got.kind() || v.ToString() != got.ToString()) {
    failures->push_back(place + ": " + got.ToString() + ", want " + v.ToString());
  }
}

void CompareFields(const std::string& directory, const std::vector<std::string>& keys,
                   const std::vector<Json>& nodes, const Value& got, const Tolerance& tolerance,
                   const std::string& place, std::vector<std::string>* failures) {
  if (got.keys() != keys) {
    failures->push_back(place + ": keys of " + got.ToString() + " are not as recorded");
    return;
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    CompareTree(directory, nodes[i], got[keys[i]], tolerance, place + "." + keys[i], failures);
  }
}

}  // namespace

Tolerance ToleranceOf(const Json& call) {
  return {call.value("rtol", -1.0), call.value("atol", -1.0)};
}

StatusOr<Value> ValueFromTree(const std::string& directory, const Json& node) {
  const std::string key = node.begin().key();
  const Json& body = node.begin().value();
  if (key == "tensor") {
    auto t = ReadTensor(directory + "/" + body.get<std::string>());
    if (!t.ok()) return t.status();
    return Value(*std::move(t));
  }
  if (key == "py") return Scalar(body);
  if (key == "list" || key == "tuple") {
    auto items = Items(directory, body);
    if (!items.ok()) return items.status();
    return key == "list" ? Value::List(*std::move(items)) : Value::Tuple(*std::move(items));
  }
  if (key == "dict") {
    std::map<std::string, Value> items;
    for (const auto& [name, child] : body.items()) {
      auto item = ValueFromTree(directory, child);
      if (!item.ok()) return item.status();
      items[name] = *std::move(item);
    }
    return Value::Dict(items);
  }
  if (key == "namedtuple") {
    std::vector<std::pair<std::string, Value>> fields;
    for (const Json& field : body.at("fields")) {
      auto item = ValueFromTree(directory, field[1]);
      if (!item.ok()) return item.status();
      fields.emplace_back(field[0], *std::move(item));
    }
    return Value::NamedTuple(body.at("name"), std::move(fields));
  }
  if (key == "ragged" || key == "sparse") {
    std::vector<Value> parts;
    for (const char* name : {"values", "row_splits", "indices", "dense_shape"}) {
      if (!body.contains(name)) continue;
      auto part = ValueFromTree(directory, body.at(name));
      if (!part.ok()) return part.status();
      parts.push_back(*std::move(part));
    }
    if (key == "ragged") return Value::Ragged(parts[0], parts[1].tensor());
    return Value::Sparse(parts[1].tensor(), parts[0].tensor(), parts[2].tensor());
  }
  return Value();
}

void CompareTree(const std::string& directory, const Json& node, const Value& got,
                 const Tolerance& tolerance, const std::string& place,
                 std::vector<std::string>* failures) {
  const std::string key = node.begin().key();
  const Json& body = node.begin().value();
  if (key == "tensor") {
    return CompareTensor(directory + "/" + body.get<std::string>(), got, tolerance, place,
                         failures);
  }
  if (key == "py") return ComparePython(body, got, place, failures);
  if (KindOf(key) != got.kind()) {
    failures->push_back(place + ": a " + KindName(got.kind()) + ", want a " + key);
    return;
  }
  std::vector<std::string> keys;
  std::vector<Json> nodes;
  if (key == "none") {
    return;
  } else if (key == "dict") {
    std::map<std::string, Json> sorted;
    for (const auto& [name, child] : body.items()) sorted[name] = child;
    for (const auto& [name, child] : sorted) {
      keys.push_back(name);
      nodes.push_back(child);
    }
    CompareFields(directory, keys, nodes, got, tolerance, place, failures);
  } else if (key == "namedtuple") {
    for (const Json& field : body.at("fields")) {
      keys.push_back(field[0]);
      nodes.push_back(field[1]);
    }
    CompareFields(directory, keys, nodes, got, tolerance, place, failures);
  } else if (key == "ragged" || key == "sparse") {
    CompareItems(directory, Components(key, body), got, tolerance, place, failures);
  } else {
    nodes.assign(body.begin(), body.end());
    CompareItems(directory, nodes, got, tolerance, place, failures);
  }
}

}  // namespace savedmodel::replay
