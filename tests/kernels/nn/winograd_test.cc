// Winograd's convolutions against the sum that they stand for, in double.
#include "src/kernels/nn/winograd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "savedmodel/model.h"
#include "savedmodel/thread_pool.h"
#include "tests/kernels/random_floats.h"

namespace savedmodel {
namespace {

struct Sizes {
  int64_t batch, height, width, in, out, before;
  int m;
};

class WinogradTest : public testing::TestWithParam<Sizes> {
 protected:
  WinogradTest() : context_({}, {}, {}, run_) {
    const Sizes& s = GetParam();
    g_.batch = s.batch;
    g_.channels = s.in;
    g_.in = {1, s.height, s.width};
    g_.window = {1, 3, 3};
    g_.before = {0, s.before, s.before};
    g_.out = {1, s.height + 2 * s.before - 2, s.width + 2 * s.before - 2};
    x_ = Random(g_.batch * g_.in_pixels() * s.in, 1);
    filter_ = Random(9 * s.in * s.out, 2);
    bias_ = Random(s.out, 3);
    scale_ = Random(s.out, 5);
  }

  double Expected(int64_t pixel, int64_t o) const {
    const Sizes& s = GetParam();
    const int64_t n = pixel / g_.out_pixels(), oh = pixel / g_.out[2] % g_.out[1],
                  ow = pixel % g_.out[2];
    double sum = bias_[o];
    for (int64_t tap = 0; tap < 9; ++tap) {
      const int64_t h = oh + tap / 3 - s.before, w = ow + tap % 3 - s.before;
      if (h < 0 || h >= s.height || w < 0 || w >= s.width) continue;
      for (int64_t c = 0; c < s.in; ++c) {
        sum += static_cast<double>(x_[((n * s.height + h) * s.width + w) * s.in + c]) *
               filter_[(tap * s.in + c) * s.out + o] * scale_[o];
      }
    }
    return sum;
  }

