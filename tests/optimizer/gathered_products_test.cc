// Products of embeddings: those of rows are picked, and are what the same graph gives with a table
// that is not known before it runs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

constexpr int kRows = 11, kDepth = 19;

const std::string kGatherTypes = GraphText::Attr("Tparams", "type: DT_FLOAT") +
                                 GraphText::Attr("Tindices", "type: DT_INT32") +
                                 GraphText::Attr("Taxis", "type: DT_INT32");

std::string IntList(const std::string& key, const std::vector<int>& values) {
  std::string list;
  for (const int v : values) list += " i: " + std::to_string(v);
  return GraphText::Attr(key, "list {" + list + " }");
}

Tensor Indices(const std::vector<int32_t>& values, const Shape& shape) {
  return *Tensor::FromVector<int32_t>(values, shape);
}

// `add` adds to a graph what makes `y` of the rows `e` of a table.
using AddFn = std::function<void(GraphText*)>;

GraphText Embedding(bool known, const AddFn& add, int rows = kRows) {
  GraphText g;
  g.Input("ids", "unknown_rank: true", "DT_INT32").Int("zero", 0);
  if (known) {
    g.Floats("table", Values({rows, kDepth}, 3, 101));
  } else {
    g.Input("table");
  }
  g.Bare("e", "GatherV2", {"table", "ids", "zero"}, kGatherTypes);
  add(&g);
  return g;
}

void Check(const AddFn& add, const Tensor& ids, bool replaced = true) {
  const Result r = RunGraph(Embedding(true, add), {{"ids:0", ids}}, {"y:0"});
  EXPECT_EQ(Has(r, "_GatheredProduct"), replaced) << r.plan;
  EXPECT_EQ(Has(r, "GatherV2"), !replaced) << r.plan;
  const Result expected =
      RunGraph(Embedding(false, add),
               {{"ids:0", ids}, {"table:0", Values({kRows, kDepth}, 3, 101)}}, {"y:0"});
  EXPECT_FALSE(Has(expected, "_GatheredProduct")) << expected.plan;
  ASSERT_EQ(r.values[0].size(), expected.values[0].size());
  for (size_t i = 0; i < r.values[0].size(); ++i) {
    EXPECT_NEAR(r.values[0][i], expected.values[0][i], 1e-5) << i;
  }
}

const Tensor kWeights = Values({kDepth, 37}, 2, 89);

void AddProduct(GraphText* g, const std::string& rows, const std::string& attrs = "") {
  g->Floats("w", kWeights).Node("y", "MatMul", {rows, "w"}, attrs);
}

TEST(GatheredProductsTest, Product) {
  const auto add = [](GraphText* g) { AddProduct(g, "e"); };
  Check(add, Indices({3, 0, 10, 3, 7}, {5}));
  Check(add, Indices({}, {0}));
}

TEST(GatheredProductsTest, ProductIsTheFormula) {
  const GraphText g = Embedding(true, [](GraphText* to) { AddProduct(to, "e"); });
  const Result r = RunGraph(g, {{"ids:0", Indices({4, 9}, {2})}}, {"y:0"});
  const Tensor table = Values({kRows, kDepth}, 3, 101);
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 37; ++j) {
      double sum = 0;
      for (int k = 0; k < kDepth; ++k) {
        sum += double{table.data<float>()[(i == 0 ? 4 : 9) * kDepth + k]} *
               kWeights.data<float>()[k * 37 + j];
      }
      EXPECT_NEAR(r.values[0][i * 37 + j], sum, 1e-5);
    }
  }
}

TEST(GatheredProductsTest, RowsInAnotherOrder) {
  const auto add = [](GraphText* g) {
    g->Ints("swap", {1, 0, 2}).Ints("axis", {-2}).Ints("flat", {-1, kDepth});
    g->Node("t", "Transpose", {"e", "swap"}, GraphText::Attr("Tperm", "type: DT_INT32"));
    g->Node("r", "ReverseV2", {"t", "axis"}, GraphText::Attr("Tidx", "type: DT_INT32"));
    g->Node("f", "Reshape", {"r", "flat"}, GraphText::Attr("Tshape", "type: DT_INT32"));
    AddProduct(g, "f");
  };
  Check(add, Indices({1, 2, 3, 4, 5, 6}, {2, 3}));
}

