// Model::Clone: equal when made, then on its own.
#include <gtest/gtest.h>

#include "savedmodel/model.h"
#include "savedmodel/resource.h"

namespace savedmodel {
namespace {

int64_t CountUp(const Model& model, int64_t by) {
  const auto n = model.Signature("serving_default")({{"by", Tensor::Scalar<int64_t>(by)}});
  EXPECT_TRUE(n.ok()) << n.status();
  return n.ok() ? n->at("n").data<int64_t>()[0] : -1;
}

TEST(Clone, StartsWithTheStateOfNowAndGoesItsOwnWay) {
  const Model model = *Load("data/models/tf2_counter/model");
  const int64_t start = model.variable("n").value().data<int64_t>()[0];
  EXPECT_EQ(CountUp(model, 3), start + 3);
  const auto clone = model.Clone();
  ASSERT_TRUE(clone.ok()) << clone.status();
  EXPECT_EQ(CountUp(*clone, 10), start + 13);
  EXPECT_EQ(CountUp(model, 1), start + 4);
  EXPECT_EQ(clone->variable("n").value().data<int64_t>()[0], start + 13);
  EXPECT_EQ(model.root()["n"].variable().value().data<int64_t>()[0], start + 4);
}

TEST(Clone, VariablesThatShareANameStayApart) {
  const Model model = *Load("data/models/tf2_counter/model");  // "n" and "hist" are both "Variable"
  const Model clone = *model.Clone();
  ASSERT_TRUE(clone.variable("hist").Assign(Tensor::Vector<float>({9, 9, 9, 9})).ok());
  EXPECT_NE(model.variable("hist").value().data<float>()[0], 9);
  EXPECT_EQ(clone.variable("n").dtype(), DType::kInt64);
}

TEST(Clone, OutlivesItsOrigin) {
  Model clone;
  {
    const Model model = *Load("data/models/tf2_child_methods/model");
    clone = *model.Clone();
  }
  const Tensor x = *Tensor::FromVector<float>({1, 2, 3}, {1, 3});
  const auto expected =
      Load("data/models/tf2_child_methods/model")->Signature("serving_default")({{"x", x}});
  const auto got = clone.Signature("serving_default")({{"x", x}});
  ASSERT_TRUE(got.ok() && expected.ok()) << got.status();
  for (const auto& [name, tensor] : *expected) {
    EXPECT_EQ(got->at(name).ToString(), tensor.ToString());
  }
}

// Tables are state too: a static one that the clone still finds its words in.
TEST(Clone, TablesAreCopied) {
  const Model model = *Load("data/models/est_dnn_classifier/model");
  const Model clone = *model.Clone();
  EXPECT_EQ(clone.variables().size(), model.variables().size());
  EXPECT_TRUE(clone.Check().empty());
}

class Opaque final : public Resource {
 public:
  std::string_view kind() const override { return "opaque thing"; }
};

TEST(Clone, ResourceWithoutCloneSaysSo) {
  Opaque opaque;
  const Status status = opaque.Clone().status();
  EXPECT_EQ(status.code(), StatusCode::kUnimplemented);
  EXPECT_NE(status.message().find("opaque thing"), std::string::npos);
}

}  // namespace
}  // namespace savedmodel
