// Blocks of mobile networks in one op; expected values by the sums that convolutions stand for.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

constexpr int kSize = 65, kIn = 4, kWide = 48, kBatch = 2;

std::string Attrs(int stride, const std::string& padding) {
  const std::string s = std::to_string(stride);
  return GraphText::Attr("strides", "list { i: 1 i: " + s + " i: " + s + " i: 1 }") +
         GraphText::Attr("padding", "s: '" + padding + "'");
}

// Numbers that text of six digits holds exactly.
Tensor Exact(const Shape& shape, int period) {
  std::vector<float> v(static_cast<size_t>(shape.num_elements()));
  for (size_t i = 0; i < v.size(); ++i) {
    v[i] = static_cast<float>(static_cast<int>(i * 7 % period) - period / 2) / 64;
  }
  return *Tensor::FromVector(v, shape);
}

double Limited(double v) { return std::clamp(v, 0.0, 6.0); }

struct Case {
  int window, stride;
  bool narrows;
  bool is_stem = false;  // the first convolution is one of 3x3 pixels with stride 2
};

class DepthwiseBlockTest : public testing::TestWithParam<Case> {
 protected:
  // The first convolution with its bias.
  double First(int n, int row, int column, int c) const {
    double sum = b1.data<float>()[c];
    for (int tap = 0; tap < first_window * first_window; ++tap) {
      const int h = row * first_stride - first_window / 2 + tap / first_window;
      const int w = column * first_stride - first_window / 2 + tap % first_window;
      if (h < 0 || h >= in_size || w < 0 || w >= in_size) continue;
      for (int k = 0; k < kIn; ++k) {
        sum += x.data<float>()[((n * in_size + h) * in_size + w) * kIn + k] *
               f1.data<float>()[(tap * kIn + k) * kWide + c];
      }
    }
    return sum;
  }

  // The wide values behind the depthwise convolution, SAME padding: [batch][out][out][kWide].
  std::vector<double> Wide(int out) const {
    std::vector<double> first(kBatch * kSize * kSize * kWide), y(kBatch * out * out * kWide);
    for (size_t i = 0; i < first.size(); ++i) {
      const int pixel = static_cast<int>(i / kWide);
      first[i] = Limited(First(pixel / kSize / kSize, pixel / kSize % kSize, pixel % kSize,
                               static_cast<int>(i % kWide)));
    }
    const int window = GetParam().window, stride = GetParam().stride;
    const int before = std::max((out - 1) * stride + window - kSize, 0) / 2;
    for (size_t i = 0; i < y.size(); ++i) {
      const int c = i % kWide, w = i / kWide % out, h = i / kWide / out % out;
      const int n = static_cast<int>(i / kWide / out / out);
      double sum = b2.data<float>()[c];
      for (int kh = 0; kh < window; ++kh) {
        for (int kw = 0; kw < window; ++kw) {
          const int ih = h * stride - before + kh, iw = w * stride - before + kw;
          if (ih < 0 || ih >= kSize || iw < 0 || iw >= kSize) continue;
          sum += first[((n * kSize + ih) * kSize + iw) * kWide + c] *
                 f2.data<float>()[(kh * window + kw) * kWide + c];
        }
      }
      y[i] = Limited(sum);
    }
    return y;
  }

  const int first_window = GetParam().is_stem ? 3 : 1, first_stride = GetParam().is_stem ? 2 : 1;
  const int in_size = (kSize - 1) * first_stride + 1;
  const Tensor x = Exact({kBatch, in_size, in_size, kIn}, 101);
  const Tensor f1 = Exact({first_window, first_window, kIn, kWide}, 53);
  const Tensor f2 = Exact({GetParam().window, GetParam().window, kWide, 1}, 31);
  const Tensor f3 = Exact({1, 1, kWide, kIn}, 29);
  const Tensor b1 = Exact({kWide}, 17), b2 = Exact({kWide}, 19), b3 = Exact({kIn}, 5);
};

TEST_P(DepthwiseBlockTest, IsTheThreeConvolutions) {
  const Case& c = GetParam();
  const bool residual = c.narrows && c.stride == 1 && !c.is_stem;
  GraphText g;
  g.Input("x").Floats("f1", f1).Floats("f2", f2).Floats("f3", f3);
  g.Floats("b1", b1).Floats("b2", b2).Floats("b3", b3);
  g.Node("e", "Conv2D", {"x", "f1"}, Attrs(first_stride, c.is_stem ? "SAME" : "VALID"));
  g.Node("eb", "BiasAdd", {"e", "b1"});
  g.Node("er", "Relu6", {"eb"});
  g.Node("d", "DepthwiseConv2dNative", {"er", "f2"}, Attrs(c.stride, "SAME"));
  g.Node("db", "BiasAdd", {"d", "b2"}).Node("dr", "Relu6", {"db"});
  g.Node("p", "Conv2D", {"dr", "f3"}, Attrs(1, "SAME")).Node("pb", "BiasAdd", {"p", "b3"});
  g.Node("y", "AddV2", {"pb", "x"});
  const std::string output = residual ? "y:0" : c.narrows ? "pb:0" : "dr:0";
  const Result r = RunGraph(g, {{"x:0", x}}, {output});
  EXPECT_TRUE(Has(r, "_DepthwiseBlock")) << r.plan;
  EXPECT_FALSE(Has(r, "Conv2D")) << r.plan;

  const int out = (kSize + c.stride - 1) / c.stride;
  const std::vector<double> wide = Wide(out);
  const size_t channels = c.narrows ? kIn : kWide;
  ASSERT_EQ(r.values[0].size(), wide.size() / kWide * channels);
  for (size_t i = 0; i < r.values[0].size(); ++i) {
    double expected = wide[std::min(i, wide.size() - 1)];
    if (c.narrows) {
      expected = b3.data<float>()[i % kIn] + (residual ? x.data<float>()[i] : 0);
      for (int k = 0; k < kWide; ++k) {
        expected += wide[i / kIn * kWide + k] * f3.data<float>()[k * kIn + i % kIn];
      }
    }
    ASSERT_NEAR(r.values[0][i], expected, 2e-5) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Windows, DepthwiseBlockTest,
                         testing::Values(Case{3, 1, true}, Case{3, 2, true}, Case{5, 1, false},
                                         Case{5, 2, true}, Case{7, 1, true}, Case{3, 2, false},
                                         Case{3, 1, true, true}, Case{3, 1, false, true}));

}  // namespace
}  // namespace savedmodel
