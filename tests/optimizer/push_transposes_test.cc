// Changes of layout around ops that can do with either: they cancel, and the numbers stay.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

const std::string kPerm = GraphText::Attr("Tperm", "type: DT_INT32");
const std::string kPaddings = GraphText::Attr("Tpaddings", "type: DT_INT32");
const std::string kAxes = GraphText::Attr("Tidx", "type: DT_INT32");

// An image x [1, 2, 3, 4], with channels last, and a: the same with channels first.
GraphText Begin() {
  GraphText g;
  g.Input("x", "dim { size: 1 } dim { size: 2 } dim { size: 3 } dim { size: 4 }");
  g.Ints("to_first", {0, 3, 1, 2}).Ints("to_last", {0, 2, 3, 1});
  g.Node("a", "Transpose", {"x", "to_first"}, kPerm);
  return g;
}

// What `g` makes of x, where `y` is its last node; with `transposes` left in its plan.
std::vector<float> Output(const GraphText& g, const std::string& y, int transposes) {
  const Result r = RunGraph(g, {{"x:0", Values({1, 2, 3, 4}, 5, 23)}}, {y + ":0"});
  EXPECT_EQ(Count(r, "Transpose"), transposes) << r.plan;
  return r.values[0];
}

float X(int h, int w, int c) {
  return Values({1, 2, 3, 4}, 5, 23).data<float>()[(h * 3 + w) * 4 + c];
}

TEST(PushTransposesTest, ScalarFunctionsWithConstantsOfChannels) {
  GraphText g = Begin();
  g.Floats("c", *Tensor::FromVector<float>({1, -2, 3, 0.5}, {4, 1, 1})).Number("two", 2);
  g.Node("m", "Mul", {"a", "c"}).Node("s", "Sub", {"two", "m"}).Node("r", "Relu", {"s"});
  g.Node("y", "Transpose", {"r", "to_last"}, kPerm);
  const std::vector<float> y = Output(g, "y", 0);
  const float c[] = {1, -2, 3, 0.5};
  for (int i = 0; i < 24; ++i) {
    EXPECT_NEAR(y[i], std::max(0.0f, 2 - X(i / 12, i / 4 % 3, i % 4) * c[i % 4]), 1e-6) << i;
  }
}

TEST(PushTransposesTest, SumsOfTwoAndConcatenations) {
  GraphText g = Begin();
  g.Node("n", "Neg", {"x"}).Node("b", "Transpose", {"n", "to_first"}, kPerm);
  g.Node("r", "Relu", {"a"}).Node("d", "AddV2", {"r", "b"}).Int("axis", -3);
  g.Bare("k", "ConcatV2", {"d", "a", "axis"},
         GraphText::Attr("T", "type: DT_FLOAT") + GraphText::Attr("N", "i: 2") + kAxes);
  g.Node("y", "Transpose", {"k", "to_last"}, kPerm);
  const std::vector<float> y = Output(g, "y", 0);
  for (int i = 0; i < 48; ++i) {
    const float x = X(i / 24, i / 8 % 3, i % 4);
    EXPECT_NEAR(y[i], i % 8 < 4 ? std::max(0.0f, x) - x : x, 1e-6) << i;
  }
}

TEST(PushTransposesTest, PaddingOnEitherSide) {
  GraphText g = Begin();
  g.Ints("amounts", {0, 0, 0, 1, 1, 0, 0, 2}, {4, 2}).Node("p", "Pad", {"a", "amounts"}, kPaddings);
  g.Node("y", "Transpose", {"p", "to_last"}, kPerm);
  const std::vector<float> y = Output(g, "y", 0);
  ASSERT_EQ(y.size(), 75u);  // [1, 3, 5, 5]
  for (int i = 0; i < 75; ++i) {
    const int h = i / 25 - 1, w = i / 5 % 5, c = i % 5;
    EXPECT_EQ(y[i], h >= 0 && w < 3 && c < 4 ? X(h, w, c) : 0) << i;
  }
}

