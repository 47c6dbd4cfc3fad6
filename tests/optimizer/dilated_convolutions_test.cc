// Convolutions between SpaceToBatchND and BatchToSpaceND become convolutions with dilations.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

const std::string kValid = GraphText::Attr("strides", "list { i: 1 i: 1 i: 1 i: 1 }") +
                           GraphText::Attr("padding", "s: 'VALID'");
const std::string kDim = GraphText::Attr("Tdim", "type: DT_INT32");
const std::string kSqueeze = GraphText::Attr("squeeze_dims", "list { i: 1 }");

const Shape kImage = {2, 7, 8, 3};
const Shape kWindow = {3, 2, 3, 4};

struct Dilated {
  std::vector<int> block, paddings, crops;
};

std::string TypesOf(const std::string& border) {
  return GraphText::Attr("Tblock_shape", "type: DT_INT32") +
         GraphText::Attr(border, "type: DT_INT32");
}

GraphText& Apart(GraphText& g, const Dilated& d) {
  const int rank = static_cast<int>(d.block.size());
  g.Ints("block", d.block)
      .Ints("paddings", d.paddings, {rank, 2})
      .Ints("crops", d.crops, {rank, 2});
  return g.Node("apart", "SpaceToBatchND", {"x", "block", "paddings"}, TypesOf("Tpaddings"));
}

GraphText& Together(GraphText& g, const std::string& input) {
  return g.Node("y", "BatchToSpaceND", {input, "block", "crops"}, TypesOf("Tcrops"));
}

Result RunDilated(const std::string& op, const Dilated& d,
                  std::vector<std::string> outputs = {"y:0"},
                  const std::string& shape = "unknown_rank: true") {
  GraphText g;
  g.Input("x", shape).Floats("w", Values(kWindow));
  Apart(g, d).Node("conv", op, {"apart", "w"}, kValid);
  return RunGraph(Together(g, "conv"), {{"x:0", Values(kImage, 2, 19)}}, outputs);
}

// The sum over the window, from the image as it is; of zeros outside of it.
std::vector<float> Directly(bool depthwise, const Dilated& d) {
  const Tensor image = Values(kImage, 2, 19), window = Values(kWindow);
  const auto at = [&](const Dilated& d, int64_t i, size_t k) {
    return i - d.paddings[2 * k] + d.crops[2 * k];
  };
  const auto size = [&](size_t k) {
    return kImage[static_cast<int>(k) + 1] + d.paddings[2 * k] + d.paddings[2 * k + 1] -
           d.crops[2 * k] - d.crops[2 * k + 1] - (kWindow[static_cast<int>(k)] - 1) * d.block[k];
  };
  std::vector<float> out;
  for (int64_t n = 0; n < kImage[0]; ++n) {
    for (int64_t i = 0; i < size(0); ++i) {
      for (int64_t j = 0; j < size(1); ++j) {
        for (int64_t o = 0; o < (depthwise ? 12 : 4); ++o) {
          double sum = 0;
          for (int64_t k = 0; k < kWindow[0] * kWindow[1]; ++k) {
            const int64_t h = at(d, i, 0) + k / kWindow[1] * d.block[0];
            const int64_t w = at(d, j, 1) + k % kWindow[1] * d.block[1];
            if (h < 0 || h >= kImage[1] || w < 0 || w >= kImage[2]) continue;
            for (int64_t c = 0; c < 3; ++c) {
              if (depthwise && c != o / 4) continue;
              sum += static_cast<double>(
                         image.data<float>()[((n * kImage[1] + h) * kImage[2] + w) * 3 + c]) *
                     window.data<float>()[(k * 3 + c) * 4 + o % 4];
            }
          }
          out.push_back(static_cast<float>(sum));
        }
      }
    }
  }
  return out;
}

void ExpectNear(const std::vector<float>& found, const std::vector<float>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-5) << i;
}

const std::vector<Dilated>& Joined() {
  static const std::vector<Dilated> cases = {
      {{2, 3}, {2, 3, 1, 3}, {0, 1, 0, 1}},  // SAME
      {{2, 4}, {0, 1, 0, 0}, {0, 1, 0, 0}},  // VALID
      {{2, 1}, {3, 2, 2, 0}, {1, 0, 0, 0}},  // more rows than with SAME
  };
  return cases;
}

