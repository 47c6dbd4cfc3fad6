// Batch normalisation with constant statistics: in a convolution's weights, or as scalar ops that
// go behind whatever comes before.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

constexpr int kChannels = 5;
const Tensor kFilter = Values({1, 1, kChannels, kChannels}, 1, 17);
const std::vector<float> kScale = {1, -2, 0.5, 3, 0}, kOffset = {0, 1, -1, 0.25, 2};
const std::vector<float> kMean = {0, 100, -3, 0.5, 7}, kVariance = {1, 4, 0.25, 0, 9};

// `format`, of an image of 2 x 3 pixels with kChannels channels: the norm of `input`.
GraphText& AddNorm(const std::string& input, const std::string& format, GraphText* g) {
  const auto constant = [&](const std::string& name, const std::vector<float>& values) {
    g->Floats(name, Tensor::Vector(values));
  };
  constant("scale", kScale);
  constant("offset", kOffset);
  constant("mean", kMean);
  constant("variance", kVariance);
  return g->Node("y", "FusedBatchNormV3", {input, "scale", "offset", "mean", "variance"},
                 GraphText::Attr("U", "type: DT_FLOAT") + GraphText::Attr("epsilon", "f: 0.01") +
                     GraphText::Attr("is_training", "b: false") +
                     GraphText::Attr("data_format", "s: '" + format + "'"));
}

double Norm(double x, size_t c) {
  return (x - kMean[c]) / std::sqrt(kVariance[c] + 0.01) * kScale[c] + kOffset[c];
}

// The sum of a pixel's channels times the filter's column `c`.
double Convolved(const Tensor& x, size_t pixel, size_t c) {
  double sum = 0;
  for (size_t i = 0; i < kChannels; ++i) {
    sum += static_cast<double>(x.data<float>()[pixel * kChannels + i]) *
           kFilter.data<float>()[i * kChannels + c];
  }
  return sum;
}

const std::string kConv = GraphText::Attr("strides", "list { i: 1 i: 1 i: 1 i: 1 }") +
                          GraphText::Attr("padding", "s: 'VALID'");

TEST(FoldBatchNormTest, BehindAConvolutionIntoItsWeights) {
  GraphText g;
  g.Input("x").Floats("f", kFilter).Node("c", "Conv2D", {"x", "f"}, kConv);
  AddNorm("c", "NHWC", &g);
  const Tensor x = Values({1, 2, 3, kChannels}, 3, 29);
  const Result r = RunGraph(g, {{"x:0", x}}, {"y:0"});
  EXPECT_TRUE(Has(r, "_ScaledConv2D")) << r.plan;
  EXPECT_FALSE(Has(r, "FusedBatchNormV3") || Has(r, "_Elementwise")) << r.plan;
  for (size_t i = 0; i < 30; ++i) {
    const double y = Norm(Convolved(x, i / kChannels, i % kChannels), i % kChannels);
    EXPECT_NEAR(r.values[0][i], y, 1e-4) << i;
  }
}

// A convolution of one dimension as layers write it: an image of one row, which is then dropped,
// and a bias before or after that.
TEST(FoldBatchNormTest, BehindABiasAndAnotherShape) {
  const std::vector<float> bias = {1, 2, -3, 0.5, 7};
  for (const std::string first : {"BiasAdd", "AddV2", "Squeeze"}) {
    GraphText g;
    g.Input("x", "dim { size: 1 } dim { size: 1 } dim { size: 6 } dim { size: 5 }");
    g.Floats("f", kFilter).Floats("b", Tensor::Vector(bias));
    g.Node("c", "Conv2D", {"x", "f"}, kConv);
    const std::string dims = GraphText::Attr("squeeze_dims", "list { i: 1 }");
    if (first == "Squeeze") {
      g.Node("s", "Squeeze", {"c"}, dims).Node("last", "AddV2", {"b", "s"});
    } else {
      g.Node("cb", first, {"c", "b"}).Node("last", "Squeeze", {"cb"}, dims);
    }
    g.Floats("a", Tensor::Vector(kScale)).Floats("o", Tensor::Vector(kOffset));
    g.Node("m", "Mul", {"last", "a"}).Node("y", "AddV2", {"m", "o"});
    const Tensor x = Values({1, 1, 6, kChannels}, 3, 29);
    const Result r = RunGraph(g, {{"x:0", x}}, {"y:0"});
    EXPECT_TRUE(Has(r, "_ScaledConv2D")) << r.plan;
    EXPECT_NE(r.plan.find("+ 1 fused"), std::string::npos) << r.plan;
    for (size_t i = 0; i < 30; ++i) {
      const size_t c = i % kChannels;
      const double y = (Convolved(x, i / kChannels, c) + bias[c]) * kScale[c] + kOffset[c];
      EXPECT_NEAR(r.values[0][i], y, 1e-4) << first << " " << i;
    }
  }
}

TEST(FoldBatchNormTest, BehindReluIntoTheEpilogue) {
  GraphText g;
  g.Input("x").Floats("f", kFilter).Node("c", "Conv2D", {"x", "f"}, kConv).Node("r", "Relu", {"c"});
  AddNorm("r", "NHWC", &g);
  const Tensor x = Values({1, 2, 3, kChannels}, 3, 29);
  const Result r = RunGraph(g, {{"x:0", x}}, {"y:0"});
  EXPECT_TRUE(Has(r, "Conv2D")) << r.plan;
  EXPECT_FALSE(Has(r, "FusedBatchNormV3") || Has(r, "Relu") || Has(r, "Sub") || Has(r, "Mul"))
      << r.plan;
  for (size_t i = 0; i < 30; ++i) {
    const double relu = std::max(0.0, Convolved(x, i / kChannels, i % kChannels));
    EXPECT_NEAR(r.values[0][i], Norm(relu, i % kChannels), 1e-4) << i;
  }
}

TEST(FoldBatchNormTest, ChannelsFirst) {
  GraphText g;
  g.Input("x");
  AddNorm("x", "NCHW", &g).Node("z", "Relu", {"y"});
  const Tensor x = Values({1, kChannels, 2, 3}, 3, 29);
  const Result r = RunGraph(g, {{"x:0", x}}, {"z:0"});
  EXPECT_TRUE(Has(r, "_Elementwise")) << r.plan;
  EXPECT_FALSE(Has(r, "FusedBatchNormV3")) << r.plan;
  for (size_t i = 0; i < 30; ++i) {
    EXPECT_NEAR(r.values[0][i], std::max(0.0, Norm(x.data<float>()[i], i / 6)), 1e-4) << i;
  }
}

}  // namespace
}  // namespace savedmodel
