// Fused ops where TensorFlow's own kernels do not do what the ops stand for, so that no recorded
// case says it.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "savedmodel/model.h"
#include "tests/kernels/random_floats.h"

namespace savedmodel {
namespace {

std::string Placeholder(const std::string& name, const std::string& dtype) {
  return "node { name: '" + name +
         "' op: 'Placeholder' attr { key: 'dtype' value { type: " + dtype + " } } }\n";
}

TEST(FusedPadConv2D, EachImageOfABatchIsItsOwn) {
  const auto model = LoadGraphDef(
      Placeholder("x", "DT_FLOAT") + Placeholder("p", "DT_INT32") + Placeholder("f", "DT_FLOAT") +
      "node { name: 'y' op: 'FusedPadConv2D' input: 'x' input: 'p' input: 'f' "
      "attr { key: 'T' value { type: DT_FLOAT } } attr { key: 'mode' value { s: 'REFLECT' } } "
      "attr { key: 'padding' value { s: 'VALID' } } "
      "attr { key: 'strides' value { list { i: 1 i: 1 i: 1 i: 1 } } } }");
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<float> x = Random(2 * 5 * 4 * 3, 1);
  const Tensor paddings = *Tensor::FromVector<int32_t>({0, 0, 1, 1, 2, 2, 0, 0}, Shape({4, 2}));
  const Tensor filter = *Tensor::FromVector(Random(3 * 3 * 3 * 2, 2), Shape({3, 3, 3, 2}));
  const auto run = [&](const std::vector<float>& images) {
    const int64_t batch = static_cast<int64_t>(images.size()) / 60;
    const Tensor in = *Tensor::FromVector(images, Shape({batch, 5, 4, 3}));
    return model->session().Run({{"x:0", in}, {"p:0", paddings}, {"f:0", filter}}, {"y:0"});
  };
  const auto both = run(x), second = run(std::vector<float>(x.begin() + 60, x.end()));
  ASSERT_TRUE(both.ok()) << both.status();
  ASSERT_TRUE(second.ok()) << second.status();
  const int64_t n = (*second)[0].num_elements();
  ASSERT_EQ((*both)[0].shape(), Shape({2, 5, 6, 2}));
  for (int64_t i = 0; i < n; ++i) {
    ASSERT_FLOAT_EQ((*both)[0].data<float>()[n + i], (*second)[0].data<float>()[i]);
  }
}

TEST(QuantizedMatMulWithBias, MinimumOfTheInputIsMadeUpFor) {
  const auto model = LoadGraphDef(
      Placeholder("a", "DT_QUINT8") + Placeholder("b", "DT_QINT8") + Placeholder("v", "DT_FLOAT") +
      Placeholder("low", "DT_FLOAT") + Placeholder("high", "DT_FLOAT") +
      "node { name: 'y' op: 'QuantizedMatMulWithBiasAndDequantize' input: 'a' input: 'b' "
      "input: 'v' input: 'low' input: 'high' input: 'low' input: 'high' input: 'low' input: 'high' "
      "attr { key: 'T1' value { type: DT_QUINT8 } } attr { key: 'T2' value { type: DT_QINT8 } } "
      "attr { key: 'Tbias' value { type: DT_FLOAT } } "
      "attr { key: 'Toutput' value { type: DT_FLOAT } } }");
  ASSERT_TRUE(model.ok()) << model.status();
  Tensor a = *Tensor::Allocate(DType::kQUInt8, Shape({1, 3}));
  Tensor b = *Tensor::Allocate(DType::kQInt8, Shape({3, 2}));
  const uint8_t left[] = {0, 100, 255};
  const int8_t right[] = {1, -2, 127, 60, -5, 9};
  std::copy_n(left, 3, a.mutable_data<uint8_t>());
  std::copy_n(right, 6, b.mutable_data<int8_t>());
  const auto result =
      model->session().Run({{"a:0", a},
                            {"b:0", b},
                            {"v:0", *Tensor::FromVector<float>({0.25f, -0.5f}, Shape({2}))},
                            {"low:0", *Tensor::FromVector<float>({-1.0f}, Shape())},
                            {"high:0", *Tensor::FromVector<float>({3.0f}, Shape())}},
                           {"y:0"});
  ASSERT_TRUE(result.ok()) << result.status();
  for (int c = 0; c < 2; ++c) {
    double sum = c == 0 ? 0.25 : -0.5;
    for (int k = 0; k < 3; ++k) sum += (left[k] * 4 / 255.0 - 1) * (right[2 * k + c] * 3 / 127.0);
    EXPECT_NEAR((*result)[0].data<float>()[c], sum, 1e-5);
  }
}

}  // namespace
}  // namespace savedmodel
