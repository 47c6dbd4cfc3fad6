// What loops and branches are left with; that the numbers stay TensorFlow's is seen by replaying
// tests/data/graphs/unneeded.pb and effects_v1.pb.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "conformance.pb.h"
#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

std::string Call(const std::string& name, const std::string& function) {
  return GraphText::Attr(name, "func { name: '" + function + "' }");
}

std::string Types(const std::string& name, const std::string& types) {
  return GraphText::Attr(name, "list { " + types + " }");
}

// Functions of a counter and two floats.
const std::string kFunctions = R"(
  library {
    function {
      signature { name: 'go_on' input_arg { name: 'i' type: DT_FLOAT }
                  input_arg { name: 'a' type: DT_FLOAT } input_arg { name: 'b' type: DT_FLOAT }
                  output_arg { name: 'go' type: DT_BOOL } }
      node_def { name: 'three' op: 'Const' attr { key: 'dtype' value { type: DT_FLOAT } }
                 attr { key: 'value' value { tensor { dtype: DT_FLOAT tensor_shape {}
                                                      float_val: 3 } } } }
      node_def { name: 'l' op: 'Less' input: 'i' input: 'three:output:0'
                 attr { key: 'T' value { type: DT_FLOAT } } }
      ret { key: 'go' value: 'l:z:0' }
    }
    function {
      signature { name: 'turn' input_arg { name: 'i' type: DT_FLOAT }
                  input_arg { name: 'a' type: DT_FLOAT } input_arg { name: 'b' type: DT_FLOAT }
                  output_arg { name: 'j' type: DT_FLOAT } output_arg { name: 'c' type: DT_FLOAT }
                  output_arg { name: 'd' type: DT_FLOAT } }
      node_def { name: 'one' op: 'Const' attr { key: 'dtype' value { type: DT_FLOAT } }
                 attr { key: 'value' value { tensor { dtype: DT_FLOAT tensor_shape {}
                                                      float_val: 1 } } } }
      node_def { name: 'next' op: 'AddV2' input: 'i' input: 'one:output:0'
                 attr { key: 'T' value { type: DT_FLOAT } } }
      node_def { name: 'double' op: 'AddV2' input: 'a' input: 'a'
                 attr { key: 'T' value { type: DT_FLOAT } } }
      node_def { name: 'sum' op: 'AddV2' input: 'a' input: 'b'
                 attr { key: 'T' value { type: DT_FLOAT } } }
      ret { key: 'j' value: 'next:z:0' }
      ret { key: 'c' value: 'double:z:0' }
      ret { key: 'd' value: 'sum:z:0' }
    }
  })";

const std::string kFloats = "type: DT_FLOAT type: DT_FLOAT type: DT_FLOAT";
const TensorMap kInputs = {{"x:0", Tensor::Vector<float>({5, 7})},
                           {"w:0", Tensor::Vector<float>({1, 2})}};

struct Answer {
  std::string plan;
  std::vector<float> value;
};

Answer Ask(const GraphText& graph, const std::string& output, TensorMap inputs = kInputs) {
  const auto model = LoadGraphDef(graph.text() + kFunctions);
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return {};
  std::vector<std::string> feeds;
  for (const auto& [name, value] : inputs) feeds.push_back(name);
  const Function f = model->Prune(feeds, {output});
  const auto plan = f.PlanText({});
  EXPECT_TRUE(plan.ok()) << plan.status();
  const auto y = f(inputs);
  EXPECT_TRUE(y.ok()) << y.status();
  if (!plan.ok() || !y.ok()) return {};
  return {*plan, y->at(output).ToVector<float>()};
}

// How many inputs the one node of `op` has.
int NumInputs(const std::string& plan, const std::string& op) {
  const size_t at = plan.find(" " + op + "(");
  if (at == std::string::npos) return -1;
  const std::string inputs = plan.substr(at, plan.find(')', at) - at);
  return static_cast<int>(std::count(inputs.begin(), inputs.end(), '$'));
}

GraphText Loop() {
  GraphText g;
  g.Input("x").Input("w").Number("zero", 0);
  g.Bare("loop", "StatelessWhile", {"zero", "x", "w"},
         Types("T", kFloats) + Call("cond", "go_on") + Call("body", "turn"));
  return g;
}

TEST(ShortenCallsTest, VariablesThatNothingNeeds) {
  const Answer a = Ask(Loop(), "loop:1"), b = Ask(Loop(), "loop:2"), i = Ask(Loop(), "loop:0");
  EXPECT_EQ(NumInputs(a.plan, "StatelessWhile"), 2) << a.plan;
  EXPECT_EQ(a.value, std::vector<float>({40, 56}));
  EXPECT_EQ(NumInputs(b.plan, "StatelessWhile"), 3) << b.plan;
  EXPECT_EQ(b.value, std::vector<float>({36, 51}));
  EXPECT_EQ(NumInputs(i.plan, "StatelessWhile"), 1) << i.plan;
  EXPECT_EQ(i.value, std::vector<float>({3}));
}

