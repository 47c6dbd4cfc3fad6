// Products of the compute core against plain loops, on the level that SAVEDMODEL_ISA picks.
#include "src/kernels/isa/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "savedmodel/thread_pool.h"
#include "tests/kernels/random_floats.h"
#include "tests/kernels/rounded_floats.h"

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
        expected_a_(a_.begin(), a_.end()),
        expected_b_(b_.begin(), b_.end()),
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
      sum += expected_a_[row * k_ + k] * expected_b_[k * GetParam().columns + column];
    }
    return -std::clamp(sum, 0.0, 6.0);
  }

  // The product with B as `view` or packed.
  std::vector<float> Run(const MatrixView& view, const PackedMatrix* packed,
                         bool has_distances = false) {
    const Sizes& s = GetParam();
    std::vector<float> c(static_cast<size_t>(s.rows * s.columns), -1);
    const auto runs = [&](int64_t begin, int64_t end, const float** out) {
      for (int64_t row = begin; row < end; ++row) {
        for (int64_t t = 0; t < s.taps; ++t) *out++ = a_.data() + row * k_ + t * s.depth;
      }
    };
    std::vector<int64_t> distances;
    for (int64_t t = 0; t < s.taps; ++t) distances.push_back(t * s.depth);
    const auto find_alike = [&](int64_t begin, int64_t end, const float** first_runs) {
      for (int64_t row = begin; row < end; ++row) *first_runs++ = a_.data() + row * k_;
      return Product::Alike{end - begin, true};
    };
    const Product::FindAlike alike(find_alike);
    RunProduct(context_, {.rows = s.rows,
                          .columns = s.columns,
                          .taps = s.taps,
                          .depth = s.depth,
                          .runs = runs,
                          .distances = has_distances ? distances.data() : nullptr,
                          .alike = &alike,
                          .packed = packed,
                          .b = view,
                          .c = c.data(),
                          .c_stride = s.columns,
                          .epilogue = &epilogue_});
    return c;
  }

  void Check(const MatrixView& view, const PackedMatrix* packed) {
    Check(view, packed, 1e-6 * static_cast<double>(k_) + 1e-6);
  }

  void Check(const MatrixView& view, const PackedMatrix* packed, double tolerance) {
    const Sizes& s = GetParam();
    const std::vector<float> c = Run(view, packed);
    for (int64_t row = 0; row < s.rows; ++row) {
      for (int64_t column = 0; column < s.columns; ++column) {
        ASSERT_NEAR(c[row * s.columns + column], Expected(row, column), tolerance)
            << "at " << row << ", " << column;
      }
    }
  }

  // B, and A where the processor multiplies such numbers, are rounded.
  void ExpectBFloat16() {
    if (Reduced(Precision::kBFloat16) != nullptr) {
      std::transform(a_.begin(), a_.end(), expected_a_.begin(), Rounded);
    }
    std::transform(b_.begin(), b_.end(), expected_b_.begin(), Rounded);
  }

  int64_t k_;
  std::vector<float> a_, b_, bias_, residual_;
  std::vector<double> expected_a_, expected_b_;
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

