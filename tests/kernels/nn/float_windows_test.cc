// What moves windows over floats, in the compute core, against the same op of doubles, which does
// without; and normalisation over channels against its definition.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

std::string List(const std::string& key, std::vector<int> values) {
  std::string list = "list {";
  for (const int v : values) list += " i: " + std::to_string(v);
  return GraphText::Attr(key, list + " }");
}
std::string Type(const std::string& key, const std::string& dtype) {
  return GraphText::Attr(key, "type: DT_" + dtype);
}

// `op` of x and, if it has one, a constant filter: in float, and in double, rounded.
Result RunBoth(const std::string& op, const std::string& attrs, const Tensor& x,
               const Tensor* filter) {
  GraphText g;
  g.Input("x").Bare("xd", "Cast", {"x"}, Type("SrcT", "FLOAT") + Type("DstT", "DOUBLE"));
  std::vector<std::string> floats = {"x"}, doubles = {"xd"};
  if (filter != nullptr) {
    g.Floats("f", *filter)
        .Bare("fd", "Cast", {"f"}, Type("SrcT", "FLOAT") + Type("DstT", "DOUBLE"));
    floats.push_back("f");
    doubles.push_back("fd");
  }
  g.Bare("y", op, floats, Type("T", "FLOAT") + attrs);
  g.Bare("yd", op, doubles, Type("T", "DOUBLE") + attrs);
  g.Bare("z", "Cast", {"yd"}, Type("SrcT", "DOUBLE") + Type("DstT", "FLOAT"));
  return RunGraph(g, {{"x:0", x}}, {"y:0", "z:0"});
}

void ExpectAlike(const Result& r) {
  ASSERT_EQ(r.values.size(), 2u);
  ASSERT_EQ(r.values[0].size(), r.values[1].size());
  for (size_t i = 0; i < r.values[0].size(); ++i) {
    const float y = r.values[0][i], expected = r.values[1][i];
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(y)) << i;
    } else if (std::isinf(expected)) {
      ASSERT_EQ(y, expected) << i;
    } else {
      ASSERT_NEAR(y, expected, 1e-5) << i;
    }
  }
}

std::string Padding(const std::string& padding) {
  return GraphText::Attr("padding", "s: '" + padding + "'");
}

TEST(FloatWindowsTest, Pools) {
  for (const char* op : {"MaxPool", "AvgPool"}) {
    for (const char* padding : {"SAME", "VALID"}) {
      for (const int channels : {3, 20, 64}) {
        for (const int window : {1, 2, 3, 5}) {
          for (const int stride : {1, 2, 4}) {
            SCOPED_TRACE(testing::Message() << op << " " << padding << " " << channels << " "
                                            << window << " " << stride);
            ExpectAlike(RunBoth(op,
                                List("ksize", {1, window, window, 1}) +
                                    List("strides", {1, stride, stride, 1}) + Padding(padding),
                                Values({2, 7, 9, channels}, 1, 61), nullptr));
          }
        }
      }
    }
  }
}

TEST(FloatWindowsTest, DepthwiseWithMultipliersAndDilations) {
  for (const int multiplier : {1, 2, 3, 4}) {
    for (const int dilation : {1, 2, 3, 11}) {
      for (const int window : {3, 5, 7}) {
        for (const int channels : {5, 16}) {
          SCOPED_TRACE(testing::Message()
                       << multiplier << " " << dilation << " " << window << " " << channels);
          const Tensor filter = Values({window, window, channels, multiplier}, 1, 59);
          ExpectAlike(RunBoth("DepthwiseConv2dNative",
                              List("strides", {1, 1, 1, 1}) +
                                  List("dilations", {1, dilation, dilation, 1}) + Padding("SAME"),
                              Values({2, 9, 10, channels}, 1, 61), &filter));
        }
      }
    }
  }
}

TEST(FloatWindowsTest, DepthwiseWithMultiplierAndStride) {
  for (const int window : {1, 2, 3}) {
    const Tensor filter = Values({window, window, 18, 2}, 1, 59);
    ExpectAlike(RunBoth("DepthwiseConv2dNative", List("strides", {1, 2, 2, 1}) + Padding("SAME"),
                        Values({2, 9, 10, 18}, 1, 61), &filter));
  }
}

TEST(FloatWindowsTest, Groups) {
  for (const int groups : {2, 3, 8}) {
    for (const int columns : {2, 4, 5}) {
      SCOPED_TRACE(testing::Message() << groups << " " << columns);
      const Tensor filter = Values({3, 3, 4, groups * columns}, 1, 59);
      const std::string attrs = List("strides", {1, 1, 1, 1}) + Padding("SAME");
      Tensor x = Values({2, 6, 7, 4 * groups}, 1, 61);
      ExpectAlike(RunBoth("Conv2D", attrs, x, &filter));
      // What is not finite stays in its group.
      std::vector<float> values(x.values<float>().begin(), x.values<float>().end());
      values[50] = std::numeric_limits<float>::infinity();
      ExpectAlike(RunBoth("Conv2D", attrs, *Tensor::FromVector(values, x.shape()), &filter));
    }
  }
}

