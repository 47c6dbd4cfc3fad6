// Layers that the optimizer recognises in small ops: the plan has them, and the numbers are those
// of the formulas.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

void ExpectNear(const std::vector<float>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 2e-6) << i;
}

// Limits as clip_by_value writes them, in both orders, with NaN and infinities.
TEST(RecognizeTest, ClipsAreRelus) {
  const float nan = std::nanf(""), inf = INFINITY;
  const std::vector<float> values = {-inf, -1, 0, 0.5, 6, 7, inf, nan};
  for (const bool upper_first : {true, false}) {
    GraphText g;
    g.Input("x").Number("zero", 0).Number("six", 6);
    g.Node("a", upper_first ? "Minimum" : "Maximum", {"x", upper_first ? "six" : "zero"});
    g.Node("y", upper_first ? "Maximum" : "Minimum", {upper_first ? "zero" : "six", "a"});
    const Result r = RunGraph(g, {{"x:0", Tensor::Vector(values)}}, {"y:0"});
    EXPECT_TRUE(Has(r, "Relu6")) << r.plan;
    EXPECT_FALSE(Has(r, "Minimum") || Has(r, "Maximum")) << r.plan;
    for (size_t i = 0; i + 1 < values.size(); ++i) {
      EXPECT_EQ(r.values[0][i], std::min(6.0f, std::max(0.0f, values[i])));
    }
    EXPECT_TRUE(std::isnan(r.values[0].back()));
  }
  GraphText g;
  g.Input("x").Number("zero", 0).Number("five", 5).Node("a", "Minimum", {"x", "five"});
  g.Node("y", "Maximum", {"a", "zero"});
  const Result r = RunGraph(g, {{"x:0", Tensor::Vector(values)}}, {"y:0"});
  EXPECT_FALSE(Has(r, "Relu6")) << r.plan;
  EXPECT_EQ(r.values[0][5], 5);
}

TEST(RecognizeTest, GeluByErfc) {
  GraphText g;
  g.Input("x").Number("half", 0.5).Number("root", std::sqrt(0.5));
  g.Node("a", "Mul", {"half", "x"}).Node("n", "Neg", {"x"}).Node("s", "Mul", {"n", "root"});
  g.Node("e", "Erfc", {"s"}).Node("y", "Mul", {"a", "e"});
  const Tensor x = Values({5, 7}, 8);
  const Result r = RunGraph(g, {{"x:0", x}}, {"y:0"});
  EXPECT_TRUE(Has(r, "_Gelu")) << r.plan;
  std::vector<double> expected;
  for (const float v : x.values<float>()) expected.push_back(0.5 * v * std::erfc(-v * M_SQRT1_2));
  ExpectNear(r.values[0], expected);
}

TEST(RecognizeTest, Swish) {
  const Tensor x = Values(Shape({3, 5}), 6);
  GraphText graph;
  graph.Input("x").Node("s", "Sigmoid", {"x"}).Node("y", "Mul", {"s", "x"});
  const Result r = RunGraph(graph, {{"x:0", x}}, {"y:0"});
  EXPECT_TRUE(Has(r, "_Swish")) << r.plan;
  for (int64_t i = 0; i < x.num_elements(); ++i) {
    const double v = x.data<float>()[i];
    EXPECT_NEAR(r.values[0][i], v / (1 + std::exp(-v)), 2e-6);
  }
}

TEST(RecognizeTest, Mish) {
  const Tensor x = Values(Shape({3, 5}), 6);
  GraphText graph;
  graph.Input("x").Node("s", "Softplus", {"x"}).Node("t", "Tanh", {"s"});
  graph.Node("y", "Mul", {"x", "t"});
  const Result r = RunGraph(graph, {{"x:0", x}}, {"y:0"});
  EXPECT_TRUE(Has(r, "_Mish")) << r.plan;
  for (int64_t i = 0; i < x.num_elements(); ++i) {
    const double v = x.data<float>()[i];
    EXPECT_NEAR(r.values[0][i], v * std::tanh(std::log1p(std::exp(v))), 2e-6);
  }
}

double HardSigmoid(double x) { return std::min(std::max(x + 3, 0.0), 6.0) / 6; }