TEST(ShortenCallsTest, LoopThatIsWaitedFor) {
  GraphText g = Loop();
  g.Node("y", "Neg", {"x", "^loop"});
  const Answer y = Ask(g, "y:0");
  EXPECT_EQ(NumInputs(y.plan, "StatelessWhile"), 1) << y.plan;
  EXPECT_EQ(y.value, std::vector<float>({-5, -7}));
}

TEST(ShortenCallsTest, LoopsOfOneFunction) {
  GraphText g = Loop();
  g.Bare("other", "StatelessWhile", {"zero", "w", "x"},
         Types("T", kFloats) + Call("cond", "go_on") + Call("body", "turn"));
  g.Node("y", "AddV2", {"loop:1", "other:2"});
  EXPECT_EQ(Ask(g, "y:0").value, std::vector<float>({40 + 5 + 7, 56 + 7 + 14}));
}

GraphText Branches() {
  GraphText g;
  g.Input("x").Input("w").Input("p", "", "DT_BOOL").Input("q", "", "DT_BOOL");
  return g;
}

const std::string kBranches = GraphText::Attr("Tcond", "type: DT_BOOL") + Types("Tin", kFloats) +
                              Types("Tout", kFloats) + Call("then_branch", "turn") +
                              Call("else_branch", "turn");

TensorMap WithPredicates(bool p, bool q) {
  TensorMap inputs = kInputs;
  inputs["p:0"] = Tensor::Scalar(p);
  inputs["q:0"] = Tensor::Scalar(q);
  return inputs;
}

TEST(ShortenCallsTest, ResultsAndArgumentsOfBranches) {
  GraphText g = Branches();
  g.Bare("if", "StatelessIf", {"p", "w", "x", "w"}, kBranches);
  const Answer c = Ask(g, "if:1", WithPredicates(true, true));
  EXPECT_EQ(NumInputs(c.plan, "StatelessIf"), 2) << c.plan;
  EXPECT_EQ(c.value, std::vector<float>({10, 14}));
  const Answer d = Ask(g, "if:2", WithPredicates(false, true));
  EXPECT_EQ(NumInputs(d.plan, "StatelessIf"), 3) << d.plan;
  EXPECT_EQ(d.value, std::vector<float>({6, 9}));
}

// An argument that is dead, needed or not, makes the call dead.
TEST(ShortenCallsTest, DeadArguments) {
  GraphText g = Branches();
  g.Node("s", "Switch", {"x", "p"}).Node("t", "Switch", {"w", "q"});
  g.Bare("if", "StatelessIf", {"p", "t:1", "w", "w"}, kBranches);
  g.Node("y", "Merge", {"if:1", "s"}, GraphText::Attr("N", "i: 2"));
  EXPECT_EQ(Ask(g, "y:0", WithPredicates(false, false)).value, std::vector<float>({5, 7}));
  EXPECT_EQ(Ask(g, "y:0", WithPredicates(true, true)).value, std::vector<float>({2, 4}));
}

// Lists of what gradients take, in loops in loops and branches, are there for the gradients only.
TEST(ShortenCallsTest, Gradients) {
  conformance::OpCases cases;
  std::ifstream in("data/graphs/unneeded.pb", std::ios::binary);
  ASSERT_TRUE(cases.ParseFromIstream(&in));
  const auto is = [](const conformance::OpCase& c) { return c.name() == "gradients"; };
  const auto c = std::find_if(cases.cases().begin(), cases.cases().end(), is);
  ASSERT_NE(c, cases.cases().end());
  const auto model = LoadGraphDef(c->graph_def());
  ASSERT_TRUE(model.ok()) << model.status();
  const auto plan_of = [&](const conformance::Step& step) {
    const auto plan =
        model->Prune({"x:0", "p:0", "n:0"}, {step.fetches().begin(), step.fetches().end()})
            .PlanText({});
    EXPECT_TRUE(plan.ok()) << plan.status();
    return plan.ok() ? *plan : "";
  };
  EXPECT_EQ(plan_of(c->steps(0)).find("variant"), std::string::npos) << plan_of(c->steps(0));
  EXPECT_EQ(plan_of(c->steps(1)).find("variant"), std::string::npos) << plan_of(c->steps(1));
  EXPECT_NE(plan_of(c->steps(2)).find("variant"), std::string::npos);
}

}  // namespace
}  // namespace savedmodel
