#include "src/base/strcat.h"

#include <gtest/gtest.h>

namespace savedmodel {
namespace {

TEST(StrCat, PrintsPieces) {
  EXPECT_EQ(StrCat("a", 1, 'c', true, Shape({2, -1}), DType::kFloat), "a1ctrue[2,?]float");
  EXPECT_EQ(StrCat(), "");
  EXPECT_EQ(StrCat(INT64_MIN, ' ', UINT64_MAX, ' ', int8_t{-5}, ' ', uint8_t{200}, ' ', 0u),
            "-9223372036854775808 18446744073709551615 -5 200 0");
  EXPECT_EQ(StrCat(0.1, ' ', 2.5f, ' ', -1e300, ' ', std::vector<int64_t>{1, -2}),
            "0.1 2.5 -1e+300 [1,-2]");
  EXPECT_EQ(StrJoin(std::vector<std::string>{"x", "y"}, ", "), "x, y");
}

}  // namespace
}  // namespace savedmodel
