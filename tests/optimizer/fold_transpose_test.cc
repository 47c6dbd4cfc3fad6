// Transpositions that undo each other are none.
#include <gtest/gtest.h>

#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

Result RunTransposed(const std::vector<int>& first, const std::vector<int>& second) {
  GraphText g;
  g.Input("x").Ints("p", first).Ints("q", second);
  const std::string perm = GraphText::Attr("Tperm", "type: DT_INT32");
  g.Node("a", "Transpose", {"x", "p"}, perm).Node("b", "Transpose", {"a", "q"}, perm);
  g.Node("y", "Neg", {"b"});
  return RunGraph(
      g,
      {{"x:0",
        *Tensor::FromVector(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {2, 3, 2})}},
      {"y:0"});
}

TEST(FoldTransposeTest, BackIsNone) {
  const std::vector<float> negated = {-1, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11, -12};
  for (const std::vector<int>& second : {std::vector<int>{1, 2, 0}, {-2, -1, -3}}) {
    const Result r = RunTransposed({2, 0, 1}, second);
    EXPECT_FALSE(Has(r, "Transpose")) << r.plan;
    EXPECT_EQ(r.values[0], negated);
  }
}

TEST(FoldTransposeTest, OthersStay) {
  const Result r = RunTransposed({2, 0, 1}, {2, 0, 1});
  EXPECT_TRUE(Has(r, "Transpose")) << r.plan;
  EXPECT_EQ(r.values[0], (std::vector<float>{-1, -7, -2, -8, -3, -9, -4, -10, -5, -11, -6, -12}));
}

}  // namespace
}  // namespace savedmodel
