// Floats that meet others over and over, in patterns of all kinds: alone and in trees of functions.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "savedmodel/model.h"
#include "tests/kernels/random_floats.h"

namespace savedmodel {
namespace {

using Dims = std::vector<int64_t>;

class BroadcastTest : public testing::TestWithParam<std::pair<Dims, Dims>> {};

// Row-major offset into `dims` of element `i` of a result of shape `of`.
int64_t Offset(const Dims& dims, const Dims& of, int64_t i) {
  int64_t offset = 0, step = 1;
  for (size_t d = of.size(); d-- > 0;) {
    if (dims[d] != 1) offset += i % of[d] * step;
    step *= dims[d];
    i /= of[d];
  }
  return offset;
}

TEST_P(BroadcastTest, MeetsWhatItShould) {
  const auto& [a, b] = GetParam();
  Dims all;
  int64_t n = 1;
  for (size_t d = 0; d < a.size(); ++d) n *= all.emplace_back(std::max(a[d], b[d]));
  const Tensor x = *Tensor::FromVector(Random(Shape(a).num_elements(), 3), Shape(a));
  const Tensor y = *Tensor::FromVector(Random(Shape(b).num_elements(), 4), Shape(b));
  const std::string of_floats = " attr { key: 'T' value { type: DT_FLOAT } } }\n";
  const std::string graph =
      "node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } }\n"
      "node { name: 'y' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } }\n"
      "node { name: 'difference' op: 'Sub' input: 'x' input: 'y'" +
      of_floats + "node { name: 'sum' op: 'AddV2' input: 'x' input: 'y'" + of_floats +
      "node { name: 'square' op: 'Square' input: 'sum'" + of_floats;
  for (const int threads : {1, 3}) {
    LoadOptions options;
    options.num_threads = threads;
    const auto model = LoadGraphDef(graph, options);
    ASSERT_TRUE(model.ok()) << model.status();
    const auto results =
        model->session().Run({{"x:0", x}, {"y:0", y}}, {"difference:0", "square:0"});
    ASSERT_TRUE(results.ok()) << results.status();
    for (int64_t i = 0; i < n; ++i) {
      const float v = x.data<float>()[Offset(a, all, i)], w = y.data<float>()[Offset(b, all, i)];
      ASSERT_EQ((*results)[0].data<float>()[i], v - w) << i;
      ASSERT_FLOAT_EQ((*results)[1].data<float>()[i], (v + w) * (v + w)) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllKinds, BroadcastTest,
                         testing::Values(std::pair(Dims{700, 5}, Dims{1, 5}),
                                         std::pair(Dims{3, 700, 5}, Dims{3, 1, 5}),
                                         std::pair(Dims{3, 200, 8, 4}, Dims{3, 1, 8, 1}),
                                         std::pair(Dims{2, 40, 64, 20}, Dims{2, 1, 64, 1}),
                                         std::pair(Dims{1, 30, 8, 4}, Dims{20, 1, 8, 4}),
                                         std::pair(Dims{30, 1, 64}, Dims{1, 40, 64}),
                                         std::pair(Dims{30, 70, 1}, Dims{1, 1, 9}),
                                         std::pair(Dims{5, 300}, Dims{5, 1}),
                                         std::pair(Dims{500, 7}, Dims{500, 1}),
                                         std::pair(Dims{2, 3, 2, 500}, Dims{1, 3, 1, 500})));

}  // namespace
}  // namespace savedmodel
