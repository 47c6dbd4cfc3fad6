// Batches in slices: each example comes out as it does alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

constexpr int kSize = 128, kChannels = 16;  // 1 MiB a layer and example

std::string ConvAttrs() {
  return GraphText::Attr("strides", "list { i: 1 i: 1 i: 1 i: 1 }") +
         GraphText::Attr("padding", "s: 'SAME'");
}

GraphText& Conv(GraphText& g, const std::string& name, const std::string& x, int in) {
  g.Floats(name + "/filter", Values({3, 3, in, kChannels}, 0.5));
  g.Node(name, "Conv2D", {x, name + "/filter"}, ConvAttrs());
  return g.Node(name + "/relu", "Relu", {name});
}

GraphText& Mean(GraphText& g, const std::string& name, const std::string& x,
                const std::vector<int>& axes) {
  g.Ints(name + "/axes", axes);
  return g.Node(name, "Mean", {x, name + "/axes"}, GraphText::Attr("keep_dims", "b: true"));
}

GraphText TwoLayers() {
  GraphText g;
  g.Input("x");
  Conv(g, "a", "x", 2);
  Conv(g, "b", "a/relu", kChannels);
  return g;
}

Tensor Examples(int64_t begin, int64_t n) {
  const Tensor all = Values({16, kSize, kSize, 2});
  const std::vector<float> v = all.ToVector<float>();
  const int64_t size = kSize * kSize * 2;
  return *Tensor::FromVector(
      std::vector<float>(v.begin() + begin * size, v.begin() + (begin + n) * size),
      Shape({n, kSize, kSize, 2}));
}

TEST(SliceBatches, ExamplesAreWhatTheyAreAlone) {
  GraphText g = TwoLayers();
  Mean(g, "y", "b/relu", {1, 2});
  // 12 are two slices of 6, 13 two of 5 and one of 3, which has a function of its own.
  for (const int64_t n : {12, 13}) {
    const Result batch = RunGraph(g, {{"x", Examples(0, n)}}, {"y"});
    EXPECT_EQ(Count(batch, "_Slices"), 1) << batch.plan;
    EXPECT_EQ(Count(batch, "Conv2D"), n == 12 ? 2 : 4) << batch.plan;
    EXPECT_NE(batch.plan.find(n == 12 ? "[6,128,128,16]" : "[3,128,128,16]"), std::string::npos);
    ASSERT_EQ(batch.values[0].size(), static_cast<size_t>(n * kChannels));
    for (int64_t i = 0; i < n; ++i) {
      const Result one = RunGraph(g, {{"x", Examples(i, 1)}}, {"y"});
      EXPECT_FALSE(Has(one, "_Slices"));
      for (int c = 0; c < kChannels; ++c) {
        EXPECT_NEAR(batch.values[0][i * kChannels + c], one.values[0][c], 1e-5) << i << " " << c;
      }
    }
  }
}

TEST(SliceBatches, WhatIsNeededElsewhereLeavesTheSlices) {
  GraphText g = TwoLayers();
  Mean(g, "first", "a/relu", {1, 2});
  Mean(g, "y", "b/relu", {1, 2});
  const Result batch = RunGraph(g, {{"x", Examples(0, 16)}}, {"first", "y", "b/relu"});
  EXPECT_EQ(Count(batch, "_Slices"), 1) << batch.plan;
  const Result alone = RunGraph(g, {{"x", Examples(15, 1)}}, {"first", "y", "b/relu"});
  for (int v = 0; v < 3; ++v) {
    const std::vector<float>&all = batch.values[v], &one = alone.values[v];
    ASSERT_EQ(all.size(), 16 * one.size());
    for (size_t i = 0; i < one.size(); ++i) {
      ASSERT_NEAR(all[15 * one.size() + i], one[i], 1e-5) << v << " " << i;
    }
  }
}

TEST(SliceBatches, ABatchThatTheCachesHoldStaysWhole) {
  GraphText g = TwoLayers();
  EXPECT_FALSE(Has(RunGraph(g, {{"x", Examples(0, 6)}}, {"b/relu"}), "_Slices"));
}

