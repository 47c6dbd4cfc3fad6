// Products of the compute core against plain loops, on the level that SAVEDMODEL_ISA picks.
#include "src/kernels/isa/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "savedmodel/thread_pool.h"
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
        expected_a_(a_),
        expected_b_(b_),
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
      sum += static_cast<double>(expected_a_[row * k_ + k]) *
             expected_b_[k * GetParam().columns + column];
    }
    return -std::clamp(sum, 0.0, 6.0);
  }

  // The product with B as `view` or packed.
  std::vector<float> Run(const MatrixView& view, const PackedMatrix* packed) {
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
    return c;
  }

  void Check(const MatrixView& view, const PackedMatrix* packed) {
    const Sizes& s = GetParam();
    const std::vector<float> c = Run(view, packed);
    const double tolerance = 1e-6 * static_cast<double>(k_) + 1e-6;
    for (int64_t row = 0; row < s.rows; ++row) {
      for (int64_t column = 0; column < s.columns; ++column) {
        ASSERT_NEAR(c[row * s.columns + column], Expected(row, column), tolerance)
            << "at " << row << ", " << column;
      }
    }
  }

  int64_t k_;
  std::vector<float> a_, b_, expected_a_, expected_b_, bias_, residual_;
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

// To the nearest bfloat16, ties to even.
float Rounded(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  bits += 0x7fff + ((bits >> 16) & 1);
  bits &= 0xffff0000;
  std::memcpy(&x, &bits, sizeof(bits));
  return x;
}

TEST_P(GemmTest, InBFloat16WhereTheProcessorCan) {
  const MatrixView view{b_.data(), GetParam().columns, 1};
  auto packed = PackedMatrix::Pack(view, k_, GetParam().columns, Precision::kBFloat16);
  ASSERT_TRUE(packed.ok());
  ASSERT_EQ(packed->is_bfloat16(), BFloat16s() != nullptr);
  if (packed->is_bfloat16()) {
    std::transform(a_.begin(), a_.end(), expected_a_.begin(), Rounded);
    std::transform(b_.begin(), b_.end(), expected_b_.begin(), Rounded);
  }
  Check({}, &*packed);
}

TEST_P(GemmTest, AreTheSameForAnyNumberOfThreads) {
  for (const Precision precision : {Precision::kFloat32, Precision::kBFloat16}) {
    const MatrixView view{b_.data(), GetParam().columns, 1};
    auto packed = PackedMatrix::Pack(view, k_, GetParam().columns, precision);
    ASSERT_TRUE(packed.ok());
    const std::vector<float> alone = Run({}, &*packed);
    for (const int threads : {2, 5}) {
      const auto pool = MakeThreadPool(threads);
      run_.pool = pool.get();
      EXPECT_EQ(Run({}, &*packed), alone) << threads;
      run_.pool = nullptr;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, GemmTest,
                         testing::Values(Sizes{1, 1, 1, 1}, Sizes{1, 70, 1, 2000},
                                         Sizes{7, 64, 1, 0}, Sizes{5, 17, 1, 33},
                                         Sizes{100, 70, 9, 50}, Sizes{30, 33, 3, 1300},
                                         Sizes{401, 48, 1, 600}, Sizes{13, 128, 49, 3},
                                         Sizes{1000, 20, 1, 65}, Sizes{60, 1000, 1, 200}));

}  // namespace
}  // namespace savedmodel
