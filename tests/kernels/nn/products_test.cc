// Products of doubles and of integers, whose rows and columns are no whole tiles or vectors.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "savedmodel/model.h"
#include "tests/kernels/random_floats.h"

namespace savedmodel {
namespace {

struct Sizes {
  int64_t batch, m, k, n;
};

class ProductsTest : public testing::TestWithParam<Sizes> {
 protected:
  template <class T>
  void ExpectProduct(const std::string& dtype, double scale, double tolerance) {
    const auto [batch, m, k, n] = GetParam();
    LoadOptions options;
    options.num_threads = 3;
    const std::string input =
        " op: 'Placeholder' attr { key: 'dtype' value { type: " + dtype + " } } }\n";
    const auto model = LoadGraphDef("node { name: 'a'" + input + "node { name: 'b'" + input +
                                        "node { name: 'c' op: 'BatchMatMulV2' input: 'a' "
                                        "input: 'b' attr { key: 'T' value { type: " +
                                        dtype + " } } }",
                                    options);
    ASSERT_TRUE(model.ok()) << model.status();
    const auto values = [scale](int64_t count, int seed) {
      std::vector<T> x;
      for (const float v : Random(count, seed)) x.push_back(static_cast<T>(scale * v));
      return x;
    };
    const std::vector<T> a = values(batch * m * k, 1), b = values(batch * k * n, 2);
    const auto c = model->session().Run({{"a:0", *Tensor::FromVector(a, Shape({batch, m, k}))},
                                         {"b:0", *Tensor::FromVector(b, Shape({batch, k, n}))}},
                                        {"c:0"});
    ASSERT_TRUE(c.ok()) << c.status();
    for (int64_t i = 0; i < batch * m * n; ++i) {
      const int64_t row = i / n, matrix = row / m;
      T sum = 0;
      for (int64_t j = 0; j < k; ++j) sum += a[row * k + j] * b[(matrix * k + j) * n + i % n];
      ASSERT_NEAR(static_cast<double>(c->front().template data<T>()[i]), static_cast<double>(sum),
                  tolerance);
    }
  }
};

TEST_P(ProductsTest, OfDoubles) { ExpectProduct<double>("DT_DOUBLE", 1, 1e-13); }
TEST_P(ProductsTest, OfIntegers) { ExpectProduct<int32_t>("DT_INT32", 1000, 0); }

INSTANTIATE_TEST_SUITE_P(AllSizes, ProductsTest,
                         testing::Values(Sizes{1, 1, 1, 1}, Sizes{3, 4, 5, 16}, Sizes{2, 5, 0, 3},
                                         Sizes{3, 7, 9, 33}, Sizes{5, 4, 4, 4},
                                         Sizes{1, 66, 31, 47}));

}  // namespace
}  // namespace savedmodel