// TensorFlow's sizes: rounded towards zero, so that a window may be too large by less than two
// strides. `outputs` is -1 where it refuses the window.
TEST(FloatWindowsTest, WindowsThatDoNotFit) {
  struct Case {
    int rows, window, stride, outputs;
  };
  for (const Case& c : {Case{2, 3, 1, 0},
                        {1, 3, 1, -1},
                        {1, 3, 2, 0},
                        {0, 3, 3, 0},
                        {1, 4, 2, 0},
                        {0, 4, 2, -1},
                        {4, 4, 2, 1}}) {
    const std::string strides = List("strides", {1, c.stride, 1, 1}) + Padding("VALID");
    const std::string windows = List("ksize", {1, c.window, 1, 1});
    GraphText g;
    g.Input("x").Floats("f", Values({c.window, 1, 2, 3}));
    g.Node("conv", "Conv2D", {"x", "f"}, strides).Node("pool", "AvgPool", {"x"}, windows + strides);
    g.Node("patches", "ExtractImagePatches", {"x"},
           List("ksizes", {1, c.window, 1, 1}) + List("rates", {1, 1, 1, 1}) + strides);
    const auto model = LoadGraphDef(g.text());
    ASSERT_TRUE(model.ok()) << model.status();
    for (const char* y : {"conv:0", "pool:0", "patches:0"}) {
      SCOPED_TRACE(testing::Message() << y << " " << c.rows << " " << c.window << " " << c.stride);
      const auto found = model->Prune({"x:0"}, {y})({{"x:0", Values({1, c.rows, 5, 2})}});
      ASSERT_EQ(found.ok(), c.outputs >= 0) << found.status();
      if (found.ok()) EXPECT_EQ(found->at(y).shape()[1], c.outputs);
    }
  }
}

// Of short runs, in panels of one to four vectors with and without pairs.
TEST(FloatWindowsTest, FewChannels) {
  for (const int channels : {1, 3, 4}) {
    for (const int columns : {7, 16, 24, 40, 64, 70}) {
      for (const int stride : {1, 2}) {
        SCOPED_TRACE(testing::Message() << channels << " " << columns << " " << stride);
        const std::string padding = Padding(stride == 1 ? "VALID" : "SAME");
        const Tensor filter = Values({3, 3, channels, columns}, 0.2f, 66);
        ExpectAlike(RunBoth("Conv2D", List("strides", {1, stride, stride, 1}) + padding,
                            Values({2, 15, 17, channels}, 1, 65), &filter));
      }
    }
    const Tensor filter = Values({2, 3, 3, channels, 20}, 0.2f, 66);
    ExpectAlike(RunBoth("Conv3D", List("strides", {1, 1, 1, 1, 1}) + Padding("SAME"),
                        Values({1, 4, 9, 8, channels}, 1, 65), &filter));
  }
}

TEST(FloatWindowsTest, LocalResponseNormalisation) {
  for (const int channels : {1, 7, 40}) {
    for (const int radius : {0, 2, 5, 100}) {
      for (const double beta : {0.5, 0.75, 1.0}) {
        SCOPED_TRACE(testing::Message() << channels << " " << radius << " " << beta);
        const Tensor x = Values({2, 5, 37, channels}, 3, 61);
        GraphText g;
        g.Input("x").Node("y", "LRN", {"x"},
                          GraphText::Attr("depth_radius", "i: " + std::to_string(radius)) +
                              GraphText::Attr("bias", "f: 1.5") +
                              GraphText::Attr("alpha", "f: 0.3") +
                              GraphText::Attr("beta", "f: " + std::to_string(beta)));
        const std::vector<float> y = RunGraph(g, {{"x:0", x}}, {"y:0"}).values[0];
        for (int64_t i = 0; i < x.num_elements(); ++i) {
          const int64_t pixel = i / channels * channels;
          double sum = 0;
          for (int64_t c = std::max(pixel, i - radius);
               c < std::min<int64_t>(pixel + channels, i + radius + 1); ++c) {
            sum += static_cast<double>(x.data<float>()[c]) * x.data<float>()[c];
          }
          ASSERT_NEAR(y[i], x.data<float>()[i] * std::pow(1.5 + 0.3 * sum, -beta), 2e-6) << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace savedmodel