TEST(DilatedConvolutionsTest, AreJoined) {
  for (const char* op : {"Conv2D", "DepthwiseConv2dNative"}) {
    for (const Dilated& d : Joined()) {
      const Result r = RunDilated(op, d);
      EXPECT_FALSE(Has(r, "SpaceToBatchND") || Has(r, "BatchToSpaceND")) << r.plan;
      ExpectNear(r.values[0], Directly(*op == 'D', d));
    }
  }
}

TEST(DilatedConvolutionsTest, AreJoinedForAnyBatch) {
  const std::string shape = "dim { size: -1 } dim { size: 7 } dim { size: 8 } dim { size: 3 }";
  for (const Dilated& d : Joined()) {
    const Result r = RunDilated("Conv2D", d, {"y:0"}, shape);
    EXPECT_FALSE(Has(r, "SpaceToBatchND")) << r.plan;
    ExpectNear(r.values[0], Directly(false, d));
  }
}

TEST(DilatedConvolutionsTest, OthersStay) {
  const Dilated more_crops = {{2, 3}, {0, 1, 0, 1}, {1, 1, 0, 1}};
  Result r = RunDilated("Conv2D", more_crops);
  EXPECT_TRUE(Has(r, "SpaceToBatchND")) << r.plan;
  ExpectNear(r.values[0], Directly(false, more_crops));
  // Somebody wants the images apart.
  r = RunDilated("Conv2D", Joined()[0], {"y:0", "conv:0"});
  EXPECT_TRUE(Has(r, "SpaceToBatchND")) << r.plan;
  ExpectNear(r.values[0], Directly(false, Joined()[0]));
}

TEST(DilatedConvolutionsTest, SizesThatAreNoMultiplesStayErrors) {
  GraphText g;
  g.Input("x").Floats("w", Values(kWindow));
  Apart(g, {{2, 3}, {0, 0, 0, 1}, {0, 0, 0, 0}}).Node("conv", "Conv2D", {"apart", "w"}, kValid);
  auto model = LoadGraphDef(Together(g, "conv").text());
  ASSERT_TRUE(model.ok()) << model.status();
  const auto y = model->Prune({"x:0"}, {"y:0"})({{"x:0", Values(kImage)}});
  EXPECT_EQ(y.status().code(), StatusCode::kInvalidArgument) << y.status();
}

// As Keras writes a convolution of sequences: the same sums, with one row.
TEST(DilatedConvolutionsTest, OfSequences) {
  const Tensor x = Values({2, 9, 3}, 2, 19), w = Values({1, 3, 3, 4}), bias = Values({4});
  GraphText g;
  g.Input("x").Floats("w", w).Floats("bias", bias).Int("one", 1);
  Apart(g, {{2}, {4, 1}, {0, 1}});
  g.Node("image", "ExpandDims", {"apart", "one"}, kDim);
  g.Node("conv", "Conv2D", {"image", "w"}, kValid).Node("rows", "Squeeze", {"conv"}, kSqueeze);
  g.Node("biased", "BiasAdd", {"rows", "bias"});
  const Result r = RunGraph(Together(g, "biased"), {{"x:0", x}}, {"y:0"});
  EXPECT_FALSE(Has(r, "SpaceToBatchND") || Has(r, "BatchToSpaceND")) << r.plan;
  std::vector<float> expected;
  for (int64_t n = 0; n < 2; ++n) {
    for (int64_t i = 0; i < 9; ++i) {
      for (int64_t o = 0; o < 4; ++o) {
        double sum = bias.data<float>()[o];
        for (int64_t k = 0; k < 3; ++k) {
          const int64_t from = i - 4 + 2 * k;
          for (int64_t c = 0; from >= 0 && c < 3; ++c) {
            sum += static_cast<double>(x.data<float>()[(n * 9 + from) * 3 + c]) *
                   w.data<float>()[(k * 3 + c) * 4 + o];
          }
        }
        expected.push_back(static_cast<float>(sum));
      }
    }
  }
  ExpectNear(r.values[0], expected);
}

}  // namespace
}  // namespace savedmodel
