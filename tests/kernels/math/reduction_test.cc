// Reductions of floats over outer dimensions, and over short rows with them. NaN is the maximum and
// minimum of a column that has one, as in TensorFlow.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "savedmodel/model.h"
#include "tests/kernels/random_floats.h"

namespace savedmodel {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Sizes {
  int64_t outer, rows, columns;
};

class OuterReductionTest : public testing::TestWithParam<Sizes> {
 protected:
  StatusOr<Tensor> Reduce(const std::string& op, const Tensor& x, int threads) {
    LoadOptions options;
    options.num_threads = threads;
    const auto model = LoadGraphDef(
        "node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } }\n"
        "node { name: 'axis' op: 'Const' attr { key: 'dtype' value { type: DT_INT32 } } "
        "attr { key: 'value' value { tensor { dtype: DT_INT32 tensor_shape {} int_val: 1 } } } }\n"
        "node { name: 'y' op: '" +
            op +
            "' input: 'x' input: 'axis' attr { key: 'T' value { type: DT_FLOAT } } "
            "attr { key: 'Tidx' value { type: DT_INT32 } } }",
        options);
    if (!model.ok()) return model.status();
    auto values = model->session().Run({{"x:0", x}}, {"y:0"});
    if (!values.ok()) return values.status();
    return values->front();
  }

  // `worse(a, b)`: b takes a's place.
  template <class F>
  void ExpectReduced(const std::string& op, float first, F&& worse) {
    const Sizes& s = GetParam();
    Tensor x = *Tensor::Allocate(DType::kFloat, Shape({s.outer, s.rows, s.columns}));
    float* p = static_cast<float*>(x.raw_mutable_data());
    const std::vector<float> values = Random(x.num_elements(), 7);
    std::copy(values.begin(), values.end(), p);
    // In one column each: NaN first, in the middle and last, and only infinite numbers.
    const auto column = [&](int64_t j) { return p + j % s.columns; };
    column(0)[0] = std::nanf("");
    column(2)[s.rows / 2 * s.columns] = std::nanf("");
    column(4)[(s.rows - 1) * s.columns] = std::nanf("");
    for (int64_t r = 0; r < s.rows; ++r) column(6)[r * s.columns] = first;
    for (const int threads : {1, 3}) {
      const auto y = Reduce(op, x, threads);
      ASSERT_TRUE(y.ok()) << y.status();
      ASSERT_EQ(y->shape(), Shape({s.outer, s.columns}));
      for (int64_t i = 0; i < y->num_elements(); ++i) {
        const float* from = p + i / s.columns * s.rows * s.columns + i % s.columns;
        float expected = first;
        for (int64_t r = 0; r < s.rows; ++r) {
          const float v = from[r * s.columns];
          if (std::isnan(v) || worse(expected, v)) expected = v;
          if (std::isnan(expected)) break;
        }
        const float got = y->data<float>()[i];
        EXPECT_TRUE(std::isnan(expected) ? std::isnan(got) : got == expected)
            << op << " of column " << i << ": " << got << ", expected " << expected;
      }
    }
  }
};

TEST_P(OuterReductionTest, Max) {
  ExpectReduced("Max", -kInfinity, [](float a, float b) { return a < b; });
}
TEST_P(OuterReductionTest, Min) {
  ExpectReduced("Min", kInfinity, [](float a, float b) { return b < a; });
}

using LongRowsTest = OuterReductionTest;

// Rows of one column each: the extreme wherever it is, and NaN wherever one is.
TEST_P(LongRowsTest, MaxAndMin) {
  const Sizes& s = GetParam();
  for (const float sign : {1.0f, -1.0f}) {
    for (const float special : {2.0f, std::nanf("")}) {
      for (int64_t at = 0; at < s.rows; at += 1 + s.rows / 97) {
        Tensor x = *Tensor::Allocate(DType::kFloat, Shape({1, s.rows, 1}));
        float* p = static_cast<float*>(x.raw_mutable_data());
        for (int64_t i = 0; i < s.rows; ++i) p[i] = sign * static_cast<float>(i % 5) / 4;
        p[at] = sign * special;
        const auto y = Reduce(sign > 0 ? "Max" : "Min", x, 1);
        ASSERT_TRUE(y.ok()) << y.status();
        const float got = *y->data<float>();
        ASSERT_TRUE(std::isnan(special) ? std::isnan(got) : got == sign * special) << at;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllSizes, LongRowsTest,
                         testing::Values(Sizes{1, 127, 1}, Sizes{1, 128, 1}, Sizes{1, 1000, 1},
                                         Sizes{1, 2048, 1}, Sizes{1, 9000, 1}));

INSTANTIATE_TEST_SUITE_P(AllSizes, OuterReductionTest,
                         testing::Values(Sizes{1, 2, 9}, Sizes{1, 62, 64}, Sizes{3, 130, 33},
                                         Sizes{2, 300, 7}, Sizes{1, 5000, 131}));

// Short rows whose elements, and all but one outer dimension, are reduced: [outer, rows, columns,
// run], as in group normalisation.
class RunsReductionTest : public testing::TestWithParam<std::pair<Sizes, int64_t>> {};

TEST_P(RunsReductionTest, SumMeanAndMax) {
  const auto& [s, run] = GetParam();
  const std::vector<float> x = Random(s.outer * s.rows * s.columns * run, 7);
  std::string graph =
      "node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } }\n"
      "node { name: 'axes' op: 'Const' attr { key: 'dtype' value { type: DT_INT32 } } "
      "attr { key: 'value' value { tensor { dtype: DT_INT32 tensor_shape { dim { size: 2 } } "
      "int_val: [1, 3] } } } }\n";
  for (const char* op : {"Sum", "Mean", "Max"}) {
    graph += std::string("node { name: '") + op + "' op: '" + op +
             "' input: 'x' input: 'axes' attr { key: 'T' value { type: DT_FLOAT } } "
             "attr { key: 'Tidx' value { type: DT_INT32 } } }\n";
  }
  for (const int threads : {1, 3}) {
    LoadOptions options;
    options.num_threads = threads;
    const auto model = LoadGraphDef(graph, options);
    ASSERT_TRUE(model.ok()) << model.status();
    const auto y = model->session().Run(
        {{"x:0", *Tensor::FromVector(x, Shape({s.outer, s.rows, s.columns, run}))}},
        {"Sum:0", "Mean:0", "Max:0"});
    ASSERT_TRUE(y.ok()) << y.status();
    const auto n = static_cast<double>(s.rows * run);
    for (int64_t i = 0; i < s.outer * s.columns; ++i) {
      double sum = 0, all = 0;
      float most = -kInfinity;
      for (int64_t r = 0; r < s.rows; ++r) {
        const int64_t at = ((i / s.columns * s.rows + r) * s.columns + i % s.columns) * run;
        for (int64_t j = 0; j < run; ++j) {
          sum += x[at + j];
          all += std::abs(x[at + j]);
          most = std::max(most, x[at + j]);
        }
      }
      EXPECT_NEAR((*y)[0].data<float>()[i], sum, 1e-6 * all);
      EXPECT_NEAR((*y)[1].data<float>()[i], sum / n, 1e-6 * all / n);
      EXPECT_EQ((*y)[2].data<float>()[i], most);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllSizes, RunsReductionTest,
                         testing::Values(std::pair(Sizes{1, 2, 3}, 2),
                                         std::pair(Sizes{2, 130, 8}, 4),
                                         std::pair(Sizes{3, 300, 5}, 7),
                                         std::pair(Sizes{2, 5, 3}, 300)));

}  // namespace
}  // namespace savedmodel
