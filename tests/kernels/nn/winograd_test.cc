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
  int64_t batch, height, width, in, out;
  bool padded;
  WinogradTile tile;
  int64_t row_dilation = 1, column_dilation = 1;
  // Of a volume; where a plane is padded, as many planes are before and behind.
  int64_t planes = 1, window_planes = 1, plane_stride = 1, plane_dilation = 1, more_planes = 0;
};

class WinogradTest : public testing::TestWithParam<Sizes> {
 protected:
  WinogradTest() : context_({}, {}, {}, run_) {
    const Sizes& s = GetParam();
    g_.batch = s.batch;
    g_.channels = s.in;
    g_.in = {s.planes, s.height, s.width};
    g_.window = {s.window_planes, s.tile.window_rows, s.tile.window_columns};
    g_.dilation = {s.plane_dilation, s.row_dilation, s.column_dilation};
    g_.stride[0] = s.plane_stride;
    g_.before[0] = s.more_planes;
    const int64_t beyond_planes = (s.window_planes - 1) * s.plane_dilation;
    g_.out[0] = (s.planes + 2 * s.more_planes - beyond_planes - 1) / s.plane_stride + 1;
    for (int i = 1; i < 3; ++i) {
      const int64_t beyond = (g_.window[i] - 1) * g_.dilation[i];
      if (s.padded) g_.before[i] = beyond / 2;
      g_.out[i] = s.padded ? g_.in[i] : g_.in[i] - beyond;
    }
    x_ = Random(g_.batch * g_.in_pixels() * s.in, 1);
    filter_ = Random(g_.taps() * s.in * s.out, 2);
    bias_ = Random(s.out, 3);
    scale_ = Random(s.out, 5);
  }

