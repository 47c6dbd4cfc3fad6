// Depthwise convolutions of the compute core against the sum that they stand for, in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "src/kernels/isa/vector_code.h"
#include "tests/kernels/random_floats.h"

namespace savedmodel {
namespace {

struct Sizes {
  int64_t width, channels, window_rows, window_columns, stride, dilation, before;
  int out_rows;
};

class DepthwiseTest : public testing::TestWithParam<Sizes> {};

TEST_P(DepthwiseTest, IsConvolution) {
  const Sizes& s = GetParam();
  // Row 0 of the input, which the first window starts with, is padding.
  const int64_t height = (s.out_rows - 1) * s.stride + (s.window_rows - 1) * s.dilation + 1;
  const std::vector<float> x = Random(height * s.width * s.channels, 1);
  const std::vector<float> filter = Random(s.window_rows * s.window_columns * s.channels, 2);
  const std::vector<float> bias = Random(s.channels, 3);
  const int64_t reach = (s.window_columns - 1) * s.dilation + 1;
  const int64_t out_width = (s.width + 2 * s.before - reach) / s.stride + 1;
  const int64_t rows_stride = s.dilation == 1 ? s.stride : s.window_rows;
  std::vector<const float*> rows((s.out_rows - 1) * rows_stride + s.window_rows);
  for (int64_t r = 0; r < s.out_rows; ++r) {
    for (int64_t k = 0; k < s.window_rows; ++k) {
      const int64_t h = r * s.stride + k * s.dilation;
      rows[r * rows_stride + k] = h == 0 ? nullptr : &x[h * s.width * s.channels];
    }
  }
  constexpr float kHigh = 0.7f;
  std::vector<float> y(static_cast<size_t>(s.out_rows * out_width * s.channels), -1);
  Vectors().depthwise({.rows = rows.data(),
                       .rows_stride = rows_stride,
                       .out_rows = s.out_rows,
                       .window_rows = s.window_rows,
                       .window_columns = s.window_columns,
                       .channels = s.channels,
                       .in_width = s.width,
                       .out_width = out_width,
                       .stride = s.stride,
                       .dilation = s.dilation,
                       .left = -s.before,
                       .column_step = s.channels,
                       .out_row_step = out_width * s.channels,
                       .filter = filter.data(),
                       .out = y.data(),
                       .bias = bias.data(),
                       .high = kHigh});
  for (int64_t i = 0; i < s.out_rows * out_width * s.channels; ++i) {
    const int64_t row = i / (out_width * s.channels), column = i / s.channels % out_width,
                  c = i % s.channels;
    double sum = bias[c];
    for (int64_t kh = 0; kh < s.window_rows; ++kh) {
      for (int64_t kw = 0; kw < s.window_columns; ++kw) {
        const int64_t h = row * s.stride + kh * s.dilation;
        const int64_t w = column * s.stride + kw * s.dilation - s.before;
        if (h == 0 || w < 0 || w >= s.width) continue;
        sum += static_cast<double>(x[(h * s.width + w) * s.channels + c]) *
               filter[(kh * s.window_columns + kw) * s.channels + c];
      }
    }
    ASSERT_NEAR(y[i], std::min<double>(sum, kHigh), 1e-5) << row << ", " << column << ", " << c;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, DepthwiseTest,
    testing::Values(Sizes{14, 40, 3, 3, 1, 1, 1, 2}, Sizes{7, 67, 3, 3, 1, 1, 1, 1},
                    Sizes{15, 24, 5, 5, 1, 1, 2, 2}, Sizes{15, 33, 3, 3, 2, 1, 1, 3},
                    Sizes{12, 16, 5, 5, 2, 1, 2, 2}, Sizes{20, 48, 3, 3, 1, 2, 2, 2},
                    Sizes{3, 16, 4, 7, 1, 1, 3, 3}, Sizes{1, 5, 3, 3, 1, 1, 1, 1},
                    Sizes{33, 16, 3, 3, 1, 1, 0, 4}, Sizes{29, 32, 5, 5, 1, 1, 1, 1},
                    Sizes{2, 16, 3, 3, 2, 1, 1, 2}, Sizes{30, 16, 3, 3, 4, 1, 1, 1},
                    Sizes{14, 148, 3, 3, 1, 1, 1, 5}, Sizes{9, 80, 5, 5, 2, 1, 2, 4},
                    Sizes{19, 35, 7, 7, 1, 1, 3, 3}));

}  // namespace
}  // namespace savedmodel