// A view by rows, by columns and by neither, each times a scale of its columns.
TEST_P(GemmTest, PackedTimesScales) {
  const int64_t columns = GetParam().columns;
  const std::vector<float> scales = Random(columns, 7);
  std::vector<float> by_columns(b_.size()), sparse(2 * b_.size());
  for (int64_t k = 0; k < k_; ++k) {
    for (int64_t j = 0; j < columns; ++j) {
      const float value = b_[k * columns + j];
      by_columns[j * k_ + k] = sparse[2 * (k * columns + j)] = value;
      expected_b_[k * columns + j] = static_cast<double>(value) * scales[j];
    }
  }
  for (const MatrixView& view : {MatrixView{b_.data(), columns, 1},
                                 {by_columns.data(), 1, k_},
                                 {sparse.data(), 2 * columns, 2}}) {
    const auto packed = PackedMatrix::Pack(view, k_, columns, Precision::kFloat32, scales.data());
    ASSERT_TRUE(packed.ok()) << packed.status();
    Check({}, &*packed);
  }
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

// Where the processor does not multiply it, large constants are rounded, and widened again.
TEST_P(GemmTest, InBFloat16) {
  const MatrixView view{b_.data(), GetParam().columns, 1};
  auto packed = PackedMatrix::Pack(view, k_, GetParam().columns, Precision::kBFloat16);
  ASSERT_TRUE(packed.ok());
  const bool multiplies = Reduced(Precision::kBFloat16) != nullptr;
  const bool is_rounded = multiplies || k_ * GetParam().columns >= 128 * 1024;
  ASSERT_EQ(packed->precision() == Precision::kBFloat16, is_rounded);
  if (is_rounded) ExpectBFloat16();
  Check({}, &*packed);
}

// Even one whose upper bits alone would be infinity.
TEST_P(GemmTest, NotANumberInBFloat16) {
  const int64_t columns = GetParam().columns;
  if (k_ == 0) return;
  const uint32_t bits = 0x7f800001;
  std::memcpy(&b_[0], &bits, sizeof(bits));
  auto packed = PackedMatrix::Pack({b_.data(), columns, 1}, k_, columns, Precision::kBFloat16);
  ASSERT_TRUE(packed.ok());
  const std::vector<float> c = Run({}, &*packed);
  for (int64_t i = 0; i < GetParam().rows * columns; ++i) {
    ASSERT_EQ(std::isnan(c[i]), i % columns == 0) << i;
  }
}

// The values of `n` numbers of int8, `stride` apart, signed or in the range of the row.
void QuantizeColumn(const float* x, int64_t n, int64_t stride, double* y) {
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(x[i * stride]));
  const float scale = largest / 127;
  for (int64_t i = 0; i < n; ++i) {
    y[i * stride] = static_cast<double>(scale) * std::nearbyint(x[i * stride] * (1 / scale));
  }
}
void QuantizeRow(const float* x, int64_t n, double* y) {
  float low = 0, high = 0;
  for (int64_t i = 0; i < n; ++i) low = std::min(low, x[i]), high = std::max(high, x[i]);
  const float scale = (high - low) * (1.0f / 255), zero = std::nearbyint(-low * (1 / scale));
  for (int64_t i = 0; i < n; ++i) {
    const float number = std::min(std::nearbyint(x[i] * (1 / scale)) + zero, 255.0f);
    y[i] = static_cast<double>(scale) * (number - zero);
  }
}

// Sums of whole numbers are exact, so that only the scales and the epilogue round.
TEST_P(GemmTest, InInt8WhereTheProcessorCan) {
  const Sizes& s = GetParam();
  auto packed = PackedMatrix::Pack({b_.data(), s.columns, 1}, k_, s.columns, Precision::kInt8);
  ASSERT_TRUE(packed.ok());
  ASSERT_EQ(packed->precision() == Precision::kInt8, Reduced(Precision::kInt8) != nullptr);
  if (packed->precision() != Precision::kInt8) return Check({}, &*packed);
  for (int64_t row = 0; row < s.rows; ++row) {
    QuantizeRow(a_.data() + row * k_, k_, expected_a_.data() + row * k_);
  }
  for (int64_t column = 0; column < s.columns; ++column) {
    QuantizeColumn(b_.data() + column, k_, s.columns, expected_b_.data() + column);
  }
  Check({}, &*packed, 2e-5);
}