TEST(GatheredProductsTest, WhatMixesRowsStays) {
  const auto transposed = [](GraphText* g) {
    g->Ints("swap", {0, 2, 1}).Ints("flat", {-1, kDepth});
    g->Node("t", "Transpose", {"e", "swap"}, GraphText::Attr("Tperm", "type: DT_INT32"));
    g->Node("f", "Reshape", {"t", "flat"}, GraphText::Attr("Tshape", "type: DT_INT32"));
    AddProduct(g, "f");
  };
  Check(transposed, Indices({1, 2, 3, 4, 5, 6}, {2, 3}), false);
  const auto reversed = [](GraphText* g) {
    g->Ints("axis", {1});
    g->Node("r", "ReverseV2", {"e", "axis"}, GraphText::Attr("Tidx", "type: DT_INT32"));
    AddProduct(g, "r");
  };
  Check(reversed, Indices({1, 2, 3}, {3}), false);
}

TEST(GatheredProductsTest, TransposedFactorsStay) {
  const auto add = [](GraphText* g) {
    AddProduct(g, "e", GraphText::Attr("transpose_a", "b: true"));
  };
  std::vector<int32_t> ids(kDepth, 5);
  Check(add, Indices(ids, {kDepth}), false);
}

// A convolution of rows of embeddings, a bias and Relu behind it, as tf.nn.conv1d writes it.
void AddConv1D(GraphText* g, int taps, const std::string& attrs, const std::string& rows = "e") {
  g->Int("axis", 1).Ints("squeezed", {}).Floats("b", Values({8}));
  g->Floats("w", Values({1, taps, kDepth, 8}, 2, 89));
  g->Node("x", "ExpandDims", {rows, "axis"}, GraphText::Attr("Tdim", "type: DT_INT32"));
  g->Node("c", "Conv2D", {"x", "w"}, attrs);
  g->Node("s", "Squeeze", {"c"}, IntList("squeeze_dims", {1}));
  g->Node("sb", "BiasAdd", {"s", "b"}).Node("y", "Relu", {"sb"});
}

TEST(GatheredProductsTest, ConvolutionsOfLines) {
  const Tensor ids = Indices({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 2, 2, 6}, {2, 7});
  const auto check = [&](int taps, const std::string& padding, int stride, int dilation,
                         bool replaced) {
    SCOPED_TRACE(padding + " " + std::to_string(stride) + " " + std::to_string(dilation));
    Check(
        [&](GraphText* g) {
          AddConv1D(
              g, taps,
              GraphText::Attr("padding", "s: '" + padding + "'") +
                  IntList("strides", {1, 1, stride, 1}) +
                  IntList("dilations", {1, 1, dilation, 1}) +
                  (padding == "EXPLICIT" ? IntList("explicit_paddings", {0, 0, 0, 0, 3, 1, 0, 0})
                                         : ""));
        },
        ids, replaced);
  };
  check(3, "VALID", 1, 1, true);
  check(3, "VALID", 2, 1, true);
  check(2, "VALID", 1, 3, true);
  check(4, "SAME", 1, 1, true);
  check(3, "SAME", 1, 2, true);
  check(4, "EXPLICIT", 1, 1, true);
  check(3, "SAME", 2, 1, false);
  check(1, "VALID", 1, 1 << 21, false);
}

// The largest of each line's rows of a convolution, a bias and what `op` computes, as global max
// pooling writes it.
struct Largest {
  std::string op, padding;
  int stride, columns;

