// Trees of scalar functions in one op: the plan has it, and the numbers are those of the formulas.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// The element of `t`, broadcast to `shape`, that meets element `at`.
float Meets(const Tensor& t, const Shape& shape, int64_t at) {
  int64_t index = 0, step = 1;
  for (int d = 1; d <= shape.rank(); ++d) {
    const int64_t size = shape[shape.rank() - d], position = at % size;
    at /= size;
    if (d > t.shape().rank()) continue;
    const int64_t own = t.shape()[t.shape().rank() - d];
    index += (own == 1 ? 0 : position) * step;
    step *= own;
  }
  return t.data<float>()[index];
}

// relu((x * a - b) / c) of operands that are broadcast in all ways, in one op.
void CheckBroadcast(const Shape& x_shape, const Shape& a_shape, const Shape& b_shape,
                    const Shape& c_shape) {
  GraphText g;
  g.Input("x").Input("a").Input("b").Input("c");
  g.Node("m", "Mul", {"x", "a"}).Node("s", "Sub", {"m", "b"}).Node("d", "RealDiv", {"s", "c"});
  g.Node("y", "Relu", {"d"});
  const Tensor x = Values(x_shape, 3), a = Values(a_shape, 5, 7), b = Values(b_shape, 2, 13);
  std::vector<float> divisors(static_cast<size_t>(c_shape.num_elements()));
  for (size_t i = 0; i < divisors.size(); ++i) divisors[i] = 0.5f + static_cast<float>(i % 11);
  const Tensor c = *Tensor::FromVector(divisors, c_shape);
  const Result r = RunGraph(g, {{"x:0", x}, {"a:0", a}, {"b:0", b}, {"c:0", c}}, {"y:0"});
  EXPECT_TRUE(Has(r, "_Elementwise")) << r.plan;
  EXPECT_FALSE(Has(r, "Mul") || Has(r, "Sub") || Has(r, "RealDiv") || Has(r, "Relu")) << r.plan;
  ASSERT_EQ(static_cast<int64_t>(r.values[0].size()), x.num_elements());
  for (int64_t i = 0; i < x.num_elements(); ++i) {
    const float product = x.data<float>()[i] * Meets(a, x_shape, i);
    const float quotient = (product - Meets(b, x_shape, i)) / Meets(c, x_shape, i);
    ASSERT_FLOAT_EQ(r.values[0][i], quotient > 0 ? quotient : 0) << i;
  }
}

TEST(FuseElementwiseTest, SameShapes) {
  CheckBroadcast({5, 700}, {5, 700}, {5, 700}, {5, 700});
  CheckBroadcast({}, {}, {}, {});
  CheckBroadcast({1}, {}, {1}, {});
  CheckBroadcast({0, 3}, {0, 3}, {3}, {});
}

TEST(FuseElementwiseTest, NumbersAndShortRows) {
  CheckBroadcast({900, 7}, {}, {7}, {1, 7});
  CheckBroadcast({3, 5, 37}, {5, 37}, {37}, {1});
  CheckBroadcast({2, 255}, {255}, {255}, {1, 1});
}

TEST(FuseElementwiseTest, LongRows) {
  CheckBroadcast({3, 2500}, {2500}, {1, 2500}, {3, 1});
  CheckBroadcast({4, 3, 256}, {3, 256}, {4, 1, 256}, {256});
}

TEST(FuseElementwiseTest, ColumnsAndMiddleDimensions) {
  CheckBroadcast({6, 300}, {6, 1}, {6, 1}, {6, 1});
  CheckBroadcast({40, 3, 50}, {3, 1}, {40, 1, 50}, {40, 1, 1});
  CheckBroadcast({2, 3, 4, 5}, {3, 1, 5}, {2, 1, 4, 1}, {1, 3, 4, 1});
}

