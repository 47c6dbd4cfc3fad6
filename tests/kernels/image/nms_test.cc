// Non-maximum suppression of more boxes than are compared at once, against its definition.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

double Area(const float* box) { return (box[2] - box[0]) * (box[3] - box[1]); }

double Overlap(const float* a, const float* b) {
  const double height = std::min(a[2], b[2]) - std::max(a[0], b[0]);
  const double width = std::min(a[3], b[3]) - std::max(a[1], b[1]);
  const double both = std::max(height, 0.0) * std::max(width, 0.0);
  return Area(a) <= 0 || Area(b) <= 0 ? 0 : both / (Area(a) + Area(b) - both);
}

TEST(NonMaxSuppressionTest, TakesTheBestThatLieApart) {
  constexpr size_t kBoxes = 300;
  constexpr float kLimit = 0.3f;
  std::mt19937 random(5);
  std::uniform_real_distribution<float> place(0, 1), size(0, 0.2f);
  std::vector<float> boxes, scores;
  for (size_t i = 0; i < kBoxes; ++i) {
    const float top = place(random), left = place(random);
    // Some have no area, and overlap with nothing.
    const float height = i % 16 == 0 ? 0 : size(random);
    boxes.insert(boxes.end(), {top, left, top + height, left + size(random)});
    scores.push_back(place(random));
  }
  std::vector<int32_t> order(kBoxes), expected;
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int32_t a, int32_t b) { return scores[a] > scores[b]; });
  for (const int32_t i : order) {
    const auto overlaps = [&](int32_t j) { return Overlap(&boxes[4 * i], &boxes[4 * j]) > kLimit; };
    if (std::none_of(expected.begin(), expected.end(), overlaps)) expected.push_back(i);
  }
  GraphText g;
  g.Input("boxes").Input("scores").Int("most", kBoxes).Number("limit", kLimit);
  g.Node("y", "NonMaxSuppressionV2", {"boxes", "scores", "most", "limit"},
         GraphText::Attr("T_threshold", "type: DT_FLOAT"));
  const auto model = LoadGraphDef(g.text());
  ASSERT_TRUE(model.ok()) << model.status();
  const auto y = model->Prune({"boxes:0", "scores:0"},
                              {"y:0"})({{"boxes:0", *Tensor::FromVector(boxes, {kBoxes, 4})},
                                        {"scores:0", *Tensor::FromVector(scores, {kBoxes})}});
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_GT(expected.size(), 100);
  EXPECT_LT(expected.size(), kBoxes);
  EXPECT_EQ(y->at("y:0").ToVector<int32_t>(), expected);
}

}  // namespace
}  // namespace savedmodel
