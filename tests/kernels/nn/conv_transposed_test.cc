// Transposed convolutions, and convolutions with few output channels, against the sums that they
// stand for, in double.
#include "src/kernels/nn/conv_transposed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "src/kernels/nn/narrow_conv.h"
#include "tests/kernels/random_floats.h"

namespace savedmodel {
namespace {

struct Sizes {
  int64_t height, width, in_channels, out_channels, window_rows, window_columns, stride, dilation,
      before;
};

// The windows of a convolution with `channels` input channels.
WindowGeometry Geometry(const Sizes& s, int64_t channels) {
  WindowGeometry g;
  g.batch = 2;
  g.channels = channels;
  g.window = {1, s.window_rows, s.window_columns};
  g.stride = {1, s.stride, s.stride};
  g.dilation = {1, s.dilation, s.dilation};
  g.before = {0, s.before, s.before};
  return g;
}

class ConvSumsTest : public testing::TestWithParam<Sizes> {
 protected:
  ConvSumsTest()
      : s_(GetParam()),
        taps_(s_.window_rows * s_.window_columns),
        x_(Random(2 * s_.height * s_.width * s_.in_channels, 1)),
        filter_(Random(taps_ * s_.in_channels * s_.out_channels, 2)),
        bias_(Random(s_.out_channels, 3)) {}

  // `run(ctx, epilogue, y)` on one thread and on three against `sums`, the exact sums without the
  // bias: the bias, a product with one number for each element, and Relu follow.
  template <class F>
  void Check(const std::vector<double>& sums, F&& run) {
    const int64_t n = static_cast<int64_t>(sums.size());
    const std::vector<float> factors = Random(n, 4);
    Epilogue epilogue;
    epilogue.bias = bias_.data();
    epilogue.steps = {{.op = ScalarOp::kMul,
                       .operand = factors.data(),
                       .row_stride = s_.out_channels,
                       .column_stride = 1},
                      {.op = ScalarOp::kRelu}};
    std::vector<std::vector<float>> found;
    for (const int threads : {1, 3}) {
      const auto pool = MakeThreadPool(threads);
      RunState state;
      state.pool = pool.get();
      OpContext ctx({}, {}, {}, state);
      found.emplace_back(sums.size(), -1.0f);
      run(ctx, epilogue, found.back().data());
    }
    EXPECT_EQ(found[0], found[1]);
    const double most = 1e-6 * std::sqrt(static_cast<double>(taps_ * s_.in_channels));
    for (int64_t i = 0; i < n; ++i) {
      const double y = (sums[i] + bias_[i % s_.out_channels]) * factors[i];
      ASSERT_NEAR(found[0][i], std::max(y, 0.0), most) << i;
    }
  }

