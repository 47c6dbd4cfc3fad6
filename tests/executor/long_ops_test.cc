// Ops that run long and do not need each other run at the same time.
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "savedmodel/model.h"
#include "src/base/status_macros.h"
#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

constexpr int kElements = 1000;

// Where two ops wait for each other.
struct Meeting {
  std::mutex mutex;
  std::condition_variable change;
  int arrived = 0;
};
Meeting* meeting = nullptr;

Status RunMeet(OpContext& ctx) {
  std::unique_lock<std::mutex> lock(meeting->mutex);
  ++meeting->arrived;
  meeting->change.notify_all();
  const bool met = meeting->change.wait_for(lock, std::chrono::seconds(20),
                                            [] { return meeting->arrived >= 2; });
  if (!met) return InvalidArgument("nobody came");
  return ctx.ForwardInput(0, 0, ctx.input(0).shape());
}

// x + by, in the input's memory where that may be.
template <int by>
Status RunAdd(OpContext& ctx) {
  Tensor x = ctx.TakeInput(0);
  if (!x.exclusive()) {
    SM_ASSIGN_OR_RETURN(x, x.Clone());
  }
  float* values = static_cast<float*>(x.raw_mutable_data());
  for (int64_t i = 0; i < x.num_elements(); ++i) values[i] += by;
  ctx.set_output(0, std::move(x));
  return Status();
}

Status RunRefuse(OpContext&) { return InvalidArgument("refused"); }

Status UnknownShape(ShapeContext&) { return Status(); }

StatusOr<Model> LoadLongOps(const GraphText& graph, int threads) {
  LoadOptions options;
  options.num_threads = threads;
  const auto add = [&](const char* signature, BuildFn build) {
    OpDef op;
    op.signature = signature;
    op.shape = UnknownShape;
    op.build = build;
    op.is_long = true;
    options.custom_ops.push_back(op);
  };
  add("Meet(x: T) -> (y: T); T: {float}", BuildPlain<RunMeet>);
  add("Increment(x: T) -> (y: T); T: {float}", BuildPlain<RunAdd<1>>);
  add("Decrement(x: T) -> (y: T); T: {float}", BuildPlain<RunAdd<-1>>);
  add("Refuse(x: T) -> (y: T); T: {float}", BuildPlain<RunRefuse>);
  return LoadGraphDef(graph.text(), options);
}

Function Pruned(const Model& model, const std::vector<std::string>& outputs) {
  return model.Prune({"x:0"}, outputs);
}

bool RunsAtOnce(const Function& f) {
  const auto plan = f.PlanText({{"x:0", Shape({kElements})}});
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() && plan->find(" at once with the next 1 ") != std::string::npos;
}

TEST(LongOpsTest, IndependentOnesRunAtOnce) {
  GraphText g;
  // The second one's input is made after the first could run.
  g.Input("x").Node("a", "Meet", {"x"}).Node("n", "Neg", {"x"}).Node("e", "Exp", {"n"});
  g.Node("b", "Meet", {"e"}).Node("y", "AddV2", {"a", "b"});
  const auto model = LoadLongOps(g, 2);
  ASSERT_TRUE(model.ok()) << model.status();
  Meeting here;
  meeting = &here;
  const Function f = Pruned(*model, {"y:0"});
  EXPECT_TRUE(RunsAtOnce(f));
  const Tensor x = Values({kElements}, 3);
  const auto y = f({{"x:0", x}});
  ASSERT_TRUE(y.ok()) << y.status();
  for (int i = 0; i < kElements; ++i) {
    const float v = x.data<float>()[i];
    ASSERT_NEAR(y->at("y:0").data<float>()[i], v + std::exp(-v), 1e-5);
  }
}

TEST(LongOpsTest, OneThatNeedsTheOtherWaits) {
  GraphText g;
  g.Input("x").Node("a", "Increment", {"x"}).Node("b", "Increment", {"a"});
  const auto model = LoadLongOps(g, 2);
  ASSERT_TRUE(model.ok()) << model.status();
  const Function f = Pruned(*model, {"b:0"});
  EXPECT_FALSE(RunsAtOnce(f));
  const auto y = f({{"x:0", Values({kElements})}});
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_EQ(y->at("b:0").data<float>()[0], Values({kElements}).data<float>()[0] + 2);
}

// Both would change their input in place, were they its only user.
TEST(LongOpsTest, InputsThatTheyShareStayWhole) {
  GraphText g;
  g.Input("x").Node("n", "Increment", {"x"});
  g.Node("a", "Increment", {"n"}).Node("b", "Decrement", {"n"}).Node("y", "Sub", {"a", "b"});
  for (const int threads : {1, 4}) {
    const auto model = LoadLongOps(g, threads);
    ASSERT_TRUE(model.ok()) << model.status();
    const Function f = Pruned(*model, {"a:0", "y:0"});
    EXPECT_TRUE(RunsAtOnce(f));
    const Tensor x = Values({kElements}, 8);
    for (int call = 0; call < 3; ++call) {
      const auto y = f({{"x:0", x}});
      ASSERT_TRUE(y.ok()) << y.status();
      for (int i = 0; i < kElements; ++i) {
        ASSERT_EQ(y->at("a:0").data<float>()[i], x.data<float>()[i] + 1 + 1);
        ASSERT_NEAR(y->at("y:0").data<float>()[i], 2, 1e-5);
      }
    }
  }
}

TEST(LongOpsTest, ErrorsSayWhere) {
  GraphText g;
  g.Input("x").Node("a", "Increment", {"x"}).Node("bad", "Refuse", {"x"});
  g.Node("y", "Sub", {"a", "bad"});
  const auto model = LoadLongOps(g, 2);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto y = Pruned(*model, {"y:0"})({{"x:0", Values({kElements})}});
  EXPECT_EQ(y.status().code(), StatusCode::kInvalidArgument);
  EXPECT_NE(y.status().ToString().find("bad (Refuse)"), std::string::npos) << y.status();
}

}  // namespace
}  // namespace savedmodel
