// Control edges of pure nodes: who waits for one that nobody takes waits for what that waits for.
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

const std::string kMessage = GraphText::Attr("message", "s: 'checked'");

// What y gives where input `feed` has `value`, the others 3.
StatusCode CodeOf(const GraphText& g, const std::string& feed, float value) {
  auto model = LoadGraphDef(g.text());
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return model.status().code();
  TensorMap inputs = {{"x:0", Tensor::Vector<float>({3})}, {"c:0", Tensor::Vector<float>({3})}};
  inputs[feed] = Tensor::Vector<float>({value});
  return model->Prune({"x:0", "c:0"}, {"y:0"})(inputs).status().code();
}

void Check(const GraphText& g) {
  const Result r = RunGraph(
      g, {{"x:0", Tensor::Vector<float>({3})}, {"c:0", Tensor::Vector<float>({5})}}, {"y:0"});
  EXPECT_FALSE(Has(r, "Exp")) << r.plan;
  EXPECT_TRUE(Has(r, "CheckNumerics")) << r.plan;
  EXPECT_EQ(r.values[0], std::vector<float>({-3}));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(CodeOf(g, "c:0", nan), StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(g, "x:0", nan), StatusCode::kOk);
}

TEST(ControlTest, PureNodesPassOnWhatTheyTake) {
  GraphText g;
  g.Input("x").Input("c").Node("checked", "CheckNumerics", {"c"}, kMessage);
  g.Node("a", "Exp", {"checked"}).Node("b", "Exp", {"a"}).Node("y", "Neg", {"x", "^b"});
  Check(g);
}

TEST(ControlTest, PureNodesPassOnWhatTheyWaitFor) {
  GraphText g;
  g.Input("x").Input("c").Node("checked", "CheckNumerics", {"c"}, kMessage);
  g.Node("a", "Exp", {"x", "^checked"}).Node("b", "Exp", {"x", "^a"});
  g.Node("y", "Neg", {"x", "^b", "^a"});
  Check(g);
}

TEST(ControlTest, WhatIsTakenRuns) {
  GraphText g;
  g.Input("x").Node("checked", "CheckNumerics", {"x"}, kMessage).Node("a", "Exp", {"checked"});
  g.Node("y", "Neg", {"x", "^a"});
  const Result r = RunGraph(g, {{"x:0", Tensor::Vector<float>({0})}}, {"y:0", "a:0"});
  EXPECT_TRUE(Has(r, "Exp")) << r.plan;
  EXPECT_EQ(r.values[1], std::vector<float>({1}));
}

}  // namespace
}  // namespace savedmodel