TEST(RecognizeTest, HardSigmoidAndHardSwish) {
  const Tensor x = Values(Shape({3, 5}), 8);
  GraphText graph;
  graph.Input("x").Number("three", 3).Number("six", 6).Number("sixth", 1.0 / 6);
  graph.Node("a", "AddV2", {"x", "three"}).Node("r", "Relu6", {"a"});
  graph.Node("gate", "RealDiv", {"r", "six"}).Node("gated", "Mul", {"gate", "x"});
  graph.Node("product", "Mul", {"x", "r"}).Node("scaled", "Mul", {"product", "sixth"});
  graph.Node("other", "Mul", {"x", "sixth"});
  for (const std::string y : {"gate", "gated", "scaled"}) {
    const Result r = RunGraph(graph, {{"x:0", x}}, {y + ":0"});
    EXPECT_TRUE(Has(r, y == "gate" ? "_HardSigmoid" : "_HardSwish")) << r.plan;
    EXPECT_FALSE(Has(r, "Relu6")) << r.plan;
    for (int64_t i = 0; i < x.num_elements(); ++i) {
      const double v = x.data<float>()[i];
      EXPECT_NEAR(r.values[0][i], HardSigmoid(v) * (y == "gate" ? 1 : v), 1e-6);
    }
  }
  EXPECT_FALSE(Has(RunGraph(graph, {{"x:0", x}}, {"r:0", "other:0"}), "_HardSigmoid"));
}

TEST(RecognizeTest, GateOfAnotherValueIsNoSwish) {
  GraphText graph;
  graph.Input("x").Input("z").Node("s", "Sigmoid", {"z"}).Node("y", "Mul", {"s", "x"});
  const Result r =
      RunGraph(graph, {{"x:0", Values(Shape({4}))}, {"z:0", Values(Shape({4}), 3)}}, {"y:0"});
  EXPECT_FALSE(Has(r, "_Swish")) << r.plan;
}

TEST(RecognizeTest, GeluByTanhAndPower) {
  GraphText g;
  g.Input("x").Number("half", 0.5).Number("one", 1).Number("three", 3);
  g.Number("c", 0.044715).Number("k", 0.7978845608);
  g.Node("p", "Pow", {"x", "three"}).Node("cp", "Mul", {"c", "p"});
  g.Node("s", "AddV2", {"x", "cp"}).Node("ks", "Mul", {"k", "s"}).Node("t", "Tanh", {"ks"});
  g.Node("t1", "AddV2", {"one", "t"}).Node("hx", "Mul", {"half", "x"});
  g.Node("y", "Mul", {"hx", "t1"});
  const Tensor x = Values({33}, 8);
  const Result r = RunGraph(g, {{"x:0", x}}, {"y:0"});
  EXPECT_TRUE(Has(r, "_GeluTanh")) << r.plan;
  EXPECT_FALSE(Has(r, "Pow"));
  std::vector<double> expected;
  for (const double v : x.values<float>()) {
    expected.push_back(0.5 * v * (1 + std::tanh(0.7978845608 * (v + 0.044715 * v * v * v))));
  }
  ExpectNear(r.values[0], expected);
}

// Not GELU: the factor is not a half.
TEST(RecognizeTest, OtherFactorStays) {
  GraphText g;
  g.Input("x").Number("f", 0.7).Number("one", 1).Number("root", std::sqrt(0.5));
  g.Node("a", "Mul", {"f", "x"}).Node("s", "Mul", {"x", "root"}).Node("e", "Erf", {"s"});
  g.Node("e1", "AddV2", {"e", "one"}).Node("y", "Mul", {"a", "e1"});
  const Tensor x = Values({9}, 4);
  const Result r = RunGraph(g, {{"x:0", x}}, {"y:0"});
  EXPECT_FALSE(Has(r, "_Gelu")) << r.plan;
  std::vector<double> expected;
  for (const double v : x.values<float>()) {
    expected.push_back(0.7 * v * (1 + std::erf(v * M_SQRT1_2)));
  }
  ExpectNear(r.values[0], expected);
}

const std::string kKeep = GraphText::Attr("keep_dims", "b: true");

