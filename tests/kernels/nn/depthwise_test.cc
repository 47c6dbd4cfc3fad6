// Depthwise convolutions of the compute core against the sum that they stand for, in double.
#include <gtest/gtest.h>

#include <vector>

#include "src/kernels/isa/vector_code.h"
#include "tests/kernels/random_floats.h"

namespace savedmodel {
namespace {

struct Sizes {
  int64_t height, width, channels, window_rows, window_columns, stride, dilation, before;
};

class DepthwiseTest : public testing::TestWithParam<Sizes> {};

TEST_P(DepthwiseTest, IsConvolution) {
  const Sizes& s = GetParam();
  const std::vector<float> x = Random(s.height * s.width * s.channels, 1);
  const std::vector<float> filter = Random(s.window_rows * s.window_columns * s.channels, 2);
  const std::vector<float> bias = Random(s.channels, 3);
  const int64_t reach = (s.window_columns - 1) * s.dilation + 1;
  const int64_t out_width = (s.width + 2 * s.before - reach) / s.stride + 1;
  // One row of outputs, whose first window row is outside the input.
  std::vector<const float*> rows(static_cast<size_t>(s.window_rows), nullptr);
  for (int64_t kh = 1; kh < s.window_rows; ++kh) rows[kh] = &x[(kh - 1) * s.width * s.channels];
  std::vector<float> y(static_cast<size_t>(out_width * s.channels), -1);
  Vectors().depthwise({.rows = rows.data(),
                       .window_rows = s.window_rows,
                       .window_columns = s.window_columns,
                       .channels = s.channels,
                       .in_width = s.width,
                       .out_width = out_width,
                       .stride = s.stride,
                       .dilation = s.dilation,
                       .left = -s.before,
                       .filter = filter.data(),
                       .out = y.data(),
                       .bias = bias.data()});
  for (int64_t column = 0; column < out_width; ++column) {
    for (int64_t c = 0; c < s.channels; ++c) {
      double sum = bias[c];
      for (int64_t kh = 1; kh < s.window_rows; ++kh) {
        for (int64_t kw = 0; kw < s.window_columns; ++kw) {
          const int64_t w = column * s.stride + kw * s.dilation - s.before;
          if (w < 0 || w >= s.width) continue;
          sum += static_cast<double>(rows[kh][w * s.channels + c]) *
                 filter[(kh * s.window_columns + kw) * s.channels + c];
        }
      }
      ASSERT_NEAR(y[column * s.channels + c], sum, 1e-5) << "column " << column << ", " << c;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, DepthwiseTest,
    testing::Values(Sizes{3, 14, 40, 3, 3, 1, 1, 1}, Sizes{3, 7, 67, 3, 3, 1, 1, 1},
                    Sizes{5, 15, 24, 5, 5, 1, 1, 2}, Sizes{3, 15, 33, 3, 3, 2, 1, 1},
                    Sizes{5, 12, 8, 5, 5, 2, 1, 2}, Sizes{3, 20, 48, 3, 3, 1, 2, 2},
                    Sizes{4, 3, 16, 4, 7, 1, 1, 3}, Sizes{3, 1, 5, 3, 3, 1, 1, 1}));

}  // namespace
}  // namespace savedmodel
