// Convolutions with as many groups as channels run as depthwise ones; the numbers are the sums.
#include <gtest/gtest.h>

#include <string>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

constexpr int kHeight = 5, kWidth = 6;

// A 3 x 3 convolution, without padding, of an image of `channels` with filters of `depth` channels.
Result RunConv(int channels, int depth, int out,
               const std::string& strides = "i: 1 i: 1 i: 1 i: 1") {
  GraphText g;
  g.Input("x", "dim { size: -1 } dim { size: 5 } dim { size: 6 } dim { size: " +
                   std::to_string(channels) + " }");
  g.Floats("f", Values({3, 3, depth, out}, 2, 89));
  g.Node("y", "Conv2D", {"x", "f"},
         GraphText::Attr("strides", "list { " + strides + " }") +
             GraphText::Attr("padding", "s: 'VALID'"));
  return RunGraph(g, {{"x:0", Values({1, kHeight, kWidth, channels}, 3, 101)}}, {"y:0"});
}

void ExpectSums(const Result& r, int channels, int depth, int out) {
  const Tensor x = Values({1, kHeight, kWidth, channels}, 3, 101);
  const Tensor f = Values({3, 3, depth, out}, 2, 89);
  ASSERT_EQ(r.values[0].size(), static_cast<size_t>((kHeight - 2) * (kWidth - 2) * out));
  for (int i = 0; i < (kHeight - 2) * (kWidth - 2) * out; ++i) {
    const int top = i / out / (kWidth - 2), left = i / out % (kWidth - 2), o = i % out;
    const int first = o / (out * depth / channels) * depth;  // channel of the group
    double sum = 0;
    for (int k = 0; k < 9 * depth; ++k) {
      const int h = top + k / depth / 3, w = left + k / depth % 3, c = k % depth;
      sum += double{x.data<float>()[(h * kWidth + w) * channels + first + c]} *
             f.data<float>()[k * out + o];
    }
    EXPECT_NEAR(r.values[0][static_cast<size_t>(i)], sum, 1e-5) << i;
  }
}

TEST(AsDepthwiseTest, OneChannelAGroup) {
  for (const int out : {7, 14}) {
    const Result r = RunConv(7, 1, out);
    EXPECT_TRUE(Has(r, "DepthwiseConv2dNative")) << r.plan;
    ExpectSums(r, 7, 1, out);
  }
}

TEST(AsDepthwiseTest, OthersStay) {
  const Result groups = RunConv(8, 2, 12), one = RunConv(1, 1, 3);
  EXPECT_TRUE(Has(groups, "Conv2D") && Has(one, "Conv2D")) << groups.plan << one.plan;
  ExpectSums(groups, 8, 2, 12);
  ExpectSums(one, 1, 1, 3);
  EXPECT_TRUE(Has(RunConv(7, 1, 7, "i: 1 i: 1 i: 2 i: 1"), "Conv2D"));
}

// Conv2D refuses a filter without elements, which DepthwiseConv2dNative takes.
TEST(AsDepthwiseTest, EmptyFiltersStayErrors) {
  GraphText g;
  g.Input("x").Floats("f", Values({0, 3, 1, 4}));
  g.Node("y", "Conv2D", {"x", "f"},
         GraphText::Attr("strides", "list { i: 1 i: 1 i: 1 i: 1 }") +
             GraphText::Attr("padding", "s: 'SAME'"));
  auto model = LoadGraphDef(g.text());
  ASSERT_TRUE(model.ok()) << model.status();
  const auto y = model->Prune({"x:0"}, {"y:0"})({{"x:0", Values({1, 5, 6, 4})}});
  EXPECT_EQ(y.status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace savedmodel