std::vector<double> Normalized(const Tensor& x, const Tensor& gamma, const Tensor& beta) {
  const int64_t columns = gamma.num_elements();
  std::vector<double> y;
  for (int64_t r = 0; r < x.num_elements() / columns; ++r) {
    const float* row = x.data<float>() + r * columns;
    double mean = 0, variance = 0;
    for (int64_t c = 0; c < columns; ++c) mean += row[c] / double(columns);
    for (int64_t c = 0; c < columns; ++c) variance += (row[c] - mean) * (row[c] - mean) / columns;
    for (int64_t c = 0; c < columns; ++c) {
      y.push_back((row[c] - mean) / std::sqrt(variance + 1e-3) * gamma.data<float>()[c] +
                  beta.data<float>()[c]);
    }
  }
  return y;
}

TEST(RecognizeTest, LayerNormWithScaleAndShift) {
  GraphText g;
  g.Input("x").Input("gamma").Input("beta").Int("axis", -1).Number("epsilon", 1e-3);
  g.Node("m", "Mean", {"x", "axis"}, kKeep).Node("d", "SquaredDifference", {"x", "m"});
  g.Node("v", "Mean", {"d", "axis"}, kKeep).Node("ve", "AddV2", {"v", "epsilon"});
  g.Node("r", "Rsqrt", {"ve"}).Node("s", "Mul", {"r", "gamma"}).Node("n", "Neg", {"m"});
  g.Node("ns", "Mul", {"n", "s"}).Node("shift", "AddV2", {"ns", "beta"});
  g.Node("xs", "Mul", {"x", "s"}).Node("y", "AddV2", {"xs", "shift"});
  const Tensor x = Values({2, 3, 37}, 3, 19), gamma = Values({37}, 2), beta = Values({37});
  const Result r = RunGraph(g, {{"x:0", x}, {"gamma:0", gamma}, {"beta:0", beta}}, {"y:0"});
  EXPECT_TRUE(Has(r, "_LayerNorm")) << r.plan;
  ExpectNear(r.values[0], Normalized(x, gamma, beta));
}

TEST(RecognizeTest, LayerNormOfCentredRows) {
  GraphText g;
  g.Input("x").Input("gamma").Input("beta").Int("axis", -1).Number("epsilon", 1e-3);
  g.Node("m", "Mean", {"x", "axis"}, kKeep).Node("d", "Sub", {"x", "m"}).Node("q", "Square", {"d"});
  g.Node("v", "Mean", {"q", "axis"}, kKeep).Node("ve", "AddV2", {"v", "epsilon"});
  g.Node("r", "Rsqrt", {"ve"}).Node("n", "Mul", {"d", "r"}).Node("ng", "Mul", {"n", "gamma"});
  g.Node("y", "AddV2", {"ng", "beta"});
  const Tensor x = Values({4, 16}, 3, 19), gamma = Values({16}, 2), beta = Values({16});
  const Result r = RunGraph(g, {{"x:0", x}, {"gamma:0", gamma}, {"beta:0", beta}}, {"y:0"});
  EXPECT_TRUE(Has(r, "_LayerNorm")) << r.plan;
  ExpectNear(r.values[0], Normalized(x, gamma, beta));
}

TEST(RecognizeTest, LstmCell) {
  GraphText g;
  g.Input("z").Input("c").Int("axis", 1);
  g.Node("s", "Split", {"axis", "z"}, GraphText::Attr("num_split", "i: 4"));
  g.Node("i", "Sigmoid", {"s"}).Node("f", "Sigmoid", {"s:1"}).Node("t", "Tanh", {"s:2"});
  g.Node("o", "Sigmoid", {"s:3"}).Node("fc", "Mul", {"f", "c"}).Node("it", "Mul", {"i", "t"});
  g.Node("next", "AddV2", {"fc", "it"}).Node("tn", "Tanh", {"next"});
  g.Node("h", "Mul", {"o", "tn"});
  constexpr int kBatch = 3, kUnits = 11;
  const Tensor z = Values({kBatch, 4 * kUnits}, 5), c = Values({kBatch, kUnits}, 2, 17);
  const Result r = RunGraph(g, {{"z:0", z}, {"c:0", c}}, {"h:0", "next:0"});
  EXPECT_TRUE(Has(r, "_LstmCell")) << r.plan;
  EXPECT_FALSE(Has(r, "Tanh")) << r.plan;
  std::vector<double> h, next;
  for (int b = 0; b < kBatch; ++b) {
    const float* row = z.data<float>() + b * 4 * kUnits;
    for (int u = 0; u < kUnits; ++u) {
      next.push_back(Sigmoid(row[kUnits + u]) * c.data<float>()[b * kUnits + u] +
                     Sigmoid(row[u]) * std::tanh(row[2 * kUnits + u]));
      h.push_back(Sigmoid(row[3 * kUnits + u]) * std::tanh(next.back()));
    }
  }
  ExpectNear(r.values[0], h);
  ExpectNear(r.values[1], next);
}

