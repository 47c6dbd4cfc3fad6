// Functions of the compute core against those of double, on the level that SAVEDMODEL_ISA picks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "savedmodel/float16.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/small_floats.h"

namespace savedmodel {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

float FromBits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

// Floats of all magnitudes, many of them of moderate size, and those where functions change.
std::vector<float> Samples() {
  std::vector<float> x = {0.0f, -0.0f, kInfinity, -kInfinity,
                          std::numeric_limits<float>::quiet_NaN()};
  for (uint32_t i = 0; i < 80000; ++i) x.push_back(FromBits(i * 53687u));
  for (int i = -60000; i <= 60000; ++i) x.push_back(static_cast<float>(i) * 3.1e-4f);
  for (int i = 1; i <= 20000; ++i) {
    for (const float sign : {-1.0f, 1.0f}) {
      x.push_back(sign * static_cast<float>(i * 1.57079632679489662));
      x.push_back(sign * std::nextafter(1.0f, static_cast<float>(i % 3)));
    }
  }
  return x;
}

// The error in units of the last place that a float of that size has.
double ErrorOf(float got, double expected) {
  const float nearest = static_cast<float>(expected);
  if (std::isnan(expected)) return std::isnan(got) ? 0 : kInfinity;
  if (std::isinf(nearest) || std::isinf(got)) {
    // Beyond the largest by no more than a few units.
    if (got == nearest) return 0;
    const double largest = std::numeric_limits<float>::max();
    return std::abs(expected) > largest * (1 - 1e-6) && std::abs(expected) < largest * (1 + 1e-6)
               ? 0
               : kInfinity;
  }
  const double size = std::max(std::abs(expected), double{std::numeric_limits<float>::min()});
  return std::abs(got - expected) / std::ldexp(1.0, std::ilogb(size) - 23);
}

double Mish(double x) {
  const double e = std::exp(std::min(x, 300.0)), n = e * (e + 2);
  return x * (n / (n + 2));
}
double HardSigmoid(double x) { return std::min(std::max(x + 3, 0.0), 6.0) / 6; }
double HardSwish(double x) { return x * HardSigmoid(x); }
double Softplus(double x) { return std::log1p(std::exp(-std::abs(x))) + std::max(x, 0.0); }

struct Function {
  ScalarOp op;
  double (*exact)(double);
  double units;       // of the last place
  double unseen = 0;  // an error that is none
};

TEST(FunctionsTest, Unary) {
  const Function functions[] = {
      {ScalarOp::kSin, std::sin, 2},
      {ScalarOp::kCos, std::cos, 2},
      {ScalarOp::kTan, std::tan, 4},
      {ScalarOp::kAsin, std::asin, 4},
      {ScalarOp::kAcos, std::acos, 4},
      {ScalarOp::kAtan, std::atan, 4},
      {ScalarOp::kSinh, std::sinh, 4},
      {ScalarOp::kCosh, std::cosh, 4},
      {ScalarOp::kAsinh, std::asinh, 4},
      {ScalarOp::kAcosh, std::acosh, 4},
      {ScalarOp::kAtanh, std::atanh, 4},
      {ScalarOp::kSoftplus, Softplus, 5},
      {ScalarOp::kMish, Mish, 6, 2e-43},
      {ScalarOp::kHardSigmoid, HardSigmoid, 2},
      {ScalarOp::kHardSwish, HardSwish, 3, 2e-43},
  };
  const std::vector<float> x = Samples();
  std::vector<float> y(x.size());
  for (const Function& f : functions) {
    Vectors().map(f.op, 0, x.data(), y.data(), static_cast<int64_t>(x.size()));
    double worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = f.exact(x[i]), error = ErrorOf(y[i], expected);
      if (error > worst && !(std::abs(y[i] - expected) <= f.unseen)) worst = error, at = i;
    }
    EXPECT_LE(worst, f.units) << "function " << static_cast<int>(f.op) << " of " << x[at] << ": "
                              << y[at] << ", expected " << f.exact(x[at]);
  }
}

