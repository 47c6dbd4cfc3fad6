// StartProfile and StopProfile: the steps of calls between them.
#include "savedmodel/profile.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

Status CallOnce(const Function& f) {
  TensorMap inputs;
  for (const TensorSpec& spec : f.inputs()) {
    Shape shape = spec.shape;
    for (int d = 0; d < shape.rank(); ++d) shape = shape.WithDim(d, std::max<int64_t>(shape[d], 1));
    inputs[spec.name] = *Tensor::Zeros(spec.dtype, shape);
  }
  return f(inputs).status();
}

TEST(ProfileTest, StepsOfACall) {
  const Model model = *Load("data/models/keras2_sequential_dense/model");
  const Function f = model.Signature("serving_default");
  ASSERT_TRUE(CallOnce(f).ok());
  ASSERT_TRUE(StartProfile());
  EXPECT_FALSE(StartProfile()) << "one is being recorded already";
  ASSERT_TRUE(CallOnce(f).ok());
  const std::vector<StepTiming> steps = StopProfile();
  EXPECT_TRUE(std::any_of(steps.begin(), steps.end(),
                          [](const StepTiming& s) { return s.op == "MatMul"; }));
  for (const StepTiming& s : steps) {
    EXPECT_FALSE(s.node.empty());
    EXPECT_GE(s.start_ns, 0);
    EXPECT_GE(s.self_ns, 0);
    EXPECT_GE(s.duration_ns, s.self_ns);
  }
}

TEST(ProfileTest, NothingOutside) {
  const Model model = *Load("data/models/keras2_sequential_dense/model");
  ASSERT_TRUE(StartProfile());
  EXPECT_TRUE(StopProfile().empty());
  ASSERT_TRUE(CallOnce(model.Signature("serving_default")).ok());
  ASSERT_TRUE(StartProfile());
  EXPECT_TRUE(StopProfile().empty());
}

}  // namespace
}  // namespace savedmodel