  GraphText Graph(const Tensor& table, bool keeps_rank = false) const {
    GraphText g;
    g.Input("ids", "unknown_rank: true", "DT_INT32").Int("zero", 0).Floats("table", table);
    g.Bare("e", "GatherV2", {"table", "ids", "zero"}, kGatherTypes);
    g.Int("axis", 1).Ints("squeezed", {}).Floats("b", Values({columns}, 4, 7));
    g.Floats("w", Weights()).Int("rows", -2);
    g.Node("x", "ExpandDims", {"e", "axis"}, GraphText::Attr("Tdim", "type: DT_INT32"));
    g.Node(
        "c", "Conv2D", {"x", "w"},
        GraphText::Attr("padding", "s: '" + padding + "'") + IntList("strides", {1, 1, stride, 1}));
    g.Node("s", "Squeeze", {"c"}, IntList("squeeze_dims", {1}));
    g.Node("sb", "BiasAdd", {"s", "b"}).Node("f", op, {"sb"});
    g.Node("y", "Max", {"f", "rows"},
           GraphText::Attr("Tidx", "type: DT_INT32") +
               GraphText::Attr("keep_dims", keeps_rank ? "b: true" : "b: false"));
    return g;
  }
  Tensor Weights() const { return Values({1, kTaps, kDepth, columns}, 2, 89); }

  // Of the lines of two rows of ids, which have NaN where a sum does.
  std::vector<float> Expected(const Tensor& table, const std::vector<int32_t>& ids) const {
    const Tensor weights = Weights(), bias = Values({columns}, 4, 7);
    const int line = static_cast<int>(ids.size()) / 2, before = padding == "SAME" ? 1 : 0;
    const int outputs = padding == "SAME" ? line : (line - kTaps) / stride + 1;
    std::vector<float> result;
    for (int n = 0; n < 2; ++n) {
      for (int c = 0; c < columns; ++c) {
        double largest = -std::numeric_limits<double>::infinity();
        for (int i = 0; i < outputs; ++i) {
          double sum = bias.data<float>()[c];
          for (int t = 0; t < kTaps; ++t) {
            const int at = i * stride - before + t;
            if (at < 0 || at >= line) continue;
            for (int k = 0; k < kDepth; ++k) {
              sum += double{table.data<float>()[ids[n * line + at] * kDepth + k]} *
                     weights.data<float>()[(t * kDepth + k) * columns + c];
            }
          }
          if (op == "Relu" && sum < 0) sum = 0;
          if (op == "Neg") sum = -sum;
          if (sum > largest || std::isnan(sum)) largest = sum;
        }
        result.push_back(static_cast<float>(largest));
      }
    }
    return result;
  }

  void Check(const Tensor& table, const std::vector<int32_t>& ids, bool is_fused) const {
    SCOPED_TRACE(op + " " + padding + " " + std::to_string(stride) + " " + std::to_string(columns));
    const Shape shape({2, static_cast<int64_t>(ids.size()) / 2});
    const Result r = RunGraph(Graph(table), {{"ids:0", Indices(ids, shape)}}, {"y:0"});
    EXPECT_EQ(Has(r, "Max"), !is_fused) << r.plan;
    const std::vector<float> expected = Expected(table, ids);
    ASSERT_EQ(r.values[0].size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      if (std::isnan(expected[i])) {
        EXPECT_TRUE(std::isnan(r.values[0][i])) << i;
      } else if (std::isinf(expected[i])) {
        EXPECT_EQ(r.values[0][i], expected[i]) << i;
      } else {
        EXPECT_NEAR(r.values[0][i], expected[i], 1e-5) << i;
      }
    }
  }

  static constexpr int kTaps = 3;
};

TEST(GatheredProductsTest, LargestOfLines) {
  const Tensor table = Values({kRows, kDepth}, 3, 101);
  std::vector<int32_t> ids(2 * 37);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * i % kRows);
  for (const int columns : {8, 70, 131}) {
    for (const char* op : {"Relu", "Identity"}) {
      Largest{op, "SAME", 1, columns}.Check(table, ids, true);
      Largest{op, "VALID", 1, columns}.Check(table, ids, true);
      Largest{op, "VALID", 2, columns}.Check(table, ids, true);
    }
    Largest{"Neg", "VALID", 1, columns}.Check(table, ids, false);
  }
  // Of no outputs, whatever follows: of no rows, and of one too few.
  Largest{"Relu", "SAME", 1, 8}.Check(table, {}, true);
  Largest{"Relu", "VALID", 1, 8}.Check(table, {1, 2, 3, 4}, true);
  const Result r = RunGraph(Largest{"Relu", "SAME", 1, 8}.Graph(table, true),
                            {{"ids:0", Indices(ids, {2, 37})}}, {"y:0"});
  EXPECT_TRUE(Has(r, "Max")) << r.plan;
}

