// Signatures of TensorFlow 1 with sparse and ragged tensors: their components by name.
#include <gtest/gtest.h>

#include "savedmodel/example.h"
#include "savedmodel/model.h"

namespace savedmodel {
namespace {

// y = sparse matrix * w
TEST(CompositeSignature, SparseInputIsItsComponents) {
  const Model model = *Load("data/models/tf1_sparse_signature/model");
  const auto result = model.Signature("serving_default")(
      {{"sp:indices", *Tensor::FromVector<int64_t>({0, 1}, {1, 2})},
       {"sp:values", Tensor::Vector<float>({2})},
       {"sp:dense_shape", Tensor::Vector<int64_t>({1, 4})}});
  ASSERT_TRUE(result.ok()) << result.status();
  const std::vector<float> w = model.variable("w").value().ToVector<float>();  // [4, 2]
  EXPECT_EQ(result->at("y").ToVector<float>(), (std::vector<float>{2 * w[2], 2 * w[3]}));
  EXPECT_EQ(result->at("t:indices").ToVector<int64_t>(), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(result->at("t:dense_shape").ToVector<int64_t>(), (std::vector<int64_t>{4, 1}));
}

TEST(CompositeSignature, RaggedOutputIsItsComponents) {
  const Function f = Load("data/models/tf1_parse_ragged/model")->Signature("ragged_out");
  const std::vector<std::string> rows = {Example().Set("r", Feature::Ints{1, 2, 3}).Serialize(),
                                         Example().Serialize()};
  const auto result = f({{"examples", Tensor::Vector(rows)}});
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->size(), 2u);
  EXPECT_EQ(result->at("r:0").ToVector<int64_t>(), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(result->at("r:1").ToVector<int32_t>(), (std::vector<int32_t>{0, 3, 3}));
}

}  // namespace
}  // namespace savedmodel
