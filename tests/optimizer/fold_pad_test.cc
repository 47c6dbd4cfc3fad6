// Zeros that an op puts around an image become the padding of the convolution or the pooling behind
// it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

const std::string kValid = GraphText::Attr("strides", "list { i: 1 i: 2 i: 2 i: 1 }") +
                           GraphText::Attr("padding", "s: 'VALID'");
const std::string kPaddings = GraphText::Attr("Tpaddings", "type: DT_INT32");

// 3 x 3 sums of a 4 x 5 image of ones, one row and column of `around` before and two after it.
std::vector<float> Sums(double around) {
  std::vector<float> sums;
  for (int top = -1; top + 3 <= 6; top += 2) {
    for (int left = -1; left + 3 <= 7; left += 2) {
      double sum = 0;
      for (int h = top; h < top + 3; ++h) {
        for (int w = left; w < left + 3; ++w) {
          sum += h >= 0 && h < 4 && w >= 0 && w < 5 ? 1 : around;
        }
      }
      sums.push_back(static_cast<float>(sum));
    }
  }
  return sums;
}

Result RunPadded(const std::string& op, double around) {
  const std::vector<float> image(20, 1), ones(9, 1);
  GraphText g;
  g.Input("x").Floats("f", *Tensor::FromVector(ones, {3, 3, 1, 1})).Number("around", around);
  g.Ints("amounts", {0, 0, 1, 2, 1, 2, 0, 0}, {4, 2});
  g.Node("p", "PadV2", {"x", "amounts", "around"}, kPaddings);
  g.Node("y", op, {"p", "f"}, kValid);
  return RunGraph(g, {{"x:0", *Tensor::FromVector(image, {1, 4, 5, 1})}}, {"y:0"});
}

TEST(FoldPadTest, ZerosBecomePadding) {
  for (const char* op : {"Conv2D", "DepthwiseConv2dNative"}) {
    const Result r = RunPadded(op, 0);
    EXPECT_FALSE(Has(r, "PadV2")) << r.plan;
    EXPECT_EQ(r.values[0], Sums(0)) << op;
  }
}

TEST(FoldPadTest, OtherNumbersStay) {
  const Result r = RunPadded("Conv2D", 0.5);
  EXPECT_TRUE(Has(r, "PadV2")) << r.plan;
  EXPECT_EQ(r.values[0], Sums(0.5));
}

// Sums of three of a sequence of ones, two zeros before it, as causal convolutions have them.
TEST(FoldPadTest, OfSequences) {
  GraphText g;
  g.Input("x").Floats("f", *Tensor::FromVector(std::vector<float>(3, 1), {1, 3, 1, 1}));
  g.Ints("amounts", {0, 0, 2, 0, 0, 0}, {3, 2}).Int("one", 1);
  g.Node("p", "Pad", {"x", "amounts"}, kPaddings);
  g.Node("image", "ExpandDims", {"p", "one"}, GraphText::Attr("Tdim", "type: DT_INT32"));
  g.Node("y", "Conv2D", {"image", "f"},
         GraphText::Attr("strides", "list { i: 1 i: 1 i: 1 i: 1 }") +
             GraphText::Attr("padding", "s: 'VALID'"));
  const Tensor x = *Tensor::FromVector(std::vector<float>(5, 1), {1, 5, 1});
  Result r = RunGraph(g, {{"x:0", x}}, {"y:0"});
  EXPECT_FALSE(Has(r, "Pad")) << r.plan;
  EXPECT_EQ(r.values[0], (std::vector<float>{1, 2, 3, 3, 3}));
  // Somebody else wants the image.
  r = RunGraph(g, {{"x:0", x}}, {"y:0", "image:0"});
  EXPECT_TRUE(Has(r, "Pad")) << r.plan;
  EXPECT_EQ(r.values[0], (std::vector<float>{1, 2, 3, 3, 3}));
  EXPECT_EQ(r.values[1], (std::vector<float>{0, 0, 1, 1, 1, 1, 1}));
}

// What pooling pads by itself never is the largest; zeros are, of negative numbers and of what is
// no number. Sizes of images, windows and paddings: before and after.
struct PoolCase {
  int height, width, window, stride, before, after;
};

class PadOfMaxPool : public testing::TestWithParam<PoolCase> {
 protected:
  static constexpr int kChannels = 5;

  // The largest of a window of channel `c` whose first pixel is at (top, left), as TensorFlow's
  // loop finds it.
  float Largest(const std::vector<float>& x, int top, int left, int c) const {
    const PoolCase& p = GetParam();
    float largest = -std::numeric_limits<float>::infinity();
    for (int h = top; h < top + p.window; ++h) {
      for (int w = left; w < left + p.window; ++w) {
        const bool inside = h >= 0 && h < p.height && w >= 0 && w < p.width;
        const float value = inside ? x[(h * p.width + w) * kChannels + c] : 0;
        if (value > largest) largest = value;
      }
    }
    return largest;
  }
};

TEST_P(PadOfMaxPool, IsItsPadding) {
  const PoolCase& p = GetParam();
  GraphText g;
  g.Input("x").Ints("amounts", {0, 0, p.before, p.after, p.before, p.after, 0, 0}, {4, 2});
  g.Node("p", "Pad", {"x", "amounts"}, kPaddings);
  const auto list = [](const char* key, int n) {
    const std::string number = std::to_string(n);
    return GraphText::Attr(key, "list { i: 1 i: " + number + " i: " + number + " i: 1 }");
  };
  g.Node("y", "MaxPool", {"p"},
         list("ksize", p.window) + list("strides", p.stride) +
             GraphText::Attr("padding", "s: 'VALID'"));
  std::vector<float> x(p.height * p.width * kChannels);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = i % 7 == 3 ? std::nanf("") : -1 - std::fmod(i * 0.37f, 3.0f);
  const Result r =
      RunGraph(g, {{"x:0", *Tensor::FromVector(x, {1, p.height, p.width, kChannels})}}, {"y:0"});
  EXPECT_FALSE(Has(r, "Pad")) << r.plan;
  std::vector<float> expected;
  for (int top = -p.before; top + p.window <= p.height + p.after; top += p.stride) {
    for (int left = -p.before; left + p.window <= p.width + p.after; left += p.stride) {
      for (int c = 0; c < kChannels; ++c) expected.push_back(Largest(x, top, left, c));
    }
  }
  EXPECT_EQ(r.values[0], expected);
}

INSTANTIATE_TEST_SUITE_P(Sizes, PadOfMaxPool,
                         testing::Values(PoolCase{9, 11, 3, 2, 1, 1}, PoolCase{6, 5, 2, 1, 0, 1},
                                         PoolCase{7, 20, 3, 1, 2, 1}, PoolCase{4, 3, 2, 2, 4, 5},
                                         PoolCase{5, 1, 3, 1, 1, 1}, PoolCase{0, 3, 2, 1, 1, 1},
                                         PoolCase{3, 0, 2, 1, 2, 2}));

}  // namespace
}  // namespace savedmodel