TEST(GatheredProductsTest, LargestOfLinesThatAreNotNumbers) {
  std::vector<float> rows = Values({kRows, kDepth}, 3, 101).ToVector<float>();
  std::fill_n(rows.begin() + 4 * kDepth, kDepth, std::numeric_limits<float>::infinity());
  const Tensor table = *Tensor::FromVector(rows, {kRows, kDepth});
  const std::vector<int32_t> ids = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 1, 2, 3};
  Largest{"Relu", "VALID", 1, 70}.Check(table, ids, true);
  Largest{"Identity", "SAME", 1, 70}.Check(table, ids, true);
}

// An image of one channel as wide as the embedding, under a filter of the same width.
TEST(GatheredProductsTest, ConvolutionsOfImagesOfEmbeddings) {
  const auto add = [](GraphText* g) {
    g->Int("axis", -1).Floats("w", Values({3, kDepth, 1, 8}, 2, 89));
    g->Node("x", "ExpandDims", {"e", "axis"}, GraphText::Attr("Tdim", "type: DT_INT32"));
    g->Node("y", "Conv2D", {"x", "w"},
            GraphText::Attr("padding", "s: 'VALID'") + IntList("strides", {1, 1, 1, 1}));
  };
  Check(add, Indices({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {2, 5}));
}

// How many rows are picked is not known before the graph runs.
TEST(GatheredProductsTest, AsManyRowsAsDataSays) {
  const auto add_rows = [](GraphText* g) {
    g->Ints("line", {1, -1});
    g->Bare("unique", "Unique", {"ids"},
            GraphText::Attr("T", "type: DT_INT32") + GraphText::Attr("out_idx", "type: DT_INT32"));
    g->Bare("lines", "Reshape", {"unique", "line"},
            GraphText::Attr("T", "type: DT_INT32") + GraphText::Attr("Tshape", "type: DT_INT32"));
    g->Bare("rows", "GatherV2", {"table", "lines", "zero"}, kGatherTypes);
  };
  const Tensor ids = Indices({1, 2, 2, 7, 1, 5, 7, 0}, {8});
  const auto product = [&](GraphText* g) {
    add_rows(g);
    g->Floats("w", kWeights).Node("y", "BatchMatMulV2", {"rows", "w"});
  };
  Check(product, ids);
  const auto convolution = [&](GraphText* g) {
    add_rows(g);
    AddConv1D(g, 3, GraphText::Attr("padding", "s: 'SAME'") + IntList("strides", {1, 1, 1, 1}),
              "rows");
  };
  Check(convolution, ids);
}

TEST(GatheredProductsTest, LinesShorterThanTheFilterAreRefused) {
  const GraphText g = Embedding(true, [](GraphText* to) {
    AddConv1D(to, 4, GraphText::Attr("padding", "s: 'VALID'") + IntList("strides", {1, 1, 1, 1}));
  });
  auto model = LoadGraphDef(g.text());
  ASSERT_TRUE(model.ok()) << model.status();
  const TensorMap inputs = {{"ids:0", Indices({1, 2}, {1, 2})}};
  EXPECT_EQ(model->Prune({"ids:0"}, {"y:0"})(inputs).status().code(), StatusCode::kInvalidArgument);
}

TEST(GatheredProductsTest, IndicesOutsideAreRefused) {
  auto model = LoadGraphDef(Embedding(true, [](GraphText* g) { AddProduct(g, "e"); }).text());
  ASSERT_TRUE(model.ok()) << model.status();
  const Function f = model->Prune({"ids:0"}, {"y:0"});
  for (const int32_t outside : {-1, kRows}) {
    const auto y = f({{"ids:0", Indices({2, outside}, {2})}});
    EXPECT_EQ(y.status().code(), StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(f({{"ids:0", Indices({2, 0}, {2})}}).ok());
}

// A table, and its first rows in the same memory, times the same weights.
TEST(GatheredProductsTest, PartsOfTablesHaveProductsOfTheirOwn) {
  auto model = LoadGraphDef(Embedding(true, [](GraphText* g) {
                              g->Ints("begin", {0, 0}).Ints("size", {kRows - 2, kDepth});
                              g->Node("part", "Slice", {"table", "begin", "size"},
                                      GraphText::Attr("Index", "type: DT_INT32"));
                              g->Bare("of_part", "GatherV2", {"part", "ids", "zero"}, kGatherTypes);
                              AddProduct(g, "of_part");
                              g->Node("z", "MatMul", {"e", "w"});
                            }).text());
  ASSERT_TRUE(model.ok()) << model.status();
  const TensorMap inside = {{"ids:0", Indices({kRows - 3}, {1})}},
                  behind_part = {{"ids:0", Indices({kRows - 1}, {1})}};
  const Function of_part = model->Prune({"ids:0"}, {"y:0"}),
                 of_all = model->Prune({"ids:0"}, {"z:0"});
  EXPECT_TRUE(of_part(inside).ok());
  EXPECT_EQ(of_part(behind_part).status().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(of_all(behind_part).ok());
}

// A table with more rows than can be kept: what comes first is, the rest is computed each time.
TEST(GatheredProductsTest, MoreRowsThanAreKept) {
  constexpr int kMany = 3000, kColumns = 4096;
  GraphText g = Embedding(
      true,
      [](GraphText* to) {
        to->Floats("w", Values({kDepth, kColumns}, 2, 89)).Node("y", "MatMul", {"e", "w"});
      },
      kMany);
  auto model = LoadGraphDef(g.text());
  ASSERT_TRUE(model.ok()) << model.status();
  const Function f = model->Prune({"ids:0"}, {"y:0"});
  const Tensor table = Values({kMany, kDepth}, 3, 101), weights = Values({kDepth, kColumns}, 2, 89);
  for (const int first : {0, 700, 1400, 2000, 0}) {
    std::vector<int32_t> ids(1000);
    for (int i = 0; i < 1000; ++i) ids[i] = first + i;
    const auto y = f({{"ids:0", Indices(ids, {1000})}});
    ASSERT_TRUE(y.ok()) << y.status();
    for (int i = 0; i < 1000; i += 3) {
      const int j = (i * 31) % kColumns;
      double sum = 0;
      for (int k = 0; k < kDepth; ++k) {
        sum += double{table.data<float>()[(first + i) * kDepth + k]} *
               weights.data<float>()[k * kColumns + j];
      }
      EXPECT_NEAR(y->at("y:0").data<float>()[int64_t{i} * kColumns + j], sum, 1e-5) << i;
    }
  }
}

TEST(GatheredProductsTest, SeveralCallsAtOnce) {
  constexpr int kMany = 500;
  const auto add = [](GraphText* g) { AddProduct(g, "e"); };
  auto model = LoadGraphDef(Embedding(true, add, kMany).text());
  ASSERT_TRUE(model.ok()) << model.status();
  const Function f = model->Prune({"ids:0"}, {"y:0"});
  std::vector<std::vector<float>> found(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < found.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kMany; i += 2) {
        const int32_t id = static_cast<int32_t>(t % 2 == 0 ? i : kMany - 2 - i);
        const auto y = f({{"ids:0", Indices({id, id + 1}, {2})}});
        if (!y.ok()) return;
        const std::vector<float> rows = y->at("y:0").ToVector<float>();
        found[t].insert(t % 2 == 0 ? found[t].end() : found[t].begin(), rows.begin(), rows.end());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(found[0].size(), size_t{kMany * 37});
  for (size_t t = 1; t < found.size(); ++t) EXPECT_EQ(found[t], found[0]);
}

}  // namespace
}  // namespace savedmodel
