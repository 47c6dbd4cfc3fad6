// Loops over cells of recurrent layers become one op; that the numbers stay TensorFlow's is seen by
// replaying the same models.
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "conformance.pb.h"
#include "proto/savedmodel_graph.pb.h"
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
  // Each direction, and stacked cells of two kinds.
  EXPECT_EQ(Count(plan, " _GruLoop("), 3) << plan;
  EXPECT_EQ(Count(plan, " _LstmLoop("), 3) << plan;
  EXPECT_EQ(Count(plan, "While("), 0) << plan;
}

TEST(RecurrenceTest, AnyActivations) {
  const std::string plan = PlanOf("keras2_lstm", Shape({2, 5, 3}));
  EXPECT_EQ(Count(plan, " _LstmLoop("), 2) << plan;
  // Which multiplies the input by its weights, as it is.
  EXPECT_EQ(Count(plan, " _LstmLoop($0"), 1) << plan;
  EXPECT_EQ(Count(plan, "While("), 0) << plan;
}

// The recorded graphs of a file hold no loop but those of one op.
void ExpectLoopsOfOneOp(const std::string& file) {
  conformance::OpCases cases;
  std::ifstream in("data/graphs/" + file + ".pb", std::ios::binary);
  ASSERT_TRUE(cases.ParseFromIstream(&in));
  for (const conformance::OpCase& c : cases.cases()) {
    const auto model = LoadGraphDef(c.graph_def());
    ASSERT_TRUE(model.ok()) << model.status();
    const auto& fetches = c.steps(0).fetches();
    const auto plan = model->Prune({"x:0", "n:0"}, {fetches.begin(), fetches.end()})
                          .PlanText({{"x:0", Shape({5, 6, 3})}, {"n:0", Shape({5})}});
    ASSERT_TRUE(plan.ok()) << c.name() << ": " << plan.status();
    EXPECT_EQ(Count(*plan, "While("), 0) << c.name() << ": " << *plan;
    EXPECT_GT(Count(*plan, "Loop("), 0) << c.name() << ": " << *plan;
  }
}

TEST(RecurrenceTest, DynamicRnnOfTensorArrays) { ExpectLoopsOfOneOp("dynamic_rnn_v1"); }
TEST(RecurrenceTest, DynamicRnnOfLists) { ExpectLoopsOfOneOp("dynamic_rnn"); }
TEST(RecurrenceTest, Masked) { ExpectLoopsOfOneOp("masked_rnn"); }
// Whose gradients were built.
TEST(RecurrenceTest, Trained) { ExpectLoopsOfOneOp("trained_rnn"); }

// A condition that lacks an input is reported, like any other node that cannot be used.
TEST(RecurrenceTest, DamagedCondition) {
  conformance::OpCases cases;
  std::ifstream in("data/graphs/dynamic_rnn.pb", std::ios::binary);
  ASSERT_TRUE(cases.ParseFromIstream(&in));
  proto::GraphDef graph;
  ASSERT_TRUE(graph.ParseFromString(cases.cases(0).graph_def()));
  int damaged = 0;
  for (proto::FunctionDef& function : *graph.mutable_library()->mutable_function()) {
    for (proto::NodeDef& node : *function.mutable_node_def()) {
      if (node.op() != "Less") continue;
      node.mutable_input()->RemoveLast();
      ++damaged;
    }
  }
  ASSERT_GT(damaged, 0);
  const auto model = LoadGraphDef(graph.SerializeAsString());
  ASSERT_TRUE(model.ok()) << model.status();
  const auto& fetches = cases.cases(0).steps(0).fetches();
  const auto y = model->Prune({"x:0", "n:0"}, {fetches.begin(), fetches.end()})(
      {{"x:0", *Tensor::Zeros(DType::kFloat, Shape({2, 6, 3}))},
       {"n:0", Tensor::Vector<int32_t>({6, 6})}});
  EXPECT_EQ(y.status().code(), StatusCode::kInvalidArgument) << y.status();
  EXPECT_NE(y.status().ToString().find("found 1 inputs"), std::string::npos) << y.status();
}

// A loop that runs as often as an argument says at run time stays a loop.
TEST(RecurrenceTest, UnknownLengthStays) {
  const std::string plan = PlanOf("keras2_lstm", Shape({2, -1, 3}));
  EXPECT_EQ(Count(plan, " _LstmLoop("), 0) << plan;
  EXPECT_EQ(Count(plan, "While("), 2) << plan;
}

}  // namespace
}  // namespace savedmodel
