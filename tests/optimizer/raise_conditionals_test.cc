// Conditionals of TensorFlow 1 graphs become If where they are of the form that tf.cond gives, and
// keep their Switches and Merges where not. Expected values: the formulas of the branches. What
// TensorFlow answers to whole graphs is in data/graphs.
#include <string>
#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

using Vector = std::vector<float>;

// The beginning of a tf.cond named `name`: its predicate and pivots.
GraphText& Pivots(GraphText& g, const std::string& name, const std::string& predicate = "p") {
  const std::string boolean = GraphText::Attr("T", "type: DT_BOOL");
  return g.Bare(name + "/Switch", "Switch", {predicate, predicate}, boolean)
      .Bare(name + "/switch_t", "Identity", {name + "/Switch:1"}, boolean)
      .Bare(name + "/switch_f", "Identity", {name + "/Switch"}, boolean)
      .Bare(name + "/pred_id", "Identity", {predicate}, boolean);
}

GraphText Inputs() {
  GraphText g;
  g.Input("x", "dim { size: 2 }").Input("p", "", "DT_BOOL").Input("q", "", "DT_BOOL");
  return g;
}

// y = p ? x * 3 : x - 2, with the constants in the branches.
GraphText& Cond(GraphText& g, const std::string& name, const std::string& x,
                const std::string& predicate = "p") {
  const auto in = [&](const std::string& node) { return name + "/" + node; };
  return Pivots(g, name, predicate)
      .Number(in("three"), 3, {"^" + in("switch_t")})
      .Number(in("two"), 2, {"^" + in("switch_f")})
      .Node(in("t"), "Switch", {x, in("pred_id")})
      .Node(in("f"), "Switch", {x, in("pred_id")})
      .Node(in("mul"), "Mul", {in("t:1"), in("three")})
      .Node(in("sub"), "Sub", {in("f"), in("two")})
      .Node(in("Merge"), "Merge", {in("sub"), in("mul")}, GraphText::Attr("N", "i: 2"));
}

class RaiseConditionalsTest : public testing::Test {
 protected:
  // Runs for both values of p, and of q, which follow each other as 00, 01, 10, 11.
  std::vector<Result> RunAll(const GraphText& g, const std::vector<std::string>& outputs) {
    std::vector<Result> results;
    for (const bool p : {false, true}) {
      for (const bool q : {false, true}) {
        results.push_back(RunGraph(g,
                                   {{"x", Tensor::Vector<float>({1, -4})},
                                    {"p", Tensor::Scalar<bool>(p)},
                                    {"q", Tensor::Scalar<bool>(q)}},
                                   outputs));
      }
    }
    return results;
  }
  static bool IsRaised(const Result& r) {
    return Has(r, "StatelessIf") && !Has(r, "Switch") && !Has(r, "Merge");
  }
  static bool Stays(const Result& r) {
    return !Has(r, "StatelessIf") && Has(r, "Switch") && Has(r, "Merge");
  }
};

TEST_F(RaiseConditionalsTest, CondBecomesIf) {
  GraphText g = Inputs();
  Cond(g, "cond", "x");
  const std::vector<Result> r = RunAll(g, {"cond/Merge"});
  for (const Result& result : r) EXPECT_TRUE(IsRaised(result)) << result.plan;
  EXPECT_EQ(r[0].values[0], Vector({-1, -6}));
  EXPECT_EQ(r[2].values[0], Vector({3, -12}));
}

TEST_F(RaiseConditionalsTest, AllResultsOfOneCondAreOneIf) {
  GraphText g = Inputs();
  Cond(g, "cond", "x")
      .Node("cond/again", "Switch", {"x", "cond/pred_id"})
      .Node("cond/neg", "Neg", {"cond/again:1"})
      .Node("cond/Merge_1", "Merge", {"cond/again", "cond/neg"}, GraphText::Attr("N", "i: 2"));
  const std::vector<Result> r = RunAll(g, {"cond/Merge", "cond/Merge_1"});
  EXPECT_TRUE(IsRaised(r[0])) << r[0].plan;
  EXPECT_EQ(Count(r[0], "StatelessIf"), 1) << r[0].plan;
  EXPECT_EQ(r[0].values, std::vector<Vector>({{-1, -6}, {1, -4}}));
  EXPECT_EQ(r[2].values, std::vector<Vector>({{3, -12}, {-1, 4}}));
}

TEST_F(RaiseConditionalsTest, NestedConds) {
  GraphText g = Inputs();
  Pivots(g, "outer")
      .Node("outer/x", "Switch", {"x", "outer/pred_id"})
      .Bare("outer/q", "Switch", {"q", "outer/pred_id"}, GraphText::Attr("T", "type: DT_BOOL"));
  Cond(g, "outer/inner", "outer/x:1", "outer/q:1")
      .Node("outer/Merge", "Merge", {"outer/x", "outer/inner/Merge"}, GraphText::Attr("N", "i: 2"));
  const std::vector<Result> r = RunAll(g, {"outer/Merge"});
  for (const Result& result : r) EXPECT_TRUE(IsRaised(result)) << result.plan;
  EXPECT_EQ(r[0].values[0], Vector({1, -4}));
  EXPECT_EQ(r[1].values[0], Vector({1, -4}));
  EXPECT_EQ(r[2].values[0], Vector({-1, -6}));
  EXPECT_EQ(r[3].values[0], Vector({3, -12}));
}

