// Graphs written node by node, and what became of them.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "savedmodel/model.h"

namespace savedmodel {

// Text of a GraphDef, node by node.
class GraphText {
 public:
  GraphText& Input(const std::string& name, const std::string& shape = "unknown_rank: true",
                   const std::string& dtype = "DT_FLOAT") {
    text_ += "node { name: '" + name + "' op: 'Placeholder' " + Attr("dtype", "type: " + dtype) +
             Attr("shape", "shape { " + shape + " }") + "}\n";
    return *this;
  }
  GraphText& Number(const std::string& name, double value,
                    const std::vector<std::string>& controls = {}) {
    return Bare(
        name, "Const", controls,
        Type("dtype") + Attr("value", "tensor { dtype: DT_FLOAT tensor_shape {} float_val: " +
                                          std::to_string(value) + " }"));
  }
  GraphText& Floats(const std::string& name, const Tensor& value) {
    std::string tensor = "tensor { dtype: DT_FLOAT tensor_shape {";
    for (const int64_t d : value.shape()) tensor += " dim { size: " + std::to_string(d) + " }";
    tensor += " }";
    for (const float v : value.values<float>()) tensor += " float_val: " + std::to_string(v);
    text_ += "node { name: '" + name + "' op: 'Const' " + Type("dtype") +
             Attr("value", tensor + " }") + "}\n";
    return *this;
  }
  GraphText& Int(const std::string& name, int value) {
    return Ints(name, {value}, std::vector<int>());
  }
  GraphText& Ints(const std::string& name, const std::vector<int>& values) {
    return Ints(name, values, {static_cast<int>(values.size())});
  }
  GraphText& Ints(const std::string& name, const std::vector<int>& values,
                  const std::vector<int>& shape) {
    std::string tensor = "tensor { dtype: DT_INT32 tensor_shape {";
    for (const int d : shape) tensor += " dim { size: " + std::to_string(d) + " }";
    tensor += " }";
    for (const int v : values) tensor += " int_val: " + std::to_string(v);
    text_ += "node { name: '" + name + "' op: 'Const' " + Attr("dtype", "type: DT_INT32") +
             Attr("value", tensor + " }") + "}\n";
    return *this;
  }
  GraphText& Node(const std::string& name, const std::string& op,
                  const std::vector<std::string>& inputs, const std::string& attrs = "") {
    return Bare(name, op, inputs, Type("T") + attrs);
  }
  // A node with these attributes and no more.
  GraphText& Bare(const std::string& name, const std::string& op,
                  const std::vector<std::string>& inputs, const std::string& attrs) {
    text_ += "node { name: '" + name + "' op: '" + op + "' ";
    for (const std::string& input : inputs) text_ += "input: '" + input + "' ";
    text_ += attrs + "}\n";
    return *this;
  }
  const std::string& text() const { return text_; }

  static std::string Attr(const std::string& key, const std::string& value) {
    return "attr { key: '" + key + "' value { " + value + " } } ";
  }

 private:
  static std::string Type(const std::string& key) { return Attr(key, "type: DT_FLOAT"); }

  std::string text_;
};

inline Tensor Values(const Shape& shape, double scale = 1, int period = 23) {
  std::vector<float> v(static_cast<size_t>(shape.num_elements()));
  for (size_t i = 0; i < v.size(); ++i) {
    v[i] = static_cast<float>(scale * (static_cast<int>(i * 7 % period) - period / 2) / period);
  }
  return *Tensor::FromVector(v, shape);
}

struct Result {
  std::string plan;
  std::vector<std::vector<float>> values;
};

inline Result RunGraph(const GraphText& graph, const TensorMap& inputs,
                       const std::vector<std::string>& outputs) {
  Result result;
  auto model = LoadGraphDef(graph.text());
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return result;
  std::vector<std::string> feeds;
  std::map<std::string, Shape> shapes;
  for (const auto& [name, value] : inputs) {
    feeds.push_back(name);
    shapes[name] = value.shape();
  }
  const Function f = model->Prune(feeds, outputs);
  const auto plan = f.PlanText(shapes);
  EXPECT_TRUE(plan.ok()) << plan.status();
  result.plan = plan.ok() ? *plan : "";
  const auto y = f(inputs);
  EXPECT_TRUE(y.ok()) << y.status();
  for (const std::string& name : outputs) {
    result.values.push_back(y.ok() ? y->at(name).ToVector<float>() : std::vector<float>());
  }
  return result;
}

inline int Count(const Result& result, const std::string& op) {
  int n = 0;
  const std::string call = " " + op + "(";
  for (size_t at = 0; (at = result.plan.find(call, at)) != std::string::npos; ++at) ++n;
  return n;
}

inline bool Has(const Result& result, const std::string& op) { return Count(result, op) > 0; }

}  // namespace savedmodel