TEST(SliceBatches, WhatSpansTheBatchIsNotInASlice) {
  GraphText g = TwoLayers();
  Mean(g, "of_batch", "b/relu", {0});
  g.Node("centred", "Sub", {"b/relu", "of_batch"});
  g.Node("y", "Relu", {"centred"});
  const Result result = RunGraph(g, {{"x", Examples(0, 16)}}, {"y", "b/relu"});
  EXPECT_EQ(Count(result, "_Slices"), 1) << result.plan;
  EXPECT_TRUE(Has(result, "Mean")) << result.plan;
  const std::vector<float>&y = result.values[0], &b = result.values[1];
  const size_t size = b.size() / 16;
  for (size_t i = 0; i < size; i += 997) {
    double mean = 0;
    for (size_t n = 0; n < 16; ++n) mean += b[n * size + i] / 16;
    for (size_t n = 0; n < 16; ++n) {
      ASSERT_NEAR(y[n * size + i], std::max(0.0, b[n * size + i] - mean), 1e-5);
    }
  }
}

TEST(SliceBatches, OtherDimensionsMayHaveTheSameSize) {
  constexpr int kEach = 64;
  GraphText g;
  g.Input("x");
  Conv(g, "a", "x", 2);
  Conv(g, "b", "a/relu", kChannels);
  g.Ints("axis", {0});
  g.Node("sum", "Sum", {"b/relu", "axis"}, GraphText::Attr("keep_dims", "b: false"));
  g.Node("y", "Neg", {"sum"});
  const Result result = RunGraph(g, {{"x", Values({kEach, kEach, kEach, 2})}}, {"y", "b/relu"});
  EXPECT_EQ(Count(result, "_Slices"), 1) << result.plan;
  const std::string outer = result.plan.substr(0, result.plan.find("function "));
  EXPECT_NE(outer.find(" Sum("), std::string::npos) << result.plan;
  const std::vector<float>&y = result.values[0], &b = result.values[1];
  ASSERT_EQ(b.size(), kEach * y.size());
  for (size_t i = 0; i < y.size(); i += 1009) {
    double sum = 0;
    for (size_t n = 0; n < kEach; ++n) sum += b[n * y.size() + i];
    ASSERT_NEAR(y[i], -sum, 1e-4) << i;
  }
}

TEST(SliceBatches, OneDimensionIsNoBatch) {
  GraphText g;
  g.Input("x");
  g.Node("relu", "Relu", {"x"});
  g.Node("y", "Softmax", {"relu"});
  const int64_t n = 1 << 22;
  const Result result = RunGraph(g, {{"x", Values({n})}}, {"y"});
  EXPECT_FALSE(Has(result, "_Slices")) << result.plan;
  double sum = 0;
  for (const float y : result.values[0]) sum += y;
  EXPECT_NEAR(sum, 1, 1e-3);
}

TEST(SliceBatches, OperandsWithAPartForEachExampleAreNotCut) {
  GraphText g = TwoLayers();
  g.Floats("factors", Values({16, 1, 1, 1}));
  g.Node("scaled", "Mul", {"a/relu", "factors"});
  Conv(g, "c", "scaled", kChannels);
  Mean(g, "y", "c/relu", {1, 2});
  Mean(g, "first", "a/relu", {1, 2});
  const Result result = RunGraph(g, {{"x", Examples(0, 16)}}, {"y"});
  for (const int64_t i : {0, 7, 15}) {
    // The factor of one example, as an input of one.
    GraphText h = TwoLayers();
    h.Input("factor");
    h.Node("scaled", "Mul", {"a/relu", "factor"});
    Conv(h, "c", "scaled", kChannels);
    Mean(h, "y", "c/relu", {1, 2});
    const float factor = Values({16, 1, 1, 1}).data<float>()[i];
    const Result one = RunGraph(
        h, {{"x", Examples(i, 1)}, {"factor", *Tensor::FromVector<float>({factor}, Shape())}},
        {"y"});
    for (int c = 0; c < kChannels; ++c) {
      EXPECT_NEAR(result.values[0][i * kChannels + c], one.values[0][c], 1e-5) << i << " " << c;
    }
  }
}

// A filter that is no constant may have as many rows as the batch has examples.
TEST(SliceBatches, FiltersAreNoExamples) {
  constexpr int kImage = 360;
  const auto graph = [] {
    GraphText g;
    g.Input("x");
    g.Input("w");
    g.Node("a", "Conv2D", {"x", "w"}, ConvAttrs());
    return Conv(g, "b", "a", kChannels);
  };
  const Tensor w = Values({3, 3, 2, kChannels}), x = Values({3, kImage, kImage, 2});
  const Result batch = RunGraph(graph(), {{"x", x}, {"w", w}}, {"a", "b/relu"});
  const std::vector<float> all = x.ToVector<float>();
  const size_t size = all.size() / 3;
  for (size_t n = 0; n < 3; ++n) {
    const Tensor one = *Tensor::FromVector(
        std::vector<float>(all.begin() + n * size, all.begin() + (n + 1) * size),
        Shape({1, kImage, kImage, 2}));
    const Result alone = RunGraph(graph(), {{"x", one}, {"w", w}}, {"a", "b/relu"});
    for (int v = 0; v < 2; ++v) {
      const std::vector<float>& expected = alone.values[v];
      ASSERT_EQ(batch.values[v].size(), 3 * expected.size());
      for (size_t i = 0; i < expected.size(); i += 101) {
        ASSERT_NEAR(batch.values[v][n * expected.size() + i], expected[i], 1e-5) << n << " " << i;
      }
    }
  }
}

