// Runs a model with an op that the library does not know: Mish(x) = x * tanh(softplus(x)).
//
//   12_custom_op
#include <cmath>
#include <iostream>

#include "savedmodel/model.h"

// A GraphDef in text form, as a file could hold it: y = Mish(x).
constexpr char kGraph[] = R"(
  node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
  node { name: "y" op: "Mish" input: "x" attr { key: "T" value { type: DT_FLOAT } } })";

// Number and types of inputs are checked and the output is allocated before a kernel runs.
static savedmodel::Status RunMish(savedmodel::OpContext& ctx) {
  const float* x = ctx.in<float>(0);
  float* y = ctx.out<float>(0);
  ctx.ParallelFor(ctx.input(0).num_elements(), 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = x[i] * std::tanh(std::log1p(std::exp(x[i])));
  });
  return savedmodel::Status();
}

int main() {
  using savedmodel::Tensor;
  savedmodel::OpDef mish;
  mish.signature = "Mish(x: T) -> (y: T); T: {float} = float";
  mish.shape = [](savedmodel::ShapeContext& ctx) {
    ctx.set_output(0, ctx.input(0));
    return savedmodel::Status();
  };
  mish.build = savedmodel::BuildPlain<RunMish>;
  savedmodel::LoadOptions options;
  options.custom_ops = {mish};

  const savedmodel::TensorMap feeds = {{"x:0", Tensor::Vector<float>({-1, 0, 1})}};
  auto result = savedmodel::LoadGraphDef(kGraph, options)->session().Run(feeds, {"y:0"});
  if (!result.ok()) {
    std::cerr << result.status() << "\n";
    return 1;
  }
  std::cout << "Mish([-1 0 1]) = " << result->at(0).ToString() << "\n";

  // Without the row the model loads, and the error names op and node.
  auto without = savedmodel::LoadGraphDef(kGraph)->session().Run(feeds, {"y:0"});
  std::cout << without.status() << "\n";
  const auto y = result->at(0).values<float>();
  const bool as_expected = std::abs(y[0] + 0.303401f) < 1e-5f && std::abs(y[2] - 0.865098f) < 1e-5f;
  return as_expected && without.status().code() == savedmodel::StatusCode::kUnimplemented ? 0 : 1;
}