// A pad of channels that come first by themselves becomes one behind the transpose: of a
// convolution's, here of nobody's.
TEST(PushTransposesTest, PaddingOfChannelsFirst) {
  GraphText g;
  g.Input("x", "dim { size: 1 } dim { size: 2 } dim { size: 3 } dim { size: 4 }");
  g.Ints("amounts", {0, 0, 0, 0, 1, 2, 0, 1}, {4, 2}).Ints("to_last", {0, 2, 3, 1});
  g.Node("p", "Pad", {"x", "amounts"}, kPaddings);
  g.Node("t", "Transpose", {"p", "to_last"}, kPerm);
  const std::vector<float> f(9 * 2, 1);
  g.Floats("f", *Tensor::FromVector(f, {3, 3, 2, 1}));
  g.Node("y", "Conv2D", {"t", "f"},
         GraphText::Attr("strides", "list { i: 1 i: 1 i: 1 i: 1 }") +
             GraphText::Attr("padding", "s: 'VALID'"));
  const Result r = RunGraph(g, {{"x:0", Values({1, 2, 3, 4}, 5, 23)}}, {"y:0"});
  EXPECT_FALSE(Has(r, "Pad")) << r.plan;
  ASSERT_EQ(r.values[0].size(), 12u);  // 4 x 3
  const Tensor x = Values({1, 2, 3, 4}, 5, 23);
  for (int i = 0; i < 12; ++i) {
    double sum = 0;
    for (int c = 0; c < 2; ++c) {
      for (int h = i / 3 - 1; h < i / 3 + 2; ++h) {
        for (int w = i % 3; w < i % 3 + 3; ++w) {
          if (h >= 0 && h < 3 && w < 4) sum += x.data<float>()[(c * 3 + h) * 4 + w];
        }
      }
    }
    EXPECT_NEAR(r.values[0][i], sum, 1e-5) << i;
  }
}

TEST(PushTransposesTest, Reductions) {
  GraphText g = Begin();
  g.Ints("rows", {2, -1}).Node("m", "Mean", {"a", "rows"}, kAxes);
  const std::vector<float> mean = Output(g, "m", 0);
  ASSERT_EQ(mean.size(), 4u);
  for (int c = 0; c < 4; ++c) {
    double sum = 0;
    for (int i = 0; i < 6; ++i) sum += X(i / 3, i % 3, c);
    EXPECT_NEAR(mean[c], sum / 6, 1e-6);
  }
  // What is left of [channels, rows] is not in the order of [rows, channels].
  GraphText h = Begin();
  h.Int("columns", 3).Node("m", "Max", {"a", "columns"}, kAxes);
  const std::vector<float> most = Output(h, "m", 1);
  for (int i = 0; i < 8; ++i) {
    const int c = i / 2, row = i % 2;
    EXPECT_EQ(most[i], std::max({X(row, 0, c), X(row, 1, c), X(row, 2, c)})) << i;
  }
}

TEST(PushTransposesTest, OthersStay) {
  // Another op wants the channels first as well.
  GraphText g = Begin();
  g.Ints("flat", {24}).Node("r", "Relu", {"a"});
  g.Bare("q", "Reshape", {"a", "flat"},
         GraphText::Attr("T", "type: DT_FLOAT") + GraphText::Attr("Tshape", "type: DT_INT32"));
  g.Node("t", "Transpose", {"r", "to_last"}, kPerm);
  g.Bare("u", "Reshape", {"t", "flat"},
         GraphText::Attr("T", "type: DT_FLOAT") + GraphText::Attr("Tshape", "type: DT_INT32"));
  g.Node("y", "AddV2", {"q", "u"});
  const std::vector<float> y = Output(g, "y", 2);
  for (int i = 0; i < 24; ++i) {
    const float first = X(i / 3 % 2, i % 3, i / 6), last = X(i / 12, i / 4 % 3, i % 4);
    EXPECT_NEAR(y[i], first + std::max(0.0f, last), 1e-6) << i;
  }
}

}  // namespace
}  // namespace savedmodel