TEST(FuseElementwiseTest, ValueUsedTwiceInside) {
  GraphText g;
  g.Input("x").Input("mean").Number("k", 0.25);
  g.Node("d", "Sub", {"x", "mean"}).Node("q", "Square", {"d"}).Node("kq", "Mul", {"k", "q"});
  g.Node("y", "AddV2", {"kq", "d"});
  const Tensor x = Values({3, 50}, 4), mean = Values({3, 1}, 2, 5);
  const Result r = RunGraph(g, {{"x:0", x}, {"mean:0", mean}}, {"y:0"});
  EXPECT_TRUE(Has(r, "_Elementwise")) << r.plan;
  EXPECT_FALSE(Has(r, "Sub") || Has(r, "AddV2")) << r.plan;
  for (int64_t i = 0; i < x.num_elements(); ++i) {
    const float d = x.data<float>()[i] - mean.data<float>()[i / 50];
    EXPECT_FLOAT_EQ(r.values[0][i], 0.25f * (d * d) + d);
  }
}

// A value that something else uses too is made by an op of its own.
TEST(FuseElementwiseTest, ResultInTheMiddle) {
  GraphText g;
  g.Input("x").Node("e", "Exp", {"x"}).Node("n", "Neg", {"e"}).Node("y", "Tanh", {"n"});
  const Tensor x = Values({33}, 4);
  const Result r = RunGraph(g, {{"x:0", x}}, {"e:0", "y:0"});
  EXPECT_TRUE(Has(r, "Exp") && Has(r, "_Elementwise")) << r.plan;
  for (int64_t i = 0; i < x.num_elements(); ++i) {
    EXPECT_NEAR(r.values[0][i], std::exp(double(x.data<float>()[i])), 2e-6);
    EXPECT_NEAR(r.values[1][i], std::tanh(-std::exp(double(x.data<float>()[i]))), 1e-6);
  }
}

// Values of another shape, which are fewer to compute, stay outside.
TEST(FuseElementwiseTest, SmallerValuesAreComputedOnce) {
  GraphText g;
  g.Input("x").Input("v").Number("epsilon", 1e-3);
  g.Node("ve", "AddV2", {"v", "epsilon"}).Node("r", "Rsqrt", {"ve"}).Node("xr", "Mul", {"x", "r"});
  g.Node("y", "Relu6", {"xr"});
  const Tensor x = Values({20, 5}, 8), v = *Tensor::FromVector<float>({1, 2, 3, 0, 5}, Shape({5}));
  const Result r = RunGraph(g, {{"x:0", x}, {"v:0", v}}, {"y:0"});
  EXPECT_NE(r.plan.find("of AddV2, Rsqrt"), std::string::npos) << r.plan;
  EXPECT_NE(r.plan.find("of Mul, Relu6"), std::string::npos) << r.plan;
  for (int64_t i = 0; i < x.num_elements(); ++i) {
    const double scaled = x.data<float>()[i] / std::sqrt(v.data<float>()[i % 5] + 1e-3);
    EXPECT_NEAR(r.values[0][i], std::min(std::max(scaled, 0.0), 6.0), 2e-6);
  }
}

TEST(FuseElementwiseTest, MoreFunctionsThanOneOpTakes) {
  GraphText g;
  g.Input("x").Number("k", 0.5).Node("y0", "Mul", {"x", "k"});
  constexpr int kFunctions = 100;
  for (int i = 1; i < kFunctions; ++i) {
    g.Node("y" + std::to_string(i), i % 2 == 0 ? "Mul" : "AddV2",
           {"y" + std::to_string(i - 1), i % 2 == 0 ? "k" : "x"});
  }
  const Tensor x = Values({2000}, 6);
  const std::string last = "y" + std::to_string(kFunctions - 1) + ":0";
  const Result r = RunGraph(g, {{"x:0", x}}, {last});
  EXPECT_TRUE(Has(r, "_Elementwise")) << r.plan;
  for (int64_t i = 0; i < x.num_elements(); ++i) {
    float y = x.data<float>()[i] * 0.5f;
    for (int k = 1; k < kFunctions; ++k) y = k % 2 == 0 ? y * 0.5f : y + x.data<float>()[i];
    ASSERT_FLOAT_EQ(r.values[0][i], y);
  }
}

