// Unique elements where hashing and equality meet: NaN, which equals nothing, zeros of both signs,
// and more elements than the first table has places.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

// The unique elements of `x`, and the number of each element's.
StatusOr<std::vector<Tensor>> Unique(const std::vector<float>& x) {
  const auto model = LoadGraphDef(
      "node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } }\n"
      "node { name: 'y' op: 'Unique' input: 'x' attr { key: 'T' value { type: DT_FLOAT } } "
      "attr { key: 'out_idx' value { type: DT_INT64 } } }");
  if (!model.ok()) return model.status();
  const Tensor in = *Tensor::FromVector(x, Shape({static_cast<int64_t>(x.size())}));
  return model->session().Run({{"x:0", in}}, {"y:0", "y:1"});
}

// As many as this take minutes if each compares itself with all before it.
TEST(Unique, NoNanEqualsAnother) {
  const int64_t count = 1'000'000;
  const auto result = Unique(std::vector<float>(count, std::nanf("")));
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ((*result)[0].num_elements(), count);
  for (int64_t i = 0; i < count; ++i) ASSERT_EQ((*result)[1].data<int64_t>()[i], i);
}

TEST(Unique, ElementsInTheOrderOfTheirFirst) {
  const int64_t different = 5000;
  std::vector<float> x = {0.0f, -0.0f};
  for (int64_t i = 0; i < 3 * different; ++i) x.push_back(0.5f * static_cast<float>(i % different));
  const auto result = Unique(x);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ((*result)[0].num_elements(), different);
  for (int64_t i = 0; i < different; ++i) {
    ASSERT_EQ((*result)[0].data<float>()[i], 0.5f * static_cast<float>(i));
  }
  EXPECT_EQ((*result)[1].data<int64_t>()[1], 0);
  for (int64_t i = 0; i < 3 * different; ++i) {
    ASSERT_EQ((*result)[1].data<int64_t>()[i + 2], i % different);
  }
}

}  // namespace
}  // namespace savedmodel
