// GraphDefs imported with a prefix and an input map.
#include <gtest/gtest.h>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

// z = (a + b) * b
constexpr char kGraph[] = R"(
  node { name: "a" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
  node { name: "b" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
  node { name: "s" op: "AddV2" input: "a" input: "b" attr { key: "T" value { type: DT_FLOAT } } }
  node { name: "z" op: "Mul" input: "s" input: "b" attr { key: "T" value { type: DT_FLOAT } } })";

float Only(const StatusOr<std::vector<Tensor>>& result) {
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? (*result)[0].data<float>()[0] : 0;
}

TEST(ImportOptionsTest, PrefixIsPutBeforeNames) {
  const auto model = LoadGraphDef(kGraph, {}, {"part", {}});
  ASSERT_TRUE(model.ok()) << model.status();
  const Session session = model->session();
  EXPECT_EQ(Only(session.Run({{"part/a:0", Tensor::Scalar(2.0f)}, {"part/b", Tensor::Scalar(3.0f)}},
                             {"part/z:0"})),
            15.0f);
  EXPECT_EQ(session.Run({}, {"z:0"}).status().code(), StatusCode::kNotFound);
}

TEST(ImportOptionsTest, InputMapGivesValues) {
  const auto model = LoadGraphDef(kGraph, {}, {"", {{"s:0", Tensor::Scalar(10.0f)}}});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(Only(model->session().Run({{"b", Tensor::Scalar(4.0f)}}, {"z"})), 40.0f);
}

TEST(ImportOptionsTest, UnknownNameAndWrongTypeSaySo) {
  EXPECT_EQ(LoadGraphDef(kGraph, {}, {"", {{"q:0", Tensor::Scalar(1.0f)}}}).status().code(),
            StatusCode::kNotFound);
  EXPECT_EQ(LoadGraphDef(kGraph, {}, {"", {{"a:0", Tensor::Scalar(1)}}}).status().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace savedmodel