TEST_P(GemmTest, AreTheSameForAnyNumberOfThreads) {
  for (const Precision precision : {Precision::kFloat32, Precision::kBFloat16, Precision::kInt8}) {
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

// Products of few steps are passes over many rows unless something is added to the sums.
TEST_P(GemmTest, WithoutResidual) {
  epilogue_.steps.erase(epilogue_.steps.begin());
  std::fill(residual_.begin(), residual_.end(), 0.0f);
  for (const Precision precision : {Precision::kFloat32, Precision::kBFloat16}) {
    const MatrixView view{b_.data(), GetParam().columns, 1};
    auto packed = PackedMatrix::Pack(view, k_, GetParam().columns, precision);
    ASSERT_TRUE(packed.ok());
    if (packed->precision() == Precision::kBFloat16) ExpectBFloat16();
    Check({}, &*packed);
    const std::vector<float> alone = Run({}, &*packed);
    const auto pool = MakeThreadPool(3);
    run_.pool = pool.get();
    EXPECT_EQ(Run({}, &*packed), alone);
    run_.pool = nullptr;
  }
}

// Rows whose runs are at the same distances have passes of their own.
TEST_P(GemmTest, IsTheSameByDistances) {
  epilogue_.steps.erase(epilogue_.steps.begin());
  auto packed = PackedMatrix::Pack({b_.data(), GetParam().columns, 1}, k_, GetParam().columns);
  ASSERT_TRUE(packed.ok());
  const std::vector<float> by_runs = Run({}, &*packed);
  EXPECT_EQ(Run({}, &*packed, true), by_runs);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, GemmTest,
    testing::Values(Sizes{1, 1, 1, 1}, Sizes{1, 70, 1, 2000}, Sizes{7, 64, 1, 0},
                    Sizes{5, 17, 1, 33}, Sizes{100, 70, 9, 50}, Sizes{30, 33, 3, 1300},
                    Sizes{401, 48, 1, 600}, Sizes{13, 128, 49, 3}, Sizes{1000, 20, 1, 65},
                    Sizes{60, 1000, 1, 200}, Sizes{1, 512, 1, 900}, Sizes{11, 520, 2, 140},
                    Sizes{29, 24, 1, 700}, Sizes{70, 40, 2, 21}, Sizes{7, 88, 1, 1600},
                    Sizes{49, 160, 1, 40}, Sizes{1231, 90, 1, 16}, Sizes{2345, 40, 1, 16},
                    Sizes{1771, 13, 1, 32}, Sizes{4, 620, 2, 1300}, Sizes{501, 64, 1, 20},
                    Sizes{290, 30, 1, 12}, Sizes{333, 24, 3, 9}, Sizes{250, 14, 5, 3}));

// Rows of `depth` floats times a matrix in int8, without anything behind it.
std::vector<float> Multiply(const std::vector<float>& a, const PackedMatrix& b, int64_t depth,
                            int64_t columns) {
  RunState run;
  OpContext context({}, {}, {}, run);
  const int64_t rows = static_cast<int64_t>(a.size()) / depth;
  std::vector<float> c(static_cast<size_t>(rows * columns), -1);
  const EvenRuns runs{a.data(), depth};
  RunProduct(context, {.rows = rows,
                       .columns = columns,
                       .depth = depth,
                       .runs = runs,
                       .packed = &b,
                       .c = c.data(),
                       .c_stride = columns});
  return c;
}

class Int8Test : public testing::Test {
 protected:
  void SetUp() override {
    if (Reduced(Precision::kInt8) == nullptr) GTEST_SKIP() << "no products of int8 here";
  }
};

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST_F(Int8Test, RowsThatAreNotFiniteGiveNaN) {
  constexpr int64_t kDepth = 45;  // the last number is alone in its vector
  std::vector<float> b = Random(kDepth * 3, 1);
  for (int64_t k = 0; k < kDepth; ++k) b[k * 3 + 1] = 0;
  const auto packed = *PackedMatrix::Pack({b.data(), 3, 1}, kDepth, 3, Precision::kInt8);
  for (const float bad : {kInfinity, -kInfinity, std::nanf("")}) {
    for (const int64_t at : {0, 17, 44}) {
      std::vector<float> a = Random(3 * kDepth, 2);
      const std::vector<float> good = Multiply(a, packed, kDepth, 3);
      a[kDepth + at] = bad;
      std::vector<float> c = Multiply(a, packed, kDepth, 3);
      for (int64_t i = 0; i < 9; ++i) {
        if (i / 3 == 1) {
          EXPECT_TRUE(std::isnan(c[i])) << bad << " at " << at << ": " << c[i];
        } else {
          EXPECT_EQ(c[i], good[i]);
        }
      }
    }
  }
}

// Rows whose values are all the ends of their ranges have no error but the rounding of scales.
TEST_F(Int8Test, RowsOfOneValue) {
  constexpr int64_t kDepth = 18, kColumns = 20;
  std::vector<float> b(kDepth * kColumns, 0.25f);
  for (int64_t k = 0; k < kDepth; ++k) b[k * kColumns + 7] = 0;
  const auto packed =
      *PackedMatrix::Pack({b.data(), kColumns, 1}, kDepth, kColumns, Precision::kInt8);
  const std::vector<float> values = {0, 0.5f, -3, 1e30f, -1e-30f, 1e-44f, -0.0f};
  std::vector<float> a;
  for (const float value : values) a.insert(a.end(), kDepth, value);
  const std::vector<float> c = Multiply(a, packed, kDepth, kColumns);
  for (size_t i = 0; i < c.size(); ++i) {
    const float expected = i % kColumns == 7 ? 0 : values[i / kColumns] * 0.25f * kDepth;
    EXPECT_NEAR(c[i], expected, 1e-6 * std::abs(expected) + 1e-40) << i;
  }
}

// 5 and -5 are 127.5 steps of 10 / 255 from zero, which is 128: 5 would be 256, and is 255.
TEST_F(Int8Test, NumbersEndAt255) {
  constexpr int64_t kDepth = 34;
  std::vector<float> a(kDepth), b(kDepth * 2);
  for (int64_t k = 0; k < kDepth; ++k) {
    a[k] = k % 2 == 0 ? 5 : -5;
    b[k * 2 + k % 2] = 1;
  }
  const auto packed = *PackedMatrix::Pack({b.data(), 2, 1}, kDepth, 2, Precision::kInt8);
  const std::vector<float> c = Multiply(a, packed, kDepth, 2);
  EXPECT_NEAR(c[0], kDepth / 2 * 127 * 10 / 255.0, 1e-4);
  EXPECT_NEAR(c[1], kDepth / 2 * -128 * 10 / 255.0, 1e-4);
}

// The largest depth whose sums cannot overflow, at the limits of the sums; beyond, float32.
TEST_F(Int8Test, DepthIsLimitedByTheSums) {
  constexpr int64_t kMost = 66311;  // 255 * 127 * kMost < 2^31
  for (const int64_t depth : {kMost, kMost + 1}) {
    const std::vector<float> b(depth, 1);
    const auto packed = *PackedMatrix::Pack({b.data(), 1, 1}, depth, 1, Precision::kInt8);
    EXPECT_EQ(packed.precision(), depth == kMost ? Precision::kInt8 : Precision::kFloat32);
    std::vector<float> a(depth, 1);
    a.insert(a.end(), depth, -1);
    const std::vector<float> c = Multiply(a, packed, depth, 1);
    EXPECT_NEAR(c[0], depth, 1e-6 * depth);
    EXPECT_NEAR(c[1], -depth, 1e-6 * depth);
  }
}

TEST_F(Int8Test, AMatrixThatIsNotFiniteStaysInFloat32) {
  for (const float bad : {kInfinity, -kInfinity, std::nanf("")}) {
    std::vector<float> b = Random(40 * 70, 1);
    b[33 * 70 + 69] = bad;
    const auto packed = *PackedMatrix::Pack({b.data(), 70, 1}, 40, 70, Precision::kInt8);
    EXPECT_EQ(packed.precision(), Precision::kFloat32);
    const std::vector<float> c = Multiply(std::vector<float>(40, 1), packed, 40, 70);
    EXPECT_TRUE(std::isfinite(c[68]));
    EXPECT_TRUE(bad != bad ? std::isnan(c[69]) : c[69] == bad) << c[69];
  }
}

}  // namespace
}  // namespace savedmodel