// One Identity of the predicate for conditionals of which one needs the other: as one If they would
// wait for themselves.
TEST_F(RaiseConditionalsTest, SharedPredicateOfAChain) {
  GraphText g = Inputs();
  Cond(g, "a", "x")
      .Node("b/x", "Switch", {"a/Merge", "a/pred_id"})
      .Node("b/neg", "Neg", {"b/x:1"})
      .Node("b/Merge", "Merge", {"b/x", "b/neg"}, GraphText::Attr("N", "i: 2"));
  const std::vector<Result> r = RunAll(g, {"b/Merge"});
  EXPECT_TRUE(IsRaised(r[0])) << r[0].plan;
  EXPECT_EQ(Count(r[0], "StatelessIf"), 2) << r[0].plan;
  EXPECT_EQ(r[0].values[0], Vector({-1, -6}));
  EXPECT_EQ(r[2].values[0], Vector({-3, 12}));
}

TEST_F(RaiseConditionalsTest, ABranchThatLeavesAndComesBackStays) {
  GraphText g = Inputs();
  Cond(g, "a", "x")
      .Node("outside", "Neg", {"a/Merge"})
      .Node("b/x", "Switch", {"outside", "a/pred_id"})
      .Node("b/add", "Add", {"b/x:1", "a/mul"})
      .Node("b/Merge", "Merge", {"b/x", "b/add"}, GraphText::Attr("N", "i: 2"));
  const std::vector<Result> r = RunAll(g, {"b/Merge"});
  EXPECT_TRUE(Stays(r[0])) << r[0].plan;
  EXPECT_EQ(r[0].values[0], Vector({1, 6}));
  EXPECT_EQ(r[2].values[0], Vector({0, 0}));
}

TEST_F(RaiseConditionalsTest, WhichInputAMergeTook) {
  GraphText g = Inputs();
  Cond(g, "cond", "x")
      .Bare("which", "Cast", {"cond/Merge:1"},
            GraphText::Attr("SrcT", "type: DT_INT32") + GraphText::Attr("DstT", "type: DT_FLOAT"));
  const std::vector<Result> r = RunAll(g, {"which"});
  EXPECT_TRUE(IsRaised(r[0])) << r[0].plan;
  EXPECT_EQ(r[0].values[0], Vector({0}));
  EXPECT_EQ(r[2].values[0], Vector({1}));
}

TEST_F(RaiseConditionalsTest, AResultInsideOfABranchStays) {
  GraphText g = Inputs();
  Cond(g, "cond", "x");
  const Model model = *LoadGraphDef(g.text());
  const Function f = model.Prune({"x", "p"}, {"cond/Merge", "cond/mul"});
  const auto call = [&](bool p) {
    return f({{"x", Tensor::Vector<float>({1, -4})}, {"p", Tensor::Scalar<bool>(p)}});
  };
  const auto taken = call(true);
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->at("cond/mul").ToVector<float>(), Vector({3, -12}));
  EXPECT_EQ(call(false).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(RaiseConditionalsTest, MergesOfAnotherFormStay) {
  GraphText three = Inputs();
  three.Node("s", "Switch", {"x", "p"})
      .Node("s2", "Switch", {"s:1", "q"})
      .Node("y", "Merge", {"s", "s2", "s2:1"}, GraphText::Attr("N", "i: 3"));
  GraphText mixed = Inputs();
  mixed.Node("s", "Switch", {"x", "p"})
      .Node("s2", "Switch", {"x", "q"})
      .Node("neg", "Neg", {"s2:1"})
      .Node("y", "Merge", {"s:1", "neg"}, GraphText::Attr("N", "i: 2"));
  for (const Result& result : RunAll(three, {"y"})) {
    EXPECT_TRUE(Stays(result)) << result.plan;
    EXPECT_EQ(result.values[0], Vector({1, -4}));
  }
  const Result r = RunGraph(mixed,
                            {{"x", Tensor::Vector<float>({1, -4})},
                             {"p", Tensor::Scalar<bool>(false)},
                             {"q", Tensor::Scalar<bool>(true)}},
                            {"y"});
  EXPECT_TRUE(Stays(r)) << r.plan;
  EXPECT_EQ(r.values[0], Vector({-1, 4}));
}

// Nobody joins what the branch computes with the other side.
TEST_F(RaiseConditionalsTest, ABranchWithoutMergeStays) {
  GraphText g = Inputs();
  g.Node("s", "Switch", {"x", "p"}).Node("neg", "Neg", {"s:1"});
  const Result r = RunGraph(
      g, {{"x", Tensor::Vector<float>({1, -4})}, {"p", Tensor::Scalar<bool>(true)}}, {"neg"});
  EXPECT_TRUE(Has(r, "Switch") && !Has(r, "StatelessIf")) << r.plan;
  EXPECT_EQ(r.values[0], Vector({-1, 4}));
}

}  // namespace
}  // namespace savedmodel