// An ellipsis may stand for no dimension.
TEST(SliceBatches, ExamplesInReverseAreNotCut) {
  constexpr int kRows = 1 << 16, kColumns = 64;
  GraphText g;
  g.Input("x");
  g.Node("a", "Neg", {"x"});
  g.Ints("begin", {0, 0, 0}).Ints("end", {0, 0, 0}).Ints("strides", {1, -1, 1});
  g.Node("b", "StridedSlice", {"a", "begin", "end", "strides"},
         GraphText::Attr("Index", "type: DT_INT32") + GraphText::Attr("ellipsis_mask", "i: 1") +
             GraphText::Attr("begin_mask", "i: 6") + GraphText::Attr("end_mask", "i: 6"));
  g.Node("y", "Exp", {"b"});
  const Tensor x = Values({kRows, kColumns});
  const std::vector<float> y = RunGraph(g, {{"x", x}}, {"y"}).values[0];
  ASSERT_EQ(y.size(), static_cast<size_t>(kRows * kColumns));
  for (int i = 0; i < kRows; i += 1001) {
    const float from = x.data<float>()[(kRows - 1 - i) * kColumns + 5];
    ASSERT_NEAR(y[i * kColumns + 5], std::exp(-from), 1e-5) << i;
  }
}

// A file may hold the op, too.
TEST(SliceBatches, SlicesThatDoNotFitAreRefused) {
  const auto run = [](const std::string& examples, const std::string& out, int64_t n) {
    const std::string f = "func { name: 'f' }", types = "list { type: DT_FLOAT }";
    GraphText g;
    g.Input("x");
    g.Bare("y", "_Slices", {"x"},
           GraphText::Attr("Tin", types) + GraphText::Attr("Tout", types) +
               GraphText::Attr("f", f) + GraphText::Attr("rest", f) +
               GraphText::Attr("examples", "i: " + examples) +
               GraphText::Attr("output_shapes", "list { shape { " + out + " } }"));
    const auto model = LoadGraphDef(
        g.text() +
        "library { function { signature { name: 'f' input_arg { name: 'a' type: DT_FLOAT } "
        "output_arg { name: 'b' type: DT_FLOAT } } node_def { name: 'n' op: 'Neg' input: 'a' " +
        GraphText::Attr("T", "type: DT_FLOAT") + "} ret { key: 'b' value: 'n:y:0' } } }");
    EXPECT_TRUE(model.ok()) << model.status();
    const auto y = model->Prune({"x"}, {"y"})({{"x", Values({n, 3})}});
    return y.ok() ? std::to_string(-y->at("y").data<float>()[n * 3 - 1] /
                                   Values({n, 3}).data<float>()[n * 3 - 1])
                  : y.status().ToString();
  };
  EXPECT_EQ(run("2", "dim { size: 5 } dim { size: 3 }", 5), "1.000000");
  EXPECT_EQ(run("5", "dim { size: 5 } dim { size: 3 }", 5), "1.000000");
  EXPECT_THAT(run("6", "dim { size: 5 } dim { size: 3 }", 5),
              testing::HasSubstr("expected at least 6"));
  EXPECT_THAT(run("0", "dim { size: 5 } dim { size: 3 }", 5), testing::HasSubstr("examples"));
  EXPECT_THAT(run("2", "dim { size: 4 } dim { size: 3 }", 5),
              testing::HasSubstr("expected 5 examples"));
  EXPECT_THAT(run("2", "dim { size: 5 } dim { size: 2 }", 5),
              testing::HasSubstr("result 0 of a slice"));
  EXPECT_THAT(run("2", "dim { size: 5 }", 5), testing::HasSubstr("result 0 of a slice"));
  EXPECT_THAT(run("2", "unknown_rank: true", 5), testing::HasSubstr("expected 5 examples"));
}

}  // namespace
}  // namespace savedmodel