// TensorFlow's relu and maximum hand NaN on.
TEST(FuseElementwiseTest, NotANumberStaysOne) {
  GraphText g;
  g.Input("x").Number("k", 2).Node("m", "Maximum", {"x", "k"}).Node("n", "Neg", {"m"});
  g.Node("y", "Relu", {"n"});
  const Tensor x = *Tensor::FromVector<float>({kNaN, 1, kNaN, 3}, Shape({4}));
  const Result r = RunGraph(g, {{"x:0", x}}, {"y:0"});
  EXPECT_TRUE(Has(r, "_Elementwise")) << r.plan;
  EXPECT_TRUE(std::isnan(r.values[0][0]) && std::isnan(r.values[0][2]));
  EXPECT_EQ(r.values[0][1], 0);
}

// `op` along the last axis of (x * a)^2, in one op.
void CheckSums(const std::string& op, const Shape& x_shape, const Shape& a_shape, bool keep_dims) {
  GraphText g;
  g.Input("x").Input("a").Ints("axis", {-1}).Node("m", "Mul", {"x", "a"});
  g.Node("q", "Square", {"m"});
  g.Node("y", op, {"q", "axis"}, keep_dims ? GraphText::Attr("keep_dims", "b: true") : "");
  const Tensor x = Values(x_shape, 3), a = Values(a_shape, 5, 7);
  const Result r = RunGraph(g, {{"x:0", x}, {"a:0", a}}, {"y:0"});
  EXPECT_TRUE(Has(r, "_ElementwiseSum")) << r.plan;
  EXPECT_FALSE(Has(r, "Square") || Has(r, op)) << r.plan;
  EXPECT_EQ(r.plan.find(",1]@fixed") != std::string::npos, keep_dims) << r.plan;
  const int64_t columns = x_shape[x_shape.rank() - 1];
  ASSERT_EQ(static_cast<int64_t>(r.values[0].size()), x.num_elements() / columns);
  for (size_t row = 0; row < r.values[0].size(); ++row) {
    double sum = 0;
    for (int64_t i = 0; i < columns; ++i) {
      const int64_t at = static_cast<int64_t>(row) * columns + i;
      const double product = x.data<float>()[at] * Meets(a, x_shape, at);
      sum += product * product;
    }
    if (op == "Mean") sum /= static_cast<double>(columns);
    ASSERT_NEAR(r.values[0][row], sum, 1e-5 * sum + 1e-6) << row;
  }
}

TEST(FuseElementwiseTest, SumsOfRows) {
  CheckSums("Sum", {64}, {}, false);
  CheckSums("Sum", {70, 64}, {70, 1}, true);
  CheckSums("Mean", {5, 3, 37}, {3, 1}, false);
  CheckSums("Mean", {4, 700}, {700}, true);
  CheckSums("Sum", {3, 1024}, {3, 1024}, false);
  CheckSums("Sum", {600, 2}, {2}, true);
}

// x / sqrt(max(sum(x^2), k)), as l2_normalize has it: the sum and what becomes of it in one op.
TEST(FuseElementwiseTest, FunctionsOfSums) {
  constexpr int64_t kRows = 300, kColumns = 37;
  GraphText g;
  g.Input("x").Ints("axis", {1}).Number("k", 0.5).Number("two", 2).Node("q", "Square", {"x"});
  g.Node("s", "Sum", {"q", "axis"}, GraphText::Attr("keep_dims", "b: true"));
  g.Node("m", "Maximum", {"s", "k"}).Node("r", "Rsqrt", {"m"}).Node("r2", "Mul", {"r", "two"});
  g.Node("d", "Sub", {"r2", "r"}).Node("y", "Mul", {"x", "d"});
  const Tensor x = Values({kRows, kColumns}, 0.4, 101);
  const Result r = RunGraph(g, {{"x:0", x}}, {"y:0"});
  EXPECT_TRUE(Has(r, "_ElementwiseSum") && Has(r, "Mul")) << r.plan;
  EXPECT_FALSE(Has(r, "Sum") || Has(r, "Rsqrt") || Has(r, "_Elementwise")) << r.plan;
  for (int64_t row = 0; row < kRows; ++row) {
    const float* const from = x.data<float>() + row * kColumns;
    double sum = 0;
    for (int64_t i = 0; i < kColumns; ++i) sum += double{from[i]} * from[i];
    for (int64_t i = 0; i < kColumns; ++i) {
      ASSERT_NEAR(r.values[0][row * kColumns + i], from[i] / std::sqrt(std::max(sum, 0.5)), 1e-6);
    }
  }
}