TEST(FunctionsTest, Atan2) {
  std::vector<float> values = {0,
                               -0.0f,
                               1e-45f,
                               -3e-45f,
                               1e-38f,
                               1,
                               -1,
                               0.4f,
                               -0.5f,
                               2.5f,
                               -7,
                               1e20f,
                               3e38f,
                               -2e38f,
                               kInfinity,
                               -kInfinity,
                               std::numeric_limits<float>::quiet_NaN()};
  for (int i = -40; i < 40; ++i) values.push_back(std::sin(i * 0.7f) * std::exp(i * 0.3f));
  std::vector<float> y, x;
  for (const float a : values) {
    for (const float b : values) y.push_back(a), x.push_back(b);
  }
  std::vector<float> z(x.size());
  ArrayStep step;
  step.op = ScalarOp::kAtan2;
  step.x = y.data();
  step.y = x.data();
  step.result = z.data();
  Vectors().run_steps(&step, 1, static_cast<int64_t>(z.size()));
  for (size_t i = 0; i < z.size(); ++i) {
    const double expected = std::atan2(double{y[i]}, double{x[i]});
    EXPECT_LE(ErrorOf(z[i], expected), 4) << y[i] << ", " << x[i] << ": " << z[i];
    if (expected == 0) {
      EXPECT_EQ(std::signbit(z[i]), std::signbit(expected)) << y[i] << ", " << x[i];
    }
  }
}

TEST(FunctionsTest, Doubles) {
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  const Function functions[] = {
      {ScalarOp::kSqrt, std::sqrt, 1},  {ScalarOp::kExp, std::exp, 3},
      {ScalarOp::kLog, std::log, 3},    {ScalarOp::kTanh, std::tanh, 4},
      {ScalarOp::kSigmoid, sigmoid, 4},
  };
  std::vector<double> x = {1e308, -1e308, 5e-324, 3e-310, 2.3e-308, 709.7, -708.5, 0.625, -745.2};
  for (const float v : Samples()) x.push_back(v);
  std::vector<double> y(x.size());
  const auto n = static_cast<int64_t>(x.size());
  for (const Function& f : functions) {
    ASSERT_TRUE(Vectors().map_doubles(f.op, x.data(), y.data(), n));
    double worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = f.exact(x[i]);
      const bool same = y[i] == expected || (std::isnan(y[i]) && std::isnan(expected));
      const double size = std::max(std::abs(expected), std::numeric_limits<double>::min());
      const double error =
          same ? 0 : std::abs(y[i] - expected) / std::ldexp(1.0, std::ilogb(size) - 52);
      if (!(error <= worst)) worst = error, at = i;
    }
    EXPECT_LE(worst, f.units) << "function " << static_cast<int>(f.op) << " of " << x[at];
  }
  EXPECT_FALSE(Vectors().map_doubles(ScalarOp::kGelu, x.data(), y.data(), n));
}

TEST(FunctionsTest, SignsOfZeros) {
  const std::vector<float> x(20, -0.0f);
  std::vector<float> y(x.size());
  for (const ScalarOp op : {ScalarOp::kSin, ScalarOp::kTan, ScalarOp::kAsin, ScalarOp::kAtan,
                            ScalarOp::kSinh, ScalarOp::kAsinh, ScalarOp::kAtanh}) {
    Vectors().map(op, 0, x.data(), y.data(), static_cast<int64_t>(x.size()));
    for (const float v : y) EXPECT_TRUE(v == 0 && std::signbit(v)) << static_cast<int>(op);
  }
}

TEST(FunctionsTest, SmallFloatsComeBack) {
  for (const DType dtype : {DType::kHalf, DType::kBFloat16}) {
    std::vector<uint16_t> bits(65536), back(bits.size());
    for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
    std::vector<float> wide(bits.size());
    WidenToFloats(dtype, bits.data(), 65536, wide.data());
    NarrowFloats(dtype, wide.data(), 65536, back.data());
    for (size_t i = 0; i < bits.size(); ++i) {
      const float expected = dtype == DType::kHalf ? float{half::FromBits(bits[i])}
                                                   : float{bfloat16::FromBits(bits[i])};
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(wide[i])) << i;
      } else {
        EXPECT_EQ(wide[i], expected) << i;
        EXPECT_EQ(back[i], bits[i]);
      }
    }
  }
}

