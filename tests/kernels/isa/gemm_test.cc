// Products of the compute core against plain loops, on the level that SAVEDMODEL_ISA picks.
#include "src/kernels/isa/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/kernels/random_floats.h"

namespace savedmodel {
namespace {

struct Sizes {
  int64_t rows, columns, taps, depth;
};

class GemmTest : public testing::TestWithParam<Sizes> {
 protected:
  GemmTest()
      : k_(GetParam().taps * GetParam().depth),
        a_(Random(GetParam().rows * k_, 1)),
        b_(Random(k_ * GetParam().columns, 2)),
        bias_(Random(GetParam().columns, 3)),
        context_({}, {}, {}, run_) {
    // Done in registers: bias, residual, limits. Done behind them: the rest.
    residual_ = Random(GetParam().rows * GetParam().columns, 4);
    epilogue_.bias = bias_.data();
    epilogue_.steps = {{.op = ScalarOp::kAdd,
                        .operand = residual_.data(),
                        .row_stride = GetParam().columns,
                        .column_stride = 1},
                       {.op = ScalarOp::kRelu6},
                       {.op = ScalarOp::kNeg}};
  }

  // -relu6(a * b + bias + residual), in double.
  double Expected(int64_t row, int64_t column) const {
    double sum = bias_[column] + residual_[row * GetParam().columns + column];
    for (int64_t k = 0; k < k_; ++k) {
      sum += static_cast<double>(a_[row * k_ + k]) * b_[k * GetParam().columns + column];
    }
    return -std::clamp(sum, 0.0, 6.0);
  }

  // Runs the product with B as `view` or packed, and compares all of it.
  void Check(const MatrixView& view, const PackedMatrix* packed) {
    const Sizes& s = GetParam();
    std::vector<float> c(static_cast<size_t>(s.rows * s.columns), -1);
    const auto runs = [&](int64_t begin, int64_t end, const float** out) {
      for (int64_t row = begin; row < end; ++row) {
        for (int64_t t = 0; t < s.taps; ++t) *out++ = a_.data() + row * k_ + t * s.depth;
      }
    };
    RunProduct(context_, {.rows = s.rows,
                          .columns = s.columns,
                          .taps = s.taps,
                          .depth = s.depth,
                          .runs = runs,
                          .packed = packed,
                          .b = view,
                          .c = c.data(),
                          .c_stride = s.columns,
                          .epilogue = &epilogue_});
    const double tolerance = 1e-6 * static_cast<double>(k_) + 1e-6;
    for (int64_t row = 0; row < s.rows; ++row) {
      for (int64_t column = 0; column < s.columns; ++column) {
        ASSERT_NEAR(c[row * s.columns + column], Expected(row, column), tolerance)
            << "at " << row << ", " << column;
      }
    }
  }

  int64_t k_;
  std::vector<float> a_, b_, bias_, residual_;
  Epilogue epilogue_;
  RunState run_;
  OpContext context_;
};

TEST_P(GemmTest, PackedOnce) {
  const MatrixView view{b_.data(), GetParam().columns, 1};
  auto packed = PackedMatrix::Pack(view, k_, GetParam().columns);
  ASSERT_TRUE(packed.ok());
  Check({}, &*packed);
}

TEST_P(GemmTest, FromRows) { Check({b_.data(), GetParam().columns, 1}, nullptr); }

TEST_P(GemmTest, FromColumns) {
  std::vector<float> transposed(b_.size());
  for (int64_t k = 0; k < k_; ++k) {
    for (int64_t j = 0; j < GetParam().columns; ++j) {
      transposed[j * k_ + k] = b_[k * GetParam().columns + j];
    }
  }
  Check({transposed.data(), 1, k_}, nullptr);
}

INSTANTIATE_TEST_SUITE_P(Shapes, GemmTest,
                         testing::Values(Sizes{1, 1, 1, 1}, Sizes{1, 70, 1, 2000},
                                         Sizes{7, 64, 1, 0}, Sizes{5, 17, 1, 33},
                                         Sizes{100, 70, 9, 50}, Sizes{30, 33, 3, 1300},
                                         Sizes{401, 48, 1, 600}, Sizes{13, 128, 49, 3}));

}  // namespace
}  // namespace savedmodel