  const Sizes s_;
  const int64_t taps_;
  const std::vector<float> x_, filter_, bias_;
};

// Pixel i of the input meets tap k at output position i * stride - before + k * dilation.
TEST_P(ConvSumsTest, Transposed) {
  WindowGeometry g = Geometry(s_, s_.out_channels);
  g.out = {1, s_.height, s_.width};
  // One pixel more than the windows need, which none reaches.
  g.in = {1, (s_.height - 1) * s_.stride + (s_.window_rows - 1) * s_.dilation + 2 - 2 * s_.before,
          (s_.width - 1) * s_.stride + (s_.window_columns - 1) * s_.dilation + 2 - 2 * s_.before};
  const int64_t in = s_.in_channels, out = s_.out_channels;
  std::vector<double> sums(2 * g.in_pixels() * out);
  for (int64_t pixel = 0; pixel < 2 * g.out_pixels(); ++pixel) {
    for (int64_t tap = 0; tap < taps_; ++tap) {
      const int64_t h = pixel / s_.width % s_.height * s_.stride - s_.before +
                        tap / s_.window_columns * s_.dilation;
      const int64_t w =
          pixel % s_.width * s_.stride - s_.before + tap % s_.window_columns * s_.dilation;
      if (h < 0 || h >= g.in[1] || w < 0 || w >= g.in[2]) continue;
      const int64_t to = ((pixel / g.out_pixels() * g.in[1] + h) * g.in[2] + w) * out;
      for (int64_t o = 0; o < out; ++o) {
        for (int64_t i = 0; i < in; ++i) {
          sums[to + o] +=
              static_cast<double>(x_[pixel * in + i]) * filter_[(tap * out + o) * in + i];
        }
      }
    }
  }
  WindowAttrs attrs;
  attrs.window = g.window;
  attrs.stride = g.stride;
  attrs.dilation = g.dilation;
  const auto filter = TransposedFilter::Pack(
      attrs, *Tensor::FromVector(filter_, {s_.window_rows, s_.window_columns, out, in}));
  ASSERT_TRUE(filter.ok()) << filter.status();
  Check(sums, [&](OpContext& ctx, const Epilogue& epilogue, float* y) {
    const Status status = filter->Run(ctx, g, x_.data(), epilogue, y);
    EXPECT_TRUE(status.ok()) << status;
  });
}

// The same filter and image as a plain convolution with strides of 1, by sums of taps.
TEST_P(ConvSumsTest, Narrow) {
  WindowGeometry g = Geometry(s_, s_.in_channels);
  g.stride = {1, 1, 1};
  g.in = {1, s_.height, s_.width};
  g.out = {1, s_.height + 2 * s_.before - (s_.window_rows - 1) * s_.dilation,
           s_.width + 2 * s_.before - (s_.window_columns - 1) * s_.dilation};
  if (g.out[1] < 1 || g.out[2] < 1) return;
  const int64_t in = s_.in_channels, out = s_.out_channels;
  std::vector<double> sums(2 * g.out_pixels() * out);
  for (int64_t pixel = 0; pixel < 2 * g.out_pixels(); ++pixel) {
    for (int64_t tap = 0; tap < taps_; ++tap) {
      const int64_t h =
          pixel / g.out[2] % g.out[1] - s_.before + tap / s_.window_columns * s_.dilation;
      const int64_t w = pixel % g.out[2] - s_.before + tap % s_.window_columns * s_.dilation;
      if (h < 0 || h >= s_.height || w < 0 || w >= s_.width) continue;
      const int64_t from = ((pixel / g.out_pixels() * s_.height + h) * s_.width + w) * in;
      for (int64_t i = 0; i < in; ++i) {
        for (int64_t o = 0; o < out; ++o) {
          sums[pixel * out + o] +=
              static_cast<double>(x_[from + i]) * filter_[(tap * in + i) * out + o];
        }
      }
    }
  }
  const auto filter = PackNarrow(filter_.data(), taps_, in * out, in, out, out, 1, nullptr);
  ASSERT_TRUE(filter.ok()) << filter.status();
  Check(sums, [&](OpContext& ctx, const Epilogue& epilogue, float* y) {
    RunNarrow(ctx, NarrowGeometry::OfConv(g, out), *filter, x_.data(), epilogue, y);
  });
}

// Few channels and many; strides below, at and above the window; dilation that meets a stride's
// remainders unevenly; no window that fits inside; rows of several segments and images of several
// bands and blocks.
INSTANTIATE_TEST_SUITE_P(
    Shapes, ConvSumsTest,
    testing::Values(Sizes{7, 6, 8, 1, 3, 3, 1, 1, 1}, Sizes{9, 5, 12, 3, 5, 5, 1, 1, 2},
                    Sizes{5, 7, 16, 2, 4, 4, 2, 1, 1}, Sizes{6, 4, 7, 4, 2, 3, 3, 1, 0},
                    Sizes{4, 5, 9, 5, 3, 3, 2, 2, 1}, Sizes{3, 3, 20, 24, 3, 3, 2, 1, 0},
                    Sizes{4, 6, 5, 37, 4, 4, 2, 1, 1}, Sizes{3, 4, 6, 18, 2, 2, 3, 1, 0},
                    Sizes{5, 3, 10, 20, 3, 2, 1, 2, 0}, Sizes{2, 2, 8, 33, 1, 1, 2, 1, 0},
                    Sizes{3, 700, 8, 1, 3, 3, 1, 1, 1}, Sizes{80, 9, 4, 1, 3, 3, 1, 1, 1},
                    Sizes{70, 40, 4, 40, 2, 2, 2, 1, 0}, Sizes{6, 19, 24, 16, 4, 4, 2, 1, 1}));

}  // namespace
}  // namespace savedmodel