TEST(FunctionsTest, SmallFloatsAreRounded) {
  std::vector<float> x = Samples();
  for (int i = 0; i < 3000; ++i) x.push_back(std::ldexp(static_cast<float>(i), -25));
  const auto n = static_cast<int64_t>(x.size());
  std::vector<uint16_t> y(x.size());
  NarrowFloats(DType::kHalf, x.data(), n, y.data());
  for (size_t i = 0; i < x.size(); ++i) {
    if (!std::isnan(x[i])) ASSERT_EQ(y[i], half(x[i]).bits) << x[i];
  }
  NarrowFloats(DType::kBFloat16, x.data(), n, y.data());
  for (size_t i = 0; i < x.size(); ++i) {
    if (!std::isnan(x[i])) ASSERT_EQ(y[i], bfloat16(x[i]).bits) << x[i];
  }
}

TEST(FunctionsTest, ArgBest) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const bool is_max : {true, false}) {
    const float far = is_max ? 5 : -5, worst = is_max ? -kInfinity : kInfinity;
    for (int64_t n = 1; n < 150; ++n) {
      std::vector<float> x(n, worst);
      EXPECT_EQ(Vectors().arg_best(is_max, x.data(), n), 0);
      x[n / 2] = x[n - 1] = far;
      if (n > 2) x[n / 2 - 1] = nan;
      EXPECT_EQ(Vectors().arg_best(is_max, x.data(), n), n / 2) << n;
    }
    // Column j has its best in row j % 7, and the same again in the last.
    for (int64_t columns = 1; columns < 150; ++columns) {
      const int64_t rows = 8;
      std::vector<float> x(rows * columns, nan);
      for (int64_t j = 0; j < columns; ++j) x[j % 7 * columns + j] = x[7 * columns + j] = far;
      std::vector<int32_t> at(columns);
      Vectors().arg_best_rows(is_max, x.data(), columns, rows, columns, at.data());
      for (int64_t j = 0; j < columns; ++j) EXPECT_EQ(at[j], j % 7) << j;
    }
  }
}

TEST(FunctionsTest, SoftmaxOfRowsAtATime) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const int64_t columns : {1, 3, 15, 16, 17, 64, 100, 5000}) {
    for (int64_t rows = 1; rows <= 9; ++rows) {
      std::vector<float> x(rows * columns);
      for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 37 % 101) / 9 - 5;
      x[2 % rows * columns + columns / 2] = nan;  // which must not reach other rows
      if (columns > 1) x[columns - 1] = -kInfinity;
      for (const bool log : {false, true}) {
        std::vector<float> y(x.size());
        Vectors().softmax(x.data(), y.data(), rows, columns, log);
        for (int64_t r = 0; r < rows; ++r) {
          const float* row = &x[r * columns];
          double largest = row[0], sum = 0;
          for (int64_t j = 1; j < columns; ++j) largest = std::max<double>(largest, row[j]);
          for (int64_t j = 0; j < columns; ++j) sum += std::exp(row[j] - largest);
          for (int64_t j = 0; j < columns; ++j) {
            const double expected =
                log ? row[j] - largest - std::log(sum) : std::exp(row[j] - largest) / sum;
            const float found = y[r * columns + j];
            if (r == 2 % rows) {
              EXPECT_TRUE(std::isnan(found)) << columns << " " << r << " " << j;
            } else if (std::isinf(expected)) {
              EXPECT_EQ(found, expected);
            } else {
              EXPECT_NEAR(found, expected, 2e-6 * std::max(std::abs(expected), log ? 1 : 1e-2))
                  << columns << " " << r << " " << j;
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace savedmodel