  double Expected(int64_t pixel, int64_t o) const {
    const Sizes& s = GetParam();
    const int64_t n = pixel / g_.out_pixels(), od = pixel / (g_.out[1] * g_.out[2]) % g_.out[0],
                  oh = pixel / g_.out[2] % g_.out[1], ow = pixel % g_.out[2];
    double sum = bias_[o];
    for (int64_t tap = 0; tap < g_.taps(); ++tap) {
      const int64_t kd = tap / (g_.window[1] * g_.window[2]);
      const int64_t d = od * g_.stride[0] + kd * g_.dilation[0] - g_.before[0];
      const int64_t h = oh + tap / g_.window[2] % g_.window[1] * g_.dilation[1] - g_.before[1];
      const int64_t w = ow + tap % g_.window[2] * g_.dilation[2] - g_.before[2];
      if (d < 0 || d >= s.planes || h < 0 || h >= s.height || w < 0 || w >= s.width) continue;
      const int64_t in_pixel = ((n * s.planes + d) * s.height + h) * s.width + w;
      for (int64_t c = 0; c < s.in; ++c) {
        sum += static_cast<double>(x_[in_pixel * s.in + c]) *
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
  const auto packed =
      TransformWinogradFilter(s.tile, s.window_planes, filter_.data(), scale_.data(), s.in, s.out);
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
  RunWinograd(context_, g_, s.tile, *packed, s.out, x_.data(), epilogue, y.data());
  for (const int threads : {2, 5}) {
    const auto pool = MakeThreadPool(threads);
    run_.pool = pool.get();
    std::vector<float> divided(y.size(), -1);
    RunWinograd(context_, g_, s.tile, *packed, s.out, x_.data(), epilogue, divided.data());
    EXPECT_EQ(divided, y) << threads;
  }
  const double tolerance = 1e-6 * static_cast<double>(s.in * s.window_planes) + 1e-5;
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    for (int64_t o = 0; o < s.out; ++o) {
      const double expected = std::clamp(Expected(pixel, o), 0.0, 6.0) - other[pixel * s.out + o];
      ASSERT_NEAR(y[pixel * s.out + o], expected, tolerance) << "pixel " << pixel << ", " << o;
    }
  }
}

// The root of the mean square error is a millionth of that of the outputs, or less; sums of many
// products lose more, however they are made.
TEST_P(WinogradTest, LosesLittle) {
  const Sizes& s = GetParam();
  const auto packed =
      TransformWinogradFilter(s.tile, s.window_planes, filter_.data(), scale_.data(), s.in, s.out);
  ASSERT_TRUE(packed.ok()) << packed.status();
  Epilogue epilogue;
  epilogue.bias = bias_.data();
  std::vector<float> y(static_cast<size_t>(g_.batch * g_.out_pixels() * s.out));
  RunWinograd(context_, g_, s.tile, *packed, s.out, x_.data(), epilogue, y.data());
  double error = 0, whole = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    const double expected = Expected(static_cast<int64_t>(i) / s.out, i % s.out);
    error += (y[i] - expected) * (y[i] - expected);
    whole += expected * expected;
  }
  const double products = static_cast<double>(s.in * s.window_planes);
  EXPECT_LT(std::sqrt(error / whole), 1e-6 * std::sqrt(std::max(1.0, products / 256)));
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

StatusOr<Tensor> Convolve(const char* graph, const Tensor& x, const Tensor& filter) {
  const auto model = LoadGraphDef(graph, {}, {"", {{"f", filter}}});
  if (!model.ok()) return model.status();
  const auto y = model->Prune({"x"}, {"y"})({{"x", x}});
  if (!y.ok()) return y.status();
  return y->at("y");
}

// The convolution of `graph` with a filter of this value throughout.
StatusOr<Tensor> Convolve(const char* graph, const Tensor& x, const Shape& filter, float value) {
  const std::vector<float> values(static_cast<size_t>(filter.num_elements()), value);
  return Convolve(graph, x, *Tensor::FromVector(values, filter));
}

// Of groups so small that several are multiplied at once.
TEST(WinogradGroups, MeetOnlyTheirOwn) {
  constexpr int64_t kSize = 13, kGroups = 6, kIn = 5, kOut = 4;
  constexpr int64_t kChannels = kGroups * kIn, kOutChannels = kGroups * kOut;
  const std::vector<float> x = Random(kSize * kSize * kChannels, 1);
  const std::vector<float> filter = Random(9 * kIn * kOutChannels, 2);
  const auto y = Convolve(kConv2D, *Tensor::FromVector(x, Shape({1, kSize, kSize, kChannels})),
                          *Tensor::FromVector(filter, Shape({3, 3, kIn, kOutChannels})));
  ASSERT_TRUE(y.ok()) << y.status();
  for (int64_t i = 0; i < y->num_elements(); ++i) {
    const int64_t o = i % kOutChannels, column = i / kOutChannels % kSize,
                  row = i / kOutChannels / kSize;
    double sum = 0;
    for (int64_t tap = 0; tap < 9; ++tap) {
      const int64_t h = row + tap / 3 - 1, w = column + tap % 3 - 1;
      if (h < 0 || h >= kSize || w < 0 || w >= kSize) continue;
      for (int64_t c = 0; c < kIn; ++c) {
        sum += static_cast<double>(x[(h * kSize + w) * kChannels + o / kOut * kIn + c]) *
               filter[(tap * kIn + c) * kOutChannels + o];
      }
    }
    ASSERT_NEAR(y->data<float>()[i], sum, 2e-5) << i;
  }
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

// A volume: sums over as much of a window as is inside, through the whole of an op.
TEST(WinogradConv3D, OfSeveralPlanes) {
  constexpr int64_t kPlanes = 5, kSize = 12, kChannels = 16, kOut = 24;
  const Tensor x =
      *Tensor::FromVector(std::vector<float>(kPlanes * kSize * kSize * kChannels, 1.0f),
                          Shape({1, kPlanes, kSize, kSize, kChannels}));
  const auto y = Convolve(kConv3D, x, Shape({3, 3, 3, kChannels, kOut}), 0.5f);
  ASSERT_TRUE(y.ok()) << y.status();
  const auto inside = [](int64_t i, int64_t size) { return i == 0 || i == size - 1 ? 2 : 3; };
  for (int64_t d = 0; d < kPlanes; ++d) {
    for (int64_t h = 0; h < kSize; ++h) {
      for (int64_t w = 0; w < kSize; ++w) {
        const float expected = 8.0f * inside(d, kPlanes) * inside(h, kSize) * inside(w, kSize);
        const float* got = y->data<float>() + ((d * kSize + h) * kSize + w) * kOut;
        for (int64_t o = 0; o < kOut; ++o) {
          EXPECT_NEAR(got[o], expected, 1e-3) << d << ", " << h << ", " << w;
        }
      }
    }
  }
}

// The tile of a convolution without padding.
WinogradTile TileOf(int64_t height, int64_t width, int64_t channels, int64_t rows, int64_t columns,
                    int64_t groups = 1, int64_t dilation = 1) {
  WindowGeometry g;
  g.batch = 1;
  g.channels = channels;
  g.in = {1, height, width};
  g.out = {1, height - (rows - 1) * dilation, width - (columns - 1) * dilation};
  g.window = {1, rows, columns};
  g.dilation = {1, dilation, dilation};
  return FindWinogradTile(g, channels, groups);
}

// The tile of windows of 3 x 3 in `planes` planes, with padding.
WinogradTile TileOfVolume(int64_t size, int64_t in, int64_t out, int64_t planes) {
  WindowGeometry g;
  g.batch = 1;
  g.channels = in;
  g.in = g.out = {8, size, size};
  g.window = {planes, 3, 3};
  g.before = {planes / 2, 1, 1};
  return FindWinogradTile(g, out, 1);
}

TEST(FindWinogradTile, TakesWhatPaysInVolumes) {
  EXPECT_EQ(DebugString(TileOfVolume(28, 16, 32, 3)), "Winograd's F(4x4, 3x3)");
  EXPECT_EQ(DebugString(TileOfVolume(7, 32, 32, 3)), "Winograd's F(4x4, 3x3)");
  EXPECT_EQ(DebugString(TileOfVolume(5, 32, 32, 3)), "Winograd's F(2x2, 3x3)");
  EXPECT_EQ(DebugString(TileOfVolume(5, 32, 32, 1)), "Winograd's F(2x2, 3x3)");
  EXPECT_TRUE(TileOfVolume(28, 16, 16, 1));
  EXPECT_FALSE(TileOfVolume(28, 8, 16, 1));
  EXPECT_TRUE(TileOfVolume(28, 8, 16, 3));
  EXPECT_TRUE(TileOfVolume(28, 3, 16, 3));
  EXPECT_FALSE(TileOfVolume(28, 1, 4, 2));
  EXPECT_FALSE(TileOfVolume(3, 32, 32, 1));
}

TEST(FindWinogradTile, TakesWhatPays) {
  EXPECT_EQ(DebugString(TileOf(14, 14, 64, 3, 3)), "Winograd's F(4x4, 3x3)");
  EXPECT_EQ(DebugString(TileOf(9, 14, 64, 3, 3)), "Winograd's F(2x2, 3x3)");
  EXPECT_EQ(DebugString(TileOf(14, 14, 64, 5, 5)), "Winograd's F(2x2, 5x5)");
  EXPECT_EQ(DebugString(TileOf(1, 64, 64, 1, 3)), "Winograd's F(1x6, 1x3)");
  EXPECT_EQ(DebugString(TileOf(64, 1, 64, 4, 1)), "Winograd's F(5x1, 4x1)");
  EXPECT_EQ(DebugString(TileOf(17, 17, 192, 1, 7)), "Winograd's F(1x2, 1x7)");
  EXPECT_FALSE(TileOf(1, 64, 64, 1, 1));    // nothing to save
  EXPECT_FALSE(TileOf(1, 640, 64, 1, 8));   // no tile has such windows
  EXPECT_FALSE(TileOf(1, 640, 16, 1, 3));   // transforms would cost more
  EXPECT_FALSE(TileOf(1, 10, 128, 1, 3));   // of a filter that few tiles share
  EXPECT_FALSE(TileOf(1, 24, 1024, 1, 3));  // and that is far away
  EXPECT_TRUE(TileOf(1, 240, 1024, 1, 3));
  EXPECT_FALSE(TileOf(3, 3, 64, 3, 3));
  EXPECT_TRUE(TileOf(14, 14, 16, 3, 3));
  EXPECT_FALSE(TileOf(9, 14, 16, 3, 3));
  EXPECT_TRUE(TileOf(14, 14, 64, 3, 3, 8));
  EXPECT_FALSE(TileOf(14, 14, 24, 3, 3, 3));
  EXPECT_EQ(DebugString(TileOf(28, 28, 64, 3, 3, 1, 2)), "Winograd's F(4x4, 3x3)");
  EXPECT_EQ(DebugString(TileOf(28, 28, 64, 3, 3, 1, 3)), "Winograd's F(2x2, 3x3)");
  EXPECT_FALSE(TileOf(28, 28, 64, 3, 3, 1, 8));  // rows of two outputs in each phase
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

constexpr WinogradTile kSmall = {2, 2, 3, 3}, kLarge = {4, 4, 3, 3}, kWide = {2, 2, 5, 5};

INSTANTIATE_TEST_SUITE_P(
    Squares, WinogradTest,
    testing::Values(Sizes{1, 12, 12, 32, 32, true, kLarge}, Sizes{2, 13, 18, 37, 35, true, kLarge},
                    Sizes{1, 7, 7, 64, 40, true, kSmall}, Sizes{3, 6, 9, 33, 47, false, kSmall},
                    Sizes{1, 30, 14, 32, 65, false, kLarge},
                    Sizes{1, 26, 22, 32, 33, false, kLarge}, Sizes{2, 13, 18, 37, 35, true, kWide},
                    Sizes{1, 26, 7, 64, 40, false, kWide}));
INSTANTIATE_TEST_SUITE_P(Lines, WinogradTest,
                         testing::Values(Sizes{1, 1, 64, 64, 64, false, {1, 6, 1, 3}},
                                         Sizes{3, 1, 61, 37, 35, false, {1, 5, 1, 4}},
                                         Sizes{2, 1, 70, 33, 65, true, {1, 4, 1, 5}},
                                         Sizes{2, 13, 18, 37, 35, true, {1, 6, 1, 3}},
                                         Sizes{2, 18, 13, 32, 40, true, {6, 1, 3, 1}},
                                         Sizes{1, 17, 17, 48, 33, true, {2, 1, 7, 1}},
                                         Sizes{1, 17, 9, 48, 33, true, {3, 1, 6, 1}},
                                         Sizes{1, 19, 3, 3, 1, true, {4, 1, 5, 1}},
                                         Sizes{40, 4, 1, 40, 48, true, {7, 1, 2, 1}}));
INSTANTIATE_TEST_SUITE_P(Dilated, WinogradTest,
                         testing::Values(Sizes{2, 26, 29, 33, 35, true, kLarge, 2, 2},
                                         Sizes{1, 31, 20, 32, 40, false, kSmall, 5, 3},
                                         Sizes{1, 14, 30, 48, 33, true, kSmall, 1, 7},
                                         Sizes{1, 11, 12, 32, 32, false, kSmall, 4,
                                               5},  // phases without outputs
                                         Sizes{2, 1, 64, 37, 35, true, {1, 6, 1, 3}, 1, 4},
                                         Sizes{1, 40, 3, 32, 33, false, {5, 1, 4, 1}, 6, 1}));

INSTANTIATE_TEST_SUITE_P(
    Volumes, WinogradTest,
    testing::Values(Sizes{1, 14, 14, 16, 32, true, kLarge, 1, 1, 8, 3, 1, 1, 1},
                    Sizes{2, 22, 30, 3, 16, true, kLarge, 1, 1, 16, 3, 1, 1, 1},
                    Sizes{2, 13, 18, 20, 35, true, kLarge, 1, 1, 21, 3, 1, 1, 1},
                    Sizes{1, 12, 13, 17, 24, false, kLarge, 1, 1, 9, 3, 2, 1, 1},
                    Sizes{2, 9, 12, 24, 16, true, kSmall, 1, 1, 11, 2, 1, 3, 0},
                    Sizes{1, 14, 12, 300, 24, true, kLarge, 1, 1, 5, 4, 1, 1, 2},
                    Sizes{2, 9, 12, 19, 16, true, kWide, 2, 1, 4, 5, 1, 1, 4},
                    Sizes{2, 14, 12, 32, 33, true, kLarge, 1, 1, 5},
                    Sizes{2, 14, 12, 32, 33, true, kLarge, 1, 1, 5, 1, 2, 1, 0},
                    Sizes{1, 14, 12, 32, 33, true, kLarge, 1, 1, 5, 1, 3, 1, 2},
                    Sizes{1, 1, 64, 16, 24, true, {1, 6, 1, 3}, 1, 1, 6, 3, 1, 1, 1}));

}  // namespace
}  // namespace savedmodel
