// Limits and threads of one call.
#include <gtest/gtest.h>

#include <atomic>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

class CountingPool final : public ThreadPool {
 public:
  int num_threads() const override { return 2; }
  void Run(int64_t n, FunctionRef<void(int64_t)> fn) override {
    ++runs;
    for (int64_t i = 0; i < n; ++i) fn(i);
  }
  std::atomic<int> runs{0};
};

// y = x * x for a matrix that is large enough to be split.
constexpr char kSquare[] = R"(
  node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
  node { name: "y" op: "MatMul" input: "x" input: "x" attr { key: "T" value { type: DT_FLOAT } } })";

TEST(RunOptionsTest, ThreadPoolOfTheCallIsUsed) {
  const Model model = *LoadGraphDef(kSquare);
  const Function f = model.Prune({"x"}, {"y"});
  const Tensor x = *Tensor::Zeros(DType::kFloat, Shape({300, 300}));
  CountingPool pool;
  RunOptions options;
  options.thread_pool = &pool;
  ASSERT_TRUE(f({{"x", x}}, options).ok());
  EXPECT_GT(pool.runs, 0);
  const int runs = pool.runs;
  ASSERT_TRUE(f({{"x", x}}).ok());
  EXPECT_EQ(pool.runs, runs);
  BoundCall call = *f.Bind({{"x", x}});
  ASSERT_TRUE(call.Run(options).ok());
  EXPECT_GT(pool.runs, runs);
}

TEST(RunOptionsTest, MemoryLimitOfTheCallIsKept) {
  const Function f = LoadGraphDef(kSquare)->Prune({"x"}, {"y"});
  const Tensor x = *Tensor::Zeros(DType::kFloat, Shape({300, 300}));
  RunOptions options;
  options.memory_limit = 1000;
  EXPECT_EQ(f({{"x", x}}, options).status().code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(f({{"x", x}}).ok());
}

TEST(RunOptionsTest, CancelledBeforeItStarts) {
  const Function f = LoadGraphDef(kSquare)->Prune({"x"}, {"y"});
  const std::atomic<bool> cancelled{true};
  RunOptions options;
  options.cancelled = &cancelled;
  EXPECT_EQ(
      f({{"x", Tensor::FromVector<float>({1}, Shape({1, 1})).value()}}, options).status().code(),
      StatusCode::kCancelled);
}

// The product is the only step, so that it is the step itself that ends.
TEST(RunOptionsTest, DeadlineReachesIntoAStep) {
  const Function f = LoadGraphDef(kSquare)->Prune({"x"}, {"y"});
  const Tensor x = *Tensor::Zeros(DType::kFloat, Shape({4000, 4000}));
  ASSERT_TRUE(f.Prepare({{"x", x.shape()}}).ok());
  RunOptions options;
  options.timeout = std::chrono::milliseconds(20);
  EXPECT_EQ(f({{"x", x}}, options).status().code(), StatusCode::kDeadlineExceeded);
}

TEST(RunOptionsTest, LoopsEndAtTheLimitOfTheCall) {
  const Function fib = Load("data/models/tf2_while/model")->function("fib");
  const Tensor ten = Tensor::Scalar<int32_t>(10);
  EXPECT_TRUE(fib.Call({ten}).ok()) << fib.Call({ten}).status();
  RunOptions options;
  options.max_loop_iterations = 2;
  EXPECT_EQ(fib.Call({ten}, {}, options).status().code(), StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace savedmodel
