// Fake quantisation of more values than a block against the formula, in double.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "savedmodel/model.h"
#include "tests/kernels/random_floats.h"

namespace savedmodel {
namespace {

// With 8 bits, of values in [min, max].
double Rounded(double x, double min, double max) {
  if (min == 0 && max == 0) return 0;
  if (std::isnan(x)) return x;
  const float scale = static_cast<float>(max - min) / 255;
  const double zero = std::min(std::max(std::round(-min / scale), 0.0), 255.0);
  const double low = -zero * scale, high = (255 - zero) * scale;
  return std::floor((std::min(std::max(x, low), high) - low) / scale + 0.5) * scale + low;
}

class FakeQuantTest : public testing::TestWithParam<int> {
 protected:
  static constexpr int64_t kChannels = 5, kRows = 2500;

  void Check(const std::string& op, const std::vector<float>& min, const std::vector<float>& max) {
    const bool by_channel = min.size() > 1;
    const std::string type = " op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } } ";
    LoadOptions options;
    options.num_threads = GetParam();
    const auto model = LoadGraphDef("node { name: 'x'" + type + "node { name: 'min'" + type +
                                        "node { name: 'max'" + type + "node { name: 'y' op: '" +
                                        op + "' input: 'x' input: 'min' input: 'max' }",
                                    options);
    ASSERT_TRUE(model.ok()) << model.status();
    std::vector<float> x = Random(kRows * kChannels, 7);
    for (float& v : x) v *= 4;
    x[3] = x[7001] = std::numeric_limits<float>::quiet_NaN();
    x[4] = std::numeric_limits<float>::infinity();
    const Shape range = by_channel ? Shape({kChannels}) : Shape();
    const auto y = model->Prune({"x", "min", "max"},
                                {"y"})({{"x", *Tensor::FromVector(x, Shape({kRows, kChannels}))},
                                        {"min", *Tensor::FromVector(min, range)},
                                        {"max", *Tensor::FromVector(max, range)}});
    ASSERT_TRUE(y.ok()) << y.status();
    for (int64_t i = 0; i < kRows * kChannels; ++i) {
      const int64_t c = by_channel ? i % kChannels : 0;
      const float got = y->at("y").data<float>()[i];
      const double want = Rounded(x[i], min[c], max[c]);
      if (std::isnan(want)) {
        ASSERT_TRUE(std::isnan(got)) << i;
      } else {
        // A value half way between two levels may go to either.
        const double level = (max[c] - min[c]) / 255 + 1e-6;
        ASSERT_LE(std::abs(got - want), level) << i;
        num_others_ += std::abs(got - want) > 1e-5;
      }
    }
    EXPECT_LT(num_others_, 5);
  }

  int num_others_ = 0;
};

TEST_P(FakeQuantTest, OneRange) { Check("FakeQuantWithMinMaxVars", {-1.5f}, {2.25f}); }
TEST_P(FakeQuantTest, FromZero) { Check("FakeQuantWithMinMaxVars", {0}, {3}); }
TEST_P(FakeQuantTest, Nothing) { Check("FakeQuantWithMinMaxVars", {0}, {0}); }
TEST_P(FakeQuantTest, ByChannel) {
  Check("FakeQuantWithMinMaxVarsPerChannel", {-1, 0, -3, 0, -0.25f}, {1, 2, 0, 0, 0.125f});
}

INSTANTIATE_TEST_SUITE_P(Threads, FakeQuantTest, testing::Values(1, 3));

}  // namespace
}  // namespace savedmodel
