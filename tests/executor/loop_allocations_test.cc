// What a loop whose values keep their shapes asks the system for does not depend on its turns.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <new>
#include <string>

#include "savedmodel/model.h"
#include "tests/optimizer/graph_text.h"

namespace {

thread_local int64_t allocations = 0;

void* Allocate(size_t bytes, size_t alignment) {
  ++allocations;
  void* memory = nullptr;
  return posix_memalign(&memory, alignment, bytes) == 0 ? memory : nullptr;
}

}  // namespace

// All that the library allocates with, in place of the standard ones in this program.
extern "C" void* aligned_alloc(size_t alignment, size_t bytes) {
  return Allocate(bytes, alignment);
}
[[gnu::noinline]] void* operator new(size_t bytes) {
  if (void* memory = Allocate(bytes, alignof(std::max_align_t))) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return Allocate(bytes, alignof(std::max_align_t));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace savedmodel {
namespace {

// for (i = 0; i < n; ++i) h = i % 2 < 1 ? tanh(h) + 1 : h / -2, as tf.while_loop and tf.cond of
// TensorFlow 1 write it.
std::string Loop() {
  const std::string frame = GraphText::Attr("frame_name", "s: 'loop'");
  const std::string two_inputs = GraphText::Attr("N", "i: 2");
  GraphText g;
  g.Input("x", "dim { size: 3 } dim { size: 5 }").Input("n", "");
  g.Number("zero", 0).Number("one", 1).Number("two", 2).Number("half", -0.5);
  g.Node("enter_i", "Enter", {"zero"}, frame);
  g.Node("enter_h", "Enter", {"x"}, frame);
  g.Node("enter_n", "Enter", {"n"}, frame + GraphText::Attr("is_constant", "b: true"));
  g.Node("i", "Merge", {"enter_i", "next_i"}, two_inputs);
  g.Node("h", "Merge", {"enter_h", "next_h"}, two_inputs);
  g.Node("less", "Less", {"i", "enter_n"}).Bare("go_on", "LoopCond", {"less"}, "");
  g.Node("i_gate", "Switch", {"i", "go_on"}).Node("h_gate", "Switch", {"h", "go_on"});
  g.Node("mod", "FloorMod", {"i_gate:1", "two"}).Node("even", "Less", {"mod", "one"});
  g.Node("h_side", "Switch", {"h_gate:1", "even"});
  g.Node("tanh", "Tanh", {"h_side:1"}).Node("then", "Add", {"tanh", "one"});
  g.Node("else", "Mul", {"h_side", "half"});
  g.Node("joined", "Merge", {"else", "then"}, two_inputs);
  g.Node("i_more", "Add", {"i_gate:1", "one"});
  g.Node("next_i", "NextIteration", {"i_more"}).Node("next_h", "NextIteration", {"joined"});
  g.Node("y", "Exit", {"h_gate"});
  return g.text();
}

class LoopAllocationsTest : public testing::Test {
 protected:
  int64_t Count(float turns) {
    call_.input("n").mutable_data<float>()[0] = turns;
    const int64_t before = allocations;
    EXPECT_TRUE(call_.Run().ok());
    return allocations - before;
  }

  const Model model_ = *LoadGraphDef(Loop());
  const Function function_ = model_.Prune({"x", "n"}, {"y"});
  BoundCall call_ =
      *function_.Bind({{"x", Values(Shape({3, 5}))}, {"n", Tensor::Scalar<float>(0)}});
};

TEST_F(LoopAllocationsTest, NoneInATurn) {
  ASSERT_TRUE(call_.status().ok()) << call_.status();
  const auto plan = function_.PlanText({{"x", Shape({3, 5})}, {"n", Shape()}});
  EXPECT_NE(plan->find(" StatelessWhile("), std::string::npos) << *plan;
  Count(3);
  const int64_t few = Count(2);
  EXPECT_EQ(Count(1000), few);
}

TEST_F(LoopAllocationsTest, Values) {
  for (const int turns : {0, 1, 2, 3, 10, 0, 5}) {
    Count(static_cast<float>(turns));
    const Tensor x = Values(Shape({3, 5}));
    std::vector<float> expected = x.ToVector<float>();
    for (float& h : expected) {
      for (int i = 0; i < turns; ++i) h = i % 2 < 1 ? std::tanh(h) + 1 : h * -0.5f;
    }
    const std::vector<float> found = call_.output("y").ToVector<float>();
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-5) << turns;
  }
}

// The counter sees what is allocated: a plan for other shapes.
TEST_F(LoopAllocationsTest, CompilingIsSeen) {
  const int64_t before = allocations;
  const auto y = function_({{"x", Values(Shape({3, 5}))}, {"n", Tensor::Scalar<float>(1)}});
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_GT(allocations, before);
}

}  // namespace
}  // namespace savedmodel
