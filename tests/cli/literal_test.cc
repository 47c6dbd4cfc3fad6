#include "src/cli/literal.h"

#include <gtest/gtest.h>

namespace savedmodel::cli {
namespace {

TEST(Literal, NestedLists) {
  auto t = ParseLiteral("[[1, 2.5], [-3e1, inf]]", DType::kFloat);
  ASSERT_TRUE(t.ok()) << t.status();
  EXPECT_EQ(t->shape(), Shape({2, 2}));
  EXPECT_EQ(t->data<float>()[2], -30);
}

TEST(Literal, ScalarsTuplesAndEmptyLists) {
  EXPECT_EQ(ParseLiteral(" 7 ", DType::kInt32)->shape(), Shape());
  EXPECT_EQ(ParseLiteral("(1, 2,)", DType::kInt64)->shape(), Shape({2}));
  EXPECT_EQ(ParseLiteral("[[], []]", DType::kFloat)->shape(), Shape({2, 0}));
  EXPECT_EQ(ParseLiteral("9223372036854775807", DType::kInt64)->data<int64_t>()[0], INT64_MAX);
  EXPECT_TRUE(ParseLiteral("[True, False]", DType::kBool)->data<bool>()[0]);
}

TEST(Literal, Strings) {
  auto t = ParseLiteral(R"(['a\'b', b"c\x41\n", ''])", DType::kString);
  ASSERT_TRUE(t.ok()) << t.status();
  EXPECT_EQ(t->ToVector<std::string>(), (std::vector<std::string>{"a'b", "cA\n", ""}));
}

TEST(Literal, Fills) {
  EXPECT_EQ(ParseLiteral("np.ones((2, 3))", DType::kFloat)->shape(), Shape({2, 3}));
  EXPECT_EQ(ParseLiteral("zeros([4])", DType::kInt32)->data<int32_t>()[3], 0);
}

TEST(Literal, RefusesWithThePlace) {
  for (const char* text :
       {"[1, [2]]", "[[1], [2, 3]]", "[1", "1]", "[1 2]", "", "[,]", "'x", "[1]]"}) {
    EXPECT_EQ(ParseLiteral(text, DType::kFloat).status().code(), StatusCode::kInvalidArgument)
        << text;
  }
  EXPECT_FALSE(ParseLiteral("300", DType::kUInt8).ok());
  EXPECT_FALSE(ParseLiteral("-1", DType::kUInt32).ok());
  EXPECT_FALSE(ParseLiteral("1.5", DType::kInt32).ok());
  EXPECT_FALSE(ParseLiteral("1", DType::kString).ok());
  EXPECT_FALSE(ParseLiteral("'1'", DType::kFloat).ok());
}

}  // namespace
}  // namespace savedmodel::cli
