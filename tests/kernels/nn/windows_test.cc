// Runs of windows against the pixels that they stand for.
#include "src/kernels/nn/windows.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/kernels/random_floats.h"

namespace savedmodel {
namespace {

struct Sizes {
  int64_t height, width, channels, groups, window, stride, dilation, before, after;
};

class WindowsTest : public testing::TestWithParam<Sizes> {};

TEST_P(WindowsTest, RunsAreThePixelsOrZeros) {
  const Sizes& s = GetParam();
  WindowGeometry g;
  g.batch = 2;
  g.channels = s.channels;
  g.in = {1, s.height, s.width};
  g.window = {1, s.window, s.window};
  g.stride = {1, s.stride, s.stride};
  g.dilation = {1, s.dilation, s.dilation};
  g.before = {0, s.before, s.before};
  const int64_t rest = s.before + s.after - (s.window - 1) * s.dilation - 1;
  g.out = {1, (s.height + rest) / s.stride + 1, (s.width + rest) / s.stride + 1};
  const std::vector<float> x = Random(g.batch * g.in_pixels() * s.channels, 1);
  const int64_t depth = s.channels / s.groups, channel = s.channels - depth;  // the last group
  RunState run;
  OpContext context({}, {}, {}, run);
  const auto windows = Windows::Make(context, g, depth, x.data());
  ASSERT_TRUE(windows.ok()) << windows.status().ToString();
  ASSERT_EQ(windows->taps() * windows->depth(), g.taps() * depth);

  const int64_t pixels = g.batch * g.out_pixels(), first = g.out[2] / 2;
  std::vector<const float*> runs((pixels - first) * windows->taps());
  windows->FindRuns(channel, first, pixels, runs.data());
  for (int64_t pixel = first; pixel < pixels; ++pixel) {
    for (int64_t i = 0; i < g.taps() * depth; ++i) {
      const int64_t tap = i / depth, n = pixel / g.out_pixels();
      const int64_t h =
          pixel / g.out[2] % g.out[1] * s.stride - s.before + tap / s.window * s.dilation;
      const int64_t w = pixel % g.out[2] * s.stride - s.before + tap % s.window * s.dilation;
      const bool inside = h >= 0 && h < s.height && w >= 0 && w < s.width;
      const float* found = runs[(pixel - first) * windows->taps() + i / windows->depth()];
      ASSERT_EQ(
          found[i % windows->depth()],
          inside ? x[((n * s.height + h) * s.width + w) * s.channels + channel + i % depth] : 0)
          << "pixel " << pixel << ", number " << i;
    }
  }

  for (int64_t begin = first; windows->distances() != nullptr && begin < pixels;) {
    std::vector<const float*> first_runs(pixels - begin);
    const Product::Alike alike = windows->FindAlike(begin, pixels, first_runs.data());
    ASSERT_GT(alike.rows, 0);
    for (int64_t row = 0; alike.have_distances && row < alike.rows; ++row) {
      for (int64_t tap = 0; tap < windows->taps(); ++tap) {
        ASSERT_EQ(first_runs[row] + windows->distances()[tap],
                  runs[(begin + row - first) * windows->taps() + tap]);
      }
    }
    begin += alike.rows;
  }
}

// Pixels by themselves; few channels, whose runs are rows of windows: inside, over one end of the
// image's rows, over both; many channels; dilated; in groups.
INSTANTIATE_TEST_SUITE_P(
    Shapes, WindowsTest,
    testing::Values(Sizes{5, 6, 7, 1, 1, 1, 1, 0, 0}, Sizes{9, 8, 3, 1, 3, 2, 1, 0, 0},
                    Sizes{9, 8, 3, 1, 3, 2, 1, 0, 1}, Sizes{12, 11, 1, 1, 5, 1, 1, 2, 2},
                    Sizes{3, 2, 4, 1, 7, 1, 1, 3, 3}, Sizes{2, 3, 2, 1, 2, 1, 1, 4, 5},
                    Sizes{7, 7, 16, 1, 3, 2, 1, 1, 1}, Sizes{9, 9, 3, 1, 3, 1, 2, 2, 2},
                    Sizes{6, 5, 6, 2, 3, 1, 1, 1, 1}, Sizes{8, 8, 3, 1, 1, 2, 1, 0, 0}));

}  // namespace
}  // namespace savedmodel