  WindowGeometry g_;
  std::vector<float> x_, filter_, bias_, scale_;
  RunState run_;
  OpContext context_;
};

TEST_P(WinogradTest, IsConvolution) {
  const Sizes& s = GetParam();
  const auto packed = TransformWinogradFilter(filter_.data(), scale_.data(), s.in, s.out, s.m);
  ASSERT_TRUE(packed.ok()) << packed.status();
  const int64_t pixels = g_.batch * g_.out_pixels();
  // Relu6 of the sum, then minus itself at other pixels: steps in and behind the tiles.
  const std::vector<float> other = Random(pixels * s.out, 4);
  Epilogue epilogue;
  epilogue.bias = bias_.data();
  epilogue.steps = {
      {.op = ScalarOp::kRelu6},
      {.op = ScalarOp::kSub, .operand = other.data(), .row_stride = s.out, .column_stride = 1}};
  std::vector<float> y(static_cast<size_t>(pixels * s.out), -1);
  RunWinograd(context_, g_, s.m, *packed, s.out, x_.data(), epilogue, y.data());
  for (const int threads : {2, 5}) {
    const auto pool = MakeThreadPool(threads);
    run_.pool = pool.get();
    std::vector<float> divided(y.size(), -1);
    RunWinograd(context_, g_, s.m, *packed, s.out, x_.data(), epilogue, divided.data());
    EXPECT_EQ(divided, y) << threads;
  }
  const double tolerance = 1e-6 * static_cast<double>(s.in) + 1e-5;
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    for (int64_t o = 0; o < s.out; ++o) {
      const double expected = std::clamp(Expected(pixel, o), 0.0, 6.0) - other[pixel * s.out + o];
      ASSERT_NEAR(y[pixel * s.out + o], expected, tolerance) << "pixel " << pixel << ", " << o;
    }
  }
}

constexpr char kConv2D[] = R"(
  node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
  node { name: "f" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
  node { name: "y" op: "Conv2D" input: "x" input: "f" attr { key: "T" value { type: DT_FLOAT } }
    attr { key: "strides" value { list { i: 1 i: 1 i: 1 i: 1 } } }
    attr { key: "padding" value { s: "SAME" } } })";
constexpr char kConv3D[] = R"(
  node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
  node { name: "f" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
  node { name: "y" op: "Conv3D" input: "x" input: "f" attr { key: "T" value { type: DT_FLOAT } }
    attr { key: "strides" value { list { i: 1 i: 1 i: 1 i: 1 i: 1 } } }
    attr { key: "padding" value { s: "SAME" } } })";

// The convolution of `graph` with a filter of this value throughout.
StatusOr<Tensor> Convolve(const char* graph, const Tensor& x, const Shape& filter, float value) {
  const std::vector<float> values(static_cast<size_t>(filter.num_elements()), value);
  const auto model = LoadGraphDef(graph, {}, {"", {{"f", *Tensor::FromVector(values, filter)}}});
  if (!model.ok()) return model.status();
  const auto y = model->Prune({"x"}, {"y"})({{"x", x}});
  if (!y.ok()) return y.status();
  return y->at("y");
}

// Only outputs whose window holds the infinite number are infinite, and none is NaN.
TEST(WinogradNonFinite, StaysInItsWindows) {
  constexpr int64_t kSize = 16, kChannels = 32;
  std::vector<float> values(kSize * kSize * kChannels, 1.0f);
  values[(8 * kSize + 9) * kChannels] = std::numeric_limits<float>::infinity();
  const Tensor x = *Tensor::FromVector(values, Shape({1, kSize, kSize, kChannels}));
  const auto y = Convolve(kConv2D, x, Shape({3, 3, kChannels, kChannels}), 0.5f);
  ASSERT_TRUE(y.ok()) << y.status();
  for (int64_t h = 0; h < kSize; ++h) {
    for (int64_t w = 0; w < kSize; ++w) {
      const float got = y->data<float>()[(h * kSize + w) * kChannels];
      const bool near = std::abs(h - 8) <= 1 && std::abs(w - 9) <= 1;
      EXPECT_EQ(std::isinf(got), near) << h << ", " << w;
      EXPECT_FALSE(std::isnan(got)) << h << ", " << w;
    }
  }
}

// A volume one deep: 0.5 * 32 channels * as many ones as the window has inside.
TEST(WinogradConv3D, OfOneDeepVolume) {
  constexpr int64_t kSize = 12, kChannels = 32, kOut = 40;
  const Tensor x = *Tensor::FromVector(std::vector<float>(kSize * kSize * kChannels, 1.0f),
                                       Shape({1, 1, kSize, kSize, kChannels}));
  const auto y = Convolve(kConv3D, x, Shape({1, 3, 3, kChannels, kOut}), 0.5f);
  ASSERT_TRUE(y.ok()) << y.status();
  for (int64_t h = 0; h < kSize; ++h) {
    for (int64_t w = 0; w < kSize; ++w) {
      const int64_t rows = h == 0 || h == kSize - 1 ? 2 : 3,
                    columns = w == 0 || w == kSize - 1 ? 2 : 3;
      for (int64_t o = 0; o < kOut; ++o) {
        EXPECT_NEAR(y->data<float>()[(h * kSize + w) * kOut + o], 16.0f * rows * columns, 1e-3);
      }
    }
  }
}

TEST(AllFinite, SeesEachPlace) {
  const auto all_finite = [](const std::vector<float>& values) {
    return Vectors().all_finite(values.data(), static_cast<int64_t>(values.size()));
  };
  for (const float bad : {std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity(), std::nanf("")}) {
    for (size_t n = 0; n < 100; ++n) {
      std::vector<float> values(n, std::numeric_limits<float>::max());
      EXPECT_TRUE(all_finite(values));
      for (size_t i = 0; i < n; ++i) {
        values[i] = bad;
        EXPECT_FALSE(all_finite(values)) << n << " " << i;
        values[i] = -std::numeric_limits<float>::denorm_min();
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, WinogradTest,
                         testing::Values(Sizes{1, 12, 12, 32, 32, 1, 4},
                                         Sizes{2, 13, 18, 37, 35, 1, 4},
                                         Sizes{1, 7, 7, 64, 40, 1, 2}, Sizes{3, 6, 9, 33, 47, 0, 2},
                                         Sizes{1, 30, 14, 32, 65, 0, 4},
                                         Sizes{1, 26, 22, 32, 33, 0, 4},
                                         Sizes{1, 5, 5, 3, 1, 2, 4}));

}  // namespace
}  // namespace savedmodel
