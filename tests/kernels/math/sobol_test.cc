// Points of the Sobol sequence: how they fill the unit interval, and arguments that are refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

constexpr int64_t kMaxInt = 2147483647;

std::string Placeholder(const std::string& name) {
  return "node { name: '" + name +
         "' op: 'Placeholder' attr { key: 'dtype' value { type: DT_INT32 } } }\n";
}

StatusOr<Tensor> Sample(int64_t dim, int64_t num_results, int64_t skip) {
  LoadOptions options;
  options.memory_limit = int64_t{1} << 30;
  const auto model = LoadGraphDef(
      Placeholder("dim") + Placeholder("num_results") + Placeholder("skip") +
          "node { name: 'y' op: 'SobolSample' input: 'dim' input: 'num_results' input: 'skip' "
          "attr { key: 'dtype' value { type: DT_FLOAT } } }",
      options);
  if (!model.ok()) return model.status();
  const auto scalar = [](int64_t x) { return Tensor::Scalar(static_cast<int32_t>(x)); };
  const auto y = model->session().Run(
      {{"dim:0", scalar(dim)}, {"num_results:0", scalar(num_results)}, {"skip:0", scalar(skip)}},
      {"y:0"});
  if (!y.ok()) return y.status();
  return y->front();
}

// With point 0, 2^k points are all multiples of 2^-k in each dimension.
TEST(SobolTest, PointsFillTheInterval) {
  constexpr int64_t kDimensions = 1111, kPoints = 1 << 10;
  const auto y = Sample(kDimensions, kPoints - 1, 0);
  ASSERT_TRUE(y.ok()) << y.status();
  ASSERT_EQ(y->shape(), Shape({kPoints - 1, kDimensions}));
  for (int64_t j = 0; j < kDimensions; ++j) {
    std::vector<int64_t> found(kPoints);
    for (int64_t i = 0; i + 1 < kPoints; ++i) {
      const float x = y->data<float>()[i * kDimensions + j] * kPoints;
      found[i + 1] = static_cast<int64_t>(x);
      ASSERT_EQ(static_cast<float>(found[i + 1]), x);
    }
    std::sort(found.begin(), found.end());
    for (int64_t i = 0; i < kPoints; ++i) ASSERT_EQ(found[i], i) << "dimension " << j;
  }
}

TEST(SobolTest, SkippingStartsLater) {
  constexpr int64_t kDimensions = 7, kPoints = 3000, kSkip = 1234;
  const auto all = Sample(kDimensions, kPoints, 0);
  const auto rest = Sample(kDimensions, kPoints - kSkip, kSkip);
  ASSERT_TRUE(all.ok() && rest.ok());
  EXPECT_TRUE(std::equal(rest->data<float>(), rest->data<float>() + rest->num_elements(),
                         all->data<float>() + kSkip * kDimensions));
}

TEST(SobolTest, RefusesWrongArguments) {
  struct Case {
    int64_t dim, num_results, skip;
    StatusCode code;
    std::string_view text;
  };
  constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
  for (const Case& c : {
           Case{0, 1, 0, kInvalid, "dim must be at least one, found 0"},
           Case{21201, 1, 0, kInvalid, "dim must be at most 21200, found 21201"},
           Case{1112, 1, 0, StatusCode::kUnimplemented, "dim must be at most 1111"},
           Case{1, 0, 0, kInvalid, "num_results must be at least one, found 0"},
           Case{1, 1, -1, kInvalid, "skip must be non-negative, found -1"},
           Case{1, 2, kMaxInt - 2, kInvalid, "num_results+skip must be less than 2147483647"},
           Case{1, kMaxInt, kMaxInt, kInvalid, "num_results+skip must be less than 2147483647"},
           Case{1111, kMaxInt - 1, 0, StatusCode::kResourceExhausted, "memory"},
       }) {
    const auto y = Sample(c.dim, c.num_results, c.skip);
    ASSERT_FALSE(y.ok()) << c.text;
    EXPECT_EQ(y.status().code(), c.code) << y.status();
    EXPECT_NE(y.status().message().find(c.text), std::string::npos) << y.status();
  }
}

}  // namespace
}  // namespace savedmodel
