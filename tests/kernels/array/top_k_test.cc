// The largest elements in order: equal ones by their position, both zeros equal, NaN last, for few
// and many of short and long rows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "savedmodel/model.h"
#include "tests/kernels/random_floats.h"

namespace savedmodel {
namespace {

constexpr int64_t kRows = 3;

class TopKTest : public testing::TestWithParam<std::pair<int64_t, int64_t>> {
 protected:
  template <class T>
  void ExpectLargest(const std::string& dtype, const std::vector<T>& x) {
    const auto [n, k] = GetParam();
    const auto model = LoadGraphDef(
        "node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: " + dtype +
        " } } }\nnode { name: 'y' op: 'TopK' input: 'x' attr { key: 'T' value { type: " + dtype +
        " } } attr { key: 'k' value { i: " + std::to_string(k) + " } } }");
    ASSERT_TRUE(model.ok()) << model.status();
    const auto y =
        model->session().Run({{"x:0", *Tensor::FromVector(x, Shape({kRows, n}))}}, {"y:0", "y:1"});
    ASSERT_TRUE(y.ok()) << y.status();
    for (int64_t r = 0; r < kRows; ++r) {
      const T* row = x.data() + r * n;
      std::vector<int32_t> order(n);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [row](int32_t a, int32_t b) {
        if (row[b] != row[b]) return row[a] == row[a];
        return row[a] > row[b];
      });
      for (int64_t i = 0; i < k; ++i) {
        ASSERT_EQ((*y)[1].template data<int32_t>()[r * k + i], order[i]) << i << " of row " << r;
        const T value = (*y)[0].template data<T>()[r * k + i];
        ASSERT_TRUE(value == row[order[i]] || value != value);
      }
    }
  }
  // Values of which many are equal.
  template <class T>
  std::vector<T> Few(double scale, double offset) const {
    std::vector<T> x;
    for (const float v : Random(kRows * GetParam().first, 7)) {
      x.push_back(static_cast<T>(std::round(v * scale) + offset));
    }
    return x;
  }
};

TEST_P(TopKTest, Floats) {
  std::vector<float> x = Few<float>(20, 0);
  const float special[] = {std::nanf(""),
                           -std::nanf(""),
                           0.0f,
                           -0.0f,
                           std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity()};
  for (size_t i = 0; i < x.size(); i += 3) x[i] = special[i / 3 % std::size(special)];
  ExpectLargest("DT_FLOAT", x);
  ExpectLargest("DT_DOUBLE", std::vector<double>(x.begin(), x.end()));
  ExpectLargest("DT_FLOAT", Random(static_cast<int64_t>(x.size()), 9));
  // None is above the lowest finite number.
  const float lowest = std::numeric_limits<float>::lowest();
  for (size_t i = 0; i < x.size(); ++i) x[i] = i % 3 == 0 ? std::nanf("") : special[5];
  x.back() = lowest;
  ExpectLargest("DT_FLOAT", x);
}

TEST_P(TopKTest, Integers) {
  ExpectLargest("DT_INT32", Few<int32_t>(2e9, 0));
  ExpectLargest("DT_INT8", Few<int8_t>(127, 0));
  ExpectLargest("DT_UINT8", Few<uint8_t>(127, 127));
  ExpectLargest("DT_INT64", Few<int64_t>(9e18, 0));
  ExpectLargest("DT_UINT64", Few<uint64_t>(9e18, 9e18));
}

INSTANTIATE_TEST_SUITE_P(Sizes, TopKTest,
                         testing::Values(std::pair(1, 1), std::pair(7, 1), std::pair(7, 3),
                                         std::pair(40, 40), std::pair(300, 1), std::pair(300, 5),
                                         std::pair(300, 37), std::pair(300, 100),
                                         std::pair(300, 300)));

}  // namespace
}  // namespace savedmodel
