// Values in bins, also of a range that is not finite.
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

StatusOr<std::vector<int32_t>> Count(const std::vector<float>& values, float low, float high) {
  const auto model = LoadGraphDef(
      "node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } }\n"
      "node { name: 'range' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } }\n"
      "node { name: 'n' op: 'Const' attr { key: 'dtype' value { type: DT_INT32 } } "
      "attr { key: 'value' value { tensor { dtype: DT_INT32 tensor_shape {} int_val: 4 } } } }\n"
      "node { name: 'y' op: 'HistogramFixedWidth' input: 'x' input: 'range' input: 'n' "
      "attr { key: 'T' value { type: DT_FLOAT } } "
      "attr { key: 'dtype' value { type: DT_INT32 } } }");
  if (!model.ok()) return model.status();
  const auto y = model->session().Run(
      {{"x:0", *Tensor::FromVector(values, Shape({static_cast<int64_t>(values.size())}))},
       {"range:0", *Tensor::FromVector(std::vector<float>{low, high}, Shape({2}))}},
      {"y:0"});
  if (!y.ok()) return y.status();
  const int32_t* counts = y->front().data<int32_t>();
  return std::vector<int32_t>(counts, counts + 4);
}

TEST(HistogramTest, Counts) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> values = {-kInfinity, -1, 0, 0.9f, 1, 2.5f, 3.999f, 4, 7, kInfinity};
  auto counts = Count(values, 0, 4);
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_EQ(*counts, std::vector<int32_t>({4, 1, 1, 4}));
  // Finite values are all as far from the end.
  counts = Count(values, 0, kInfinity);
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_EQ(*counts, std::vector<int32_t>({9, 0, 0, 1}));
  values.assign(1000, 1.5f);
  counts = Count(values, 0, 4);
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_EQ(*counts, std::vector<int32_t>({0, 1000, 0, 0}));
  values[700] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(Count(values, 0, 4).ok());
}

}  // namespace
}  // namespace savedmodel