// A function of a sum and of another value of its shape does not join it.
TEST(FuseElementwiseTest, SumsAndOtherValues) {
  GraphText g;
  g.Input("x").Input("b").Ints("axis", {1}).Node("q", "Square", {"x"});
  g.Node("s", "Sum", {"q", "axis"}).Node("n", "Neg", {"b"}).Node("y", "AddV2", {"s", "n"});
  g.Node("z", "Sum", {"x", "axis"}).Number("k", 3).Node("zk", "Mul", {"z", "k"});
  g.Node("w", "Neg", {"zk"});
  const Tensor x = *Tensor::FromVector<float>({1, 2, 3, 4}, Shape({2, 2}));
  const Tensor b = *Tensor::FromVector<float>({1, 2}, Shape({2}));
  const Result r = RunGraph(g, {{"x:0", x}, {"b:0", b}}, {"y:0", "w:0"});
  EXPECT_TRUE(Has(r, "_ElementwiseSum") && Has(r, "Sum") && Count(r, "_Elementwise") == 2)
      << r.plan;
  EXPECT_EQ(r.values[0], (std::vector<float>{4, 23}));
  EXPECT_EQ(r.values[1], (std::vector<float>{-9, -21}));
}

TEST(FuseElementwiseTest, UnsoundSumsAreRefused) {
  const auto run = [](const std::string& program, int functions, int of_sums) {
    GraphText g;
    g.Input("a", "dim { size: 4 } dim { size: 3 }").Input("b", "dim { size: 4 } dim { size: 1 }");
    std::string attrs = GraphText::Attr("N", "i: 2"), parameters;
    for (int i = 0; i < functions; ++i) parameters += "f: 0 ";
    attrs += GraphText::Attr("program", "list { " + program + " }");
    attrs += GraphText::Attr("parameters", "list { " + parameters + " }");
    attrs += GraphText::Attr("of_sums", "i: " + std::to_string(of_sums));
    g.Node("y", "_ElementwiseSum", {"a", "b"}, attrs);
    auto model = LoadGraphDef(g.text());
    if (!model.ok()) return model.status();
    const TensorMap inputs = {{"a:0", Values({4, 3})}, {"b:0", Values({4, 1})}};
    return model->Prune({"a:0", "b:0"}, {"y:0"})(inputs).status();
  };
  const std::string add = "i: " + std::to_string(static_cast<int>(ScalarOp::kAdd));
  const std::string square = "i: " + std::to_string(static_cast<int>(ScalarOp::kSquare));
  const std::string first = add + " i: 0 i: 1 i: 1 ";
  EXPECT_TRUE(run(first, 1, 0).ok()) << run(first, 1, 0);
  EXPECT_TRUE(run(first + square + " i: -1 i: -1 i: -1", 2, 1).ok());
  EXPECT_FALSE(run(first, 1, 1).ok());  // nothing to sum
  EXPECT_FALSE(run(first, 1, -1).ok());
  EXPECT_FALSE(run(first + add + " i: -1 i: 1 i: 1", 2, 1).ok());  // a column, not one number
  EXPECT_FALSE(run(first + square + " i: -1 i: -1 i: -1 " + add + " i: -2 i: -1 i: -1", 3, 1).ok());
}

TEST(FuseElementwiseTest, SumsOfOtherAxesAndLongRowsStay) {
  GraphText g;
  g.Input("x").Ints("first", {0}).Ints("last", {1}).Node("q", "Square", {"x"});
  g.Node("n", "Neg", {"x"}).Node("y", "Sum", {"q", "first"}).Node("z", "Sum", {"n", "last"});
  const Tensor x = Values({2, 1025}, 3);
  const Result r = RunGraph(g, {{"x:0", x}}, {"y:0", "z:0"});
  EXPECT_TRUE(Has(r, "Square") && Has(r, "Neg") && Count(r, "Sum") == 2) << r.plan;
}

