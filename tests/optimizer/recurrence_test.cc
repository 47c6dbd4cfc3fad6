// Loops over cells of recurrent layers become one op; that the numbers stay TensorFlow's is seen by
// replaying the same models.
#include <gtest/gtest.h>

#include <string>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

int Count(const std::string& text, const std::string& what) {
  int n = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

std::string PlanOf(const std::string& model, const Shape& shape) {
  const auto loaded = Load("data/models/" + model + "/model");
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  if (!loaded.ok()) return "";
  const auto plan = loaded->Signature("serving_default").PlanText({{"x", shape}});
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? *plan : "";
}

TEST(RecurrenceTest, BidirectionalLayers) {
  const std::string plan = PlanOf("keras2_gru_bidirectional", Shape({2, 5, 3}));
  EXPECT_EQ(Count(plan, " _GruLoop("), 2) << plan;
  EXPECT_EQ(Count(plan, " _LstmLoop("), 2) << plan;
  EXPECT_EQ(Count(plan, "While("), 1) << plan;  // stacked cells of two kinds
}

TEST(RecurrenceTest, StandardActivationsOnly) {
  const std::string plan = PlanOf("keras2_lstm", Shape({2, 5, 3}));
  EXPECT_EQ(Count(plan, " _LstmLoop("), 1) << plan;
  // Which multiplies the input by its weights, as it is.
  EXPECT_EQ(Count(plan, " _LstmLoop($0"), 1) << plan;
  EXPECT_EQ(Count(plan, "While("), 1) << plan;
}

// A loop that runs as often as an argument says at run time stays a loop.
TEST(RecurrenceTest, UnknownLengthStays) {
  const std::string plan = PlanOf("keras2_lstm", Shape({2, -1, 3}));
  EXPECT_EQ(Count(plan, " _LstmLoop("), 0) << plan;
  EXPECT_EQ(Count(plan, "While("), 2) << plan;
}

}  // namespace
}  // namespace savedmodel