// Keras 3 cuts the recurrent product by slices.
void CheckGruCell(bool by_slices) {
  GraphText g;
  const std::string three_units = "dim { size: 2 } dim { size: 27 }";
  g.Input("x", three_units).Input("u", three_units);
  g.Input("h").Int("axis", 1).Number("one", 1);
  const std::string three = GraphText::Attr("num_split", "i: 3");
  g.Node("sx", "Split", {"axis", "x"}, three);
  std::vector<std::string> parts = {"su", "su:1", "su:2"};
  if (by_slices) {
    parts = {"u0", "u1", "u2"};
    const auto masks = [](int begin, int end) {
      return GraphText::Attr("Index", "type: DT_INT32") +
             GraphText::Attr("begin_mask", "i: " + std::to_string(begin)) +
             GraphText::Attr("end_mask", "i: " + std::to_string(end));
    };
    g.Ints("b0", {0, 0}).Ints("b1", {0, 9}).Ints("b2", {0, -9}).Ints("steps", {1, 1});
    g.Node("u0", "StridedSlice", {"u", "b0", "b1", "steps"}, masks(3, 1));
    g.Node("u1", "StridedSlice", {"u", "b1", "b2", "steps"}, masks(1, 1));
    g.Node("u2", "StridedSlice", {"u", "b2", "b0", "steps"}, masks(1, 3));
  } else {
    g.Node("su", "Split", {"axis", "u"}, three);
  }
  g.Node("az", "AddV2", {"sx", parts[0]}).Node("z", "Sigmoid", {"az"});
  g.Node("ar", "AddV2", {"sx:1", parts[1]}).Node("r", "Sigmoid", {"ar"});
  g.Node("ru", "Mul", {"r", parts[2]})
      .Node("ac", "AddV2", {"sx:2", "ru"})
      .Node("c", "Tanh", {"ac"});
  g.Node("zh", "Mul", {"z", "h"}).Node("nz", "Sub", {"one", "z"}).Node("nc", "Mul", {"nz", "c"});
  g.Node("next", "AddV2", {"zh", "nc"});
  constexpr int kBatch = 2, kUnits = 9;
  const Tensor x = Values({kBatch, 3 * kUnits}, 5), u = Values({kBatch, 3 * kUnits}, 4, 29);
  const Tensor h = Values({kBatch, kUnits}, 2, 17);
  const Result r = RunGraph(g, {{"x:0", x}, {"u:0", u}, {"h:0", h}}, {"next:0"});
  EXPECT_TRUE(Has(r, "_GruCell")) << r.plan;
  std::vector<double> expected;
  for (int b = 0; b < kBatch; ++b) {
    const float* xs = x.data<float>() + b * 3 * kUnits;
    const float* us = u.data<float>() + b * 3 * kUnits;
    for (int k = 0; k < kUnits; ++k) {
      const double z = Sigmoid(xs[k] + us[k]), reset = Sigmoid(xs[kUnits + k] + us[kUnits + k]);
      const double content = std::tanh(xs[2 * kUnits + k] + reset * us[2 * kUnits + k]);
      expected.push_back(z * h.data<float>()[b * kUnits + k] + (1 - z) * content);
    }
  }
  ExpectNear(r.values[0], expected);
}

TEST(RecognizeTest, GruCell) {
  CheckGruCell(false);
  CheckGruCell(true);
}

}  // namespace
}  // namespace savedmodel
