// Function::Fetch: values from inside of functions.
#include <gtest/gtest.h>

#include <algorithm>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

class Fetch : public testing::Test {
 protected:
  const Model model_ = *Load("data/models/keras2_sequential_dense/model");
  const Function f_ = model_.Signature("serving_default");

  // x[2, n] for the first layer, with values that differ.
  Tensor Input() const {
    const int64_t n = f_.inputs()[0].shape[1];
    std::vector<float> values(2 * n);
    for (size_t i = 0; i < values.size(); ++i) values[i] = 0.25f * static_cast<float>(i) - 0.5f;
    return *Tensor::FromVector(values, Shape({2, n}));
  }

  // x * kernel + bias of the first layer, as its definition says.
  std::vector<float> FirstLayer(const Tensor& x) const {
    const Tensor kernel = model_.variable("first/kernel").value();
    const Tensor bias = model_.variable("first/bias").value();
    const int64_t depth = kernel.shape()[0], columns = kernel.shape()[1];
    std::vector<float> y;
    for (int64_t r = 0; r < x.shape()[0]; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        double sum = bias.data<float>()[c];
        for (int64_t k = 0; k < depth; ++k) {
          sum += double{x.data<float>()[r * depth + k]} * kernel.data<float>()[k * columns + c];
        }
        y.push_back(static_cast<float>(sum));
      }
    }
    return y;
  }
};

TEST_F(Fetch, ThroughNestedCalls) {
  const Tensor x = Input();
  const std::string name = "sequential/first/BiasAdd:0";
  const auto result = f_.Fetch(name)({{f_.inputs()[0].name, x}});
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->size(), 1u);
  const Tensor& y = result->at(name);
  const std::vector<float> expected = FirstLayer(x);
  ASSERT_EQ(y.num_elements(), static_cast<int64_t>(expected.size()));
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(y.data<float>()[i], expected[i], 1e-5);
}

TEST_F(Fetch, SeveralInTheirOrder) {
  const Tensor x = Input();
  const Function f = f_.Fetch({"first/Relu:0", "StatefulPartitionedCall/sequential/first/BiasAdd"});
  ASSERT_TRUE(f.status().ok()) << f.status();
  ASSERT_EQ(f.outputs().size(), 2u);
  EXPECT_EQ(f.outputs()[0].name, "first/Relu:0");
  const auto result = f.Call({x});
  ASSERT_TRUE(result.ok()) << result.status();
  const Tensor relu = result->items()[0].tensor(), sum = result->items()[1].tensor();
  ASSERT_EQ(relu.shape(), sum.shape());
  for (int64_t i = 0; i < sum.num_elements(); ++i) {
    EXPECT_EQ(relu.data<float>()[i], std::max(0.0f, sum.data<float>()[i]));
  }
}

TEST_F(Fetch, UnknownNameSaysSo) {
  const Status status = f_.Fetch("no/such/node:0").status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(status.message().find("no/such/node"), std::string::npos) << status;
}

TEST_F(Fetch, AmbiguousNameSaysWhich) {
  const Status status = f_.Fetch("BiasAdd:0").status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("sequential/first/BiasAdd"), std::string::npos) << status;
}

TEST_F(Fetch, UnknownOutputNumberSaysSo) {
  EXPECT_EQ(f_.Fetch("first/Relu:1").status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace savedmodel
