#include "savedmodel/shape.h"

#include <gtest/gtest.h>

namespace savedmodel {
namespace {

TEST(Shape, ScalarByDefault) {
  EXPECT_EQ(Shape().rank(), 0);
  EXPECT_EQ(Shape().num_elements(), 1);
  EXPECT_EQ(Shape().ToString(), "[]");
}

TEST(Shape, CountsElements) {
  EXPECT_EQ(Shape({2, 3, 4}).num_elements(), 24);
  EXPECT_EQ(Shape({2, 0, 4}).num_elements(), 0);
  EXPECT_LT(Shape({2, -1}).num_elements(), 0);
  EXPECT_FALSE(Shape({2, -1}).fully_known());
}

TEST(Shape, OverflowIsInvalid) {
  const int64_t big = int64_t{1} << 32;
  EXPECT_FALSE(Shape({big, big}).valid());
  EXPECT_TRUE(Shape({int64_t{1} << 31, int64_t{1} << 31}).valid());
  EXPECT_EQ(Shape::Make({big, big}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(Shape({-2}).valid());
  EXPECT_FALSE(Shape(std::vector<int64_t>(255, 1)).valid());
  EXPECT_TRUE(Shape(std::vector<int64_t>(254, 1)).valid());
}

TEST(Shape, ZeroAbsorbsLargeDimensions) {
  const Shape s({0, int64_t{1} << 40});
  EXPECT_TRUE(s.valid());
  EXPECT_EQ(s.num_elements(), 0);
}

TEST(Shape, CopiesAndMovesLongShapes) {
  const std::vector<int64_t> dims = {1, 2, 3, 4, 5, 6, 7, 8};
  Shape a(dims), b = a, c = std::move(a);
  EXPECT_EQ(b.ToVector(), dims);
  EXPECT_EQ(c, b);
  b = Shape({1});
  EXPECT_EQ(b.rank(), 1);
  c = b;
  EXPECT_EQ(c, b);
}

TEST(Shape, Compatibility) {
  EXPECT_TRUE(Shape::Unknown().CompatibleWith(Shape({2})));
  EXPECT_TRUE(Shape({-1, 3}).CompatibleWith(Shape({2, -1})));
  EXPECT_FALSE(Shape({2}).CompatibleWith(Shape({3})));
  EXPECT_FALSE(Shape({2}).CompatibleWith(Shape({2, 1})));
}

TEST(Shape, MergeAndGeneralize) {
  EXPECT_EQ(*Shape({-1, 3}).Merge(Shape({2, -1})), Shape({2, 3}));
  EXPECT_EQ(Shape({2}).Merge(Shape({3})).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Shape({2, 3}).Generalize(Shape({2, 4})), Shape({2, -1}));
  EXPECT_FALSE(Shape({2}).Generalize(Shape({2, 4})).known_rank());
}

TEST(Shape, Edits) {
  const Shape s({2, 3});
  EXPECT_EQ(s.WithDim(0, 5), Shape({5, 3}));
  EXPECT_EQ(s.WithInserted(1, 7), Shape({2, 7, 3}));
  EXPECT_EQ(s.WithAppended(4), Shape({2, 3, 4}));
  EXPECT_EQ(s.WithRemoved(0), Shape({3}));
  EXPECT_EQ(s.Slice(1, 2), Shape({3}));
  EXPECT_EQ(s.Concat(Shape({4})), Shape({2, 3, 4}));
  EXPECT_FALSE(s.Concat(Shape::Unknown()).known_rank());
  EXPECT_EQ(Shape({2, 3, 4}).Product(1, 3), 12);
}

TEST(Shape, Prints) {
  EXPECT_EQ(Shape({2, -1, 3}).ToString(), "[2,?,3]");
  EXPECT_EQ(Shape::Unknown().ToString(), "?");
}

}  // namespace
}  // namespace savedmodel
