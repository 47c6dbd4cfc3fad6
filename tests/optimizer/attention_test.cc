// Attention recognised in products and softmax, in the forms that Keras and others write; expected
// values by the formula.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

constexpr int kBatch = 2, kHeads = 3;

std::string Equation(const std::string& text) {
  return GraphText::Attr("equation", "s: '" + text + "'") + GraphText::Attr("N", "i: 2");
}
const std::string kAdjointY = GraphText::Attr("adj_y", "b: true");
const std::string kPerm = GraphText::Attr("Tperm", "type: DT_INT32");

struct Sizes {
  int rows, keys, depth, columns;
};

// Element (batch, position, head, i) of a tensor [batch, positions, heads, …].
double At(const Tensor& t, int b, int p, int h, int i) {
  const Shape& s = t.shape();
  return t.data<float>()[((b * s[1] + p) * s[2] + h) * s[3] + i];
}

// [batch, rows, heads, columns]; `adjust(score, batch, head, row, key)` makes the softmax'
// argument.
std::vector<double> Expected(const Tensor& q, const Tensor& k, const Tensor& v, const Sizes& n,
                             const std::function<double(double, int, int, int, int)>& adjust) {
  std::vector<double> out;
  for (int b = 0; b < kBatch; ++b) {
    for (int r = 0; r < n.rows; ++r) {
      for (int h = 0; h < kHeads; ++h) {
        std::vector<double> weights;
        double largest = -HUGE_VAL, sum = 0;
        for (int j = 0; j < n.keys; ++j) {
          double score = 0;
          for (int d = 0; d < n.depth; ++d) score += At(q, b, r, h, d) * At(k, b, j, h, d);
          weights.push_back(adjust(score, b, h, r, j));
          largest = std::max(largest, weights.back());
        }
        for (double& w : weights) sum += w = std::exp(w - largest);
        for (int c = 0; c < n.columns; ++c) {
          double y = 0;
          for (int j = 0; j < n.keys; ++j) y += weights[j] / sum * At(v, b, j, h, c);
          out.push_back(y);
        }
      }
    }
  }
  return out;
}

void ExpectNear(const std::vector<float>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], 5e-6) << i;
}

class AttentionTest : public testing::TestWithParam<Sizes> {
 protected:
  const Sizes n = GetParam();
  const Tensor q = Values({kBatch, n.rows, kHeads, n.depth}, 3, 29);
  const Tensor k = Values({kBatch, n.keys, kHeads, n.depth}, 3, 31);
  const Tensor v = Values({kBatch, n.keys, kHeads, n.columns}, 2, 37);
};

// Keras' layer: products by Einsum, a mask of keys that is widened by "and".
TEST_P(AttentionTest, KerasWithMask) {
  GraphText g;
  g.Input("q").Input("k").Input("v").Input("mask", "unknown_rank: true", "DT_BOOL");
  g.Number("scale", 0.25).Number("fill", -1e9);
  g.Node("s", "Einsum", {"k", "q"}, Equation("aecd,abcd->acbe"));
  g.Node("scaled", "Mul", {"s", "scale"});
  g.Node("masked", "SelectV2", {"mask", "scaled", "fill"}).Node("w", "Softmax", {"masked"});
  g.Node("y", "Einsum", {"w", "v"}, Equation("acbe,aecd->abcd"));
  std::vector<char> bits;
  for (int b = 0; b < kBatch; ++b) {
    for (int j = 0; j < n.keys; ++j) bits.push_back(j == 0 || (j + b) % 3 != 0);
  }
  Tensor mask = *Tensor::Allocate(DType::kBool, Shape({kBatch, 1, 1, n.keys}));
  for (size_t i = 0; i < bits.size(); ++i) mask.mutable_data<bool>()[i] = bits[i] != 0;
  const Result r = RunGraph(g, {{"q:0", q}, {"k:0", k}, {"v:0", v}, {"mask:0", mask}}, {"y:0"});
  EXPECT_TRUE(Has(r, "_Attention")) << r.plan;
  EXPECT_FALSE(Has(r, "Softmax")) << r.plan;
  ExpectNear(r.values[0], Expected(q, k, v, n, [&](double s, int b, int, int, int j) {
               return bits[b * n.keys + j] != 0 ? 0.25 * s : -1e9;
             }));
}

// Heads moved to the front and back by Transpose, a bias for each pair of positions.
TEST_P(AttentionTest, TransposedWithBias) {
  GraphText g;
  g.Input("q").Input("k").Input("v").Input("bias").Ints("perm", {0, 2, 1, 3}).Number("root", 4);
  for (const char* name : {"q", "k", "v"}) {
    g.Node(std::string(name) + "t", "Transpose", {name, "perm"}, kPerm);
  }
  g.Node("s", "BatchMatMulV2", {"qt", "kt"}, kAdjointY).Node("scaled", "RealDiv", {"s", "root"});
  g.Node("biased", "AddV2", {"scaled", "bias"}).Node("w", "Softmax", {"biased"});
  g.Node("yt", "BatchMatMulV2", {"w", "vt"}).Node("y", "Transpose", {"yt", "perm"}, kPerm);
  const Tensor bias = Values({n.rows, n.keys}, 5, 41);
  const Result r = RunGraph(g, {{"q:0", q}, {"k:0", k}, {"v:0", v}, {"bias:0", bias}}, {"y:0"});
  EXPECT_TRUE(Has(r, "_Attention")) << r.plan;
  EXPECT_FALSE(Has(r, "Transpose")) << r.plan;
  ExpectNear(r.values[0], Expected(q, k, v, n, [&](double s, int, int, int row, int j) {
               return s / 4 + bias.data<float>()[row * n.keys + j];
             }));
}

// Weights that are a result themselves are computed once, by the ops that the model has.
TEST_P(AttentionTest, WeightsThatAreUsedStay) {
  GraphText g;
  g.Input("q").Input("k").Input("v");
  g.Node("s", "Einsum", {"q", "k"}, Equation("abcd,aecd->acbe")).Node("w", "Softmax", {"s"});
  g.Node("y", "Einsum", {"w", "v"}, Equation("acbe,aecd->abcd"));
  const Result r = RunGraph(g, {{"q:0", q}, {"k:0", k}, {"v:0", v}}, {"y:0", "w:0"});
  EXPECT_FALSE(Has(r, "_Attention")) << r.plan;
  ExpectNear(r.values[0], Expected(q, k, v, n, [](double s, int, int, int, int) { return s; }));
}

// The last: more rows than one block holds.
INSTANTIATE_TEST_SUITE_P(Sizes, AttentionTest,
                         testing::Values(Sizes{1, 1, 1, 1}, Sizes{5, 37, 13, 9},
                                         Sizes{33, 16, 64, 64}, Sizes{50, 2100, 8, 3}));

}  // namespace
}  // namespace savedmodel
