#include "src/loader/ordered_code.h"

#include <gtest/gtest.h>

namespace savedmodel {
namespace {

using namespace std::string_literals;

// Bytes as TensorFlow writes them.
TEST(SliceKey, MatchesTensorFlow) {
  EXPECT_EQ(SliceKey("w", {}), "\0w\0\1\0"s);
  EXPECT_EQ(SliceKey("w", {{0, 0}, {-1, -1}}), "\0w\0\1\1\2\x80\x7f\x80\x7f"s);
  EXPECT_EQ(SliceKey("w", {{0}, {63}}), "\0w\0\1\1\1\x80\xbf"s);
  EXPECT_EQ(SliceKey("w", {{64}, {1000}}), "\0w\0\1\1\1\xc0\x40\xc3\xe8"s);
}

TEST(SliceKey, EscapesEndMarks) {
  EXPECT_EQ(SliceKey("a\0b\xff"s, {}),
            "\0a\0\xff"
            "b\xff\0\0\1\0"s);
}

TEST(SliceKey, IsToldFromNames) {
  EXPECT_TRUE(IsSliceKey(SliceKey("w", {})));
  EXPECT_FALSE(IsSliceKey("w"));
  EXPECT_FALSE(IsSliceKey(""));
}

}  // namespace
}  // namespace savedmodel
