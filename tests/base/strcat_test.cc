#include "src/base/strcat.h"

#include <gtest/gtest.h>

namespace savedmodel {
namespace {

TEST(StrCat, PrintsPieces) {
  EXPECT_EQ(StrCat("a", 1, 'c', true, Shape({2, -1}), DType::kFloat), "a1ctrue[2,?]float");
  EXPECT_EQ(StrCat(), "");
  EXPECT_EQ(StrJoin(std::vector<std::string>{"x", "y"}, ", "), "x, y");
}

}  // namespace
}  // namespace savedmodel
