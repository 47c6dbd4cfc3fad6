// TensorFlow 1's view of a TensorFlow 2 model.
#include <gtest/gtest.h>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

// Two variables are called "Variable"; the main graph calls them "Variable" and "Variable_1".
TEST(SessionOfTensorFlow2, SharesVariablesWithTheObjects) {
  const Model model = *Load("data/models/tf2_counter/model");
  const int64_t start = model.variable("n").value().data<int64_t>()[0];
  const auto n = model.session().Run({{"serving_default_by:0", Tensor::Scalar<int64_t>(5)}},
                                     {"StatefulPartitionedCall_1:0"});
  ASSERT_TRUE(n.ok()) << n.status();
  EXPECT_EQ((*n)[0].data<int64_t>()[0], start + 5);
  EXPECT_EQ(model.variable("n").value().data<int64_t>()[0], start + 5);

  const std::vector<float> before(model.variable("hist").value().data<float>(),
                                  model.variable("hist").value().data<float>() + 4);
  const auto hist = model.session().Run(
      {{"scatter_i", Tensor::Vector<int32_t>({2})}, {"scatter_x", Tensor::Vector<float>({0.5f})}},
      {"StatefulPartitionedCall"});
  ASSERT_TRUE(hist.ok()) << hist.status();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ((*hist)[0].data<float>()[i], before[i] + (i == 2 ? 0.5f : 0.0f));
  }
}

}  // namespace
}  // namespace savedmodel