// A comparison that a choice and a cast take is computed with them, of what lies before it, too.
TEST(FuseElementwiseTest, ComparisonsAsConditionsAndNumbers) {
  GraphText g;
  g.Input("x").Number("limit", 0.5).Number("slope", 0.25);
  g.Node("s", "Square", {"x"}).Node("c", "Greater", {"s", "limit"});
  g.Node("m", "Mul", {"x", "slope"}).Node("v", "SelectV2", {"c", "x", "m"});
  g.Node("l", "LessEqual", {"x", "limit"});
  g.Bare("n", "Cast", {"l"},
         GraphText::Attr("SrcT", "type: DT_BOOL") + GraphText::Attr("DstT", "type: DT_FLOAT"));
  g.Node("y", "AddV2", {"v", "n"});
  std::vector<float> values = {kNaN, -0.0f};
  for (int i = 0; i < 1500; ++i) values.push_back(0.01f * static_cast<float>(i - 700));
  const Tensor x = *Tensor::FromVector(values, {1, static_cast<int64_t>(values.size())});
  const Result r = RunGraph(g, {{"x:0", x}}, {"y:0"});
  EXPECT_TRUE(Has(r, "_Elementwise")) << r.plan;
  EXPECT_FALSE(Has(r, "SelectV2") || Has(r, "Greater") || Has(r, "Cast") || Has(r, "Square"))
      << r.plan;
  ASSERT_EQ(r.values[0].size(), values.size());
  EXPECT_TRUE(std::isnan(r.values[0][0]));
  for (size_t i = 1; i < values.size(); ++i) {
    const float v = values[i];
    ASSERT_FLOAT_EQ(r.values[0][i], (v * v > 0.5f ? v : v * 0.25f) + (v <= 0.5f ? 1 : 0)) << i;
  }
}

// A file may name the op itself.
TEST(FuseElementwiseTest, UnsoundProgramsAreRefused) {
  const auto run = [](const std::string& program, const std::string& parameters) {
    GraphText g;
    g.Input("a", "dim { size: 1 }").Input("b", "dim { size: 9 }");
    std::string attrs = GraphText::Attr("N", "i: 2");
    attrs += GraphText::Attr("program", "list { " + program + " }");
    attrs += GraphText::Attr("parameters", "list { " + parameters + " }");
    g.Node("y", "_Elementwise", {"a", "b"}, attrs);
    auto model = LoadGraphDef(g.text());
    if (!model.ok()) return model.status();
    const TensorMap inputs = {{"a:0", Values({1})}, {"b:0", Values({9})}};
    return model->Prune({"a:0", "b:0"}, {"y:0"})(inputs).status();
  };
  const std::string add = "i: " + std::to_string(static_cast<int>(ScalarOp::kAdd));
  EXPECT_TRUE(run(add + " i: 0 i: 1 i: 1", "f: 0").ok()) << run(add + " i: 0 i: 1 i: 1", "f: 0");
  EXPECT_FALSE(run(add + " i: 0 i: 0 i: 0", "f: 0").ok());   // reads one element as nine
  EXPECT_FALSE(run(add + " i: 0 i: 2 i: 0", "f: 0").ok());   // no such input
  EXPECT_FALSE(run(add + " i: -1 i: 1 i: 1", "f: 0").ok());  // its own result
  EXPECT_FALSE(run(add + " i: 0 i: 1 i: 1", "").ok());
  EXPECT_FALSE(run("i: 999 i: 0 i: 1 i: 1", "f: 0").ok());
  EXPECT_FALSE(run("i: 0 i: 0 i: 1 i: 1", "f: 0").ok());
  const std::string select = "i: " + std::to_string(static_cast<int>(ScalarOp::kSelect));
  EXPECT_TRUE(run(select + " i: 1 i: 0 i: 1", "f: 0").ok());
  EXPECT_FALSE(run(select + " i: 0 i: 1 i: 1", "f: 0").ok());  // reads one element as nine
  EXPECT_FALSE(run(select + " i: 1 i: 1 i: 2", "f: 0").ok());
}

}  // namespace
}  // namespace savedmodel
