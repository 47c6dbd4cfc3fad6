// Models in each precision against what TensorFlow computes in float32.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "savedmodel/model.h"
#include "src/kernels/isa/vector_code.h"
#include "src/loader/tensor_proto.h"
#include "tests/kernels/random_floats.h"

namespace savedmodel {
namespace {

struct PrecisionCase {
  std::string model;
  std::vector<std::string> inputs, outputs;
  double bfloat16_error, int8_error;  // of the largest value of an output
};

Tensor ReadTensor(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return ParseTensorProto(bytes).value();
}

class PrecisionTest : public testing::TestWithParam<PrecisionCase> {
 protected:
  std::string directory() const { return "data/models/" + GetParam().model; }

  TensorMap Run(Precision precision) const {
    LoadOptions options;
    options.precision = precision;
    const Model model = Load(directory() + "/model", options).value();
    TensorMap inputs;
    for (const std::string& name : GetParam().inputs) {
      inputs[name] = ReadTensor(directory() + "/data/c0.in." + name + ".pb");
    }
    return model.Signature("serving_default")(inputs).value();
  }

  // The largest difference from TensorFlow's outputs, as a share of their largest values.
  double Error(const TensorMap& outputs) const {
    double error = 0;
    for (const std::string& name : GetParam().outputs) {
      const auto expected =
          ReadTensor(directory() + "/data/c0.out." + name + ".pb").ToVector<float>();
      const auto found = outputs.at(name).ToVector<float>();
      EXPECT_EQ(found.size(), expected.size());
      double largest = 0, difference = 0;
      for (size_t i = 0; i < expected.size(); ++i) {
        largest = std::max<double>(largest, std::abs(expected[i]));
        difference = std::max<double>(difference, std::abs(found[i] - expected[i]));
      }
      error = std::max(error, difference / largest);
    }
    return error;
  }

  // A reduced precision is used where there is one, and only there.
  void Check(Precision precision, double most) const {
    const TensorMap exact = Run(Precision::kFloat32), reduced = Run(precision);
    EXPECT_LT(Error(reduced), most);
    for (const std::string& name : GetParam().outputs) {
      const bool same = exact.at(name).ToVector<float>() == reduced.at(name).ToVector<float>();
      EXPECT_EQ(same, Reduced(precision) == nullptr) << name;
    }
  }
};

TEST_P(PrecisionTest, Float32) { EXPECT_LT(Error(Run(Precision::kFloat32)), 1e-5); }
TEST_P(PrecisionTest, BFloat16) { Check(Precision::kBFloat16, GetParam().bfloat16_error); }
TEST_P(PrecisionTest, Int8) { Check(Precision::kInt8, GetParam().int8_error); }

INSTANTIATE_TEST_SUITE_P(Models, PrecisionTest,
                         testing::Values(PrecisionCase{
                             "tf2_transformer_block", {"ids", "mask"}, {"last"}, 1e-2, 3e-2}),
                         [](const auto& info) { return info.param.model; });

// A convolution of 3x3.
constexpr int64_t kChannels = 32;
constexpr char kConvolution[] = R"(
  node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
  node { name: "f" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
  node { name: "y" op: "Conv2D" input: "x" input: "f"
         attr { key: "T" value { type: DT_FLOAT } } attr { key: "padding" value { s: "SAME" } }
         attr { key: "strides" value { list { i: 1 i: 1 i: 1 i: 1 } } } })";

std::vector<float> Convolve(const std::vector<float>& x, const std::vector<float>& f, int64_t size,
                            Precision precision) {
  LoadOptions options;
  options.precision = precision;
  const Shape shape({1, size, size, kChannels});
  const TensorMap filter = {
      {"f:0", Tensor::FromVector(f, Shape({3, 3, kChannels, kChannels})).value()}};
  const Model model = LoadGraphDef(kConvolution, options, {"", filter}).value();
  return model.Prune({"x:0"}, {"y:0"})({{"x:0", Tensor::FromVector(x, shape).value()}})
      .value()
      .at("y:0")
      .ToVector<float>();
}

double ExpectedOf(const std::vector<float>& x, const std::vector<float>& f, int64_t size,
                  int64_t row, int64_t column, int64_t channel) {
  double sum = 0;
  for (int64_t i = 0; i < 9; ++i) {
    const int64_t h = row + i / 3 - 1, w = column + i % 3 - 1;
    if (h < 0 || h >= size || w < 0 || w >= size) continue;
    for (int64_t c = 0; c < kChannels; ++c) {
      sum += static_cast<double>(x[(h * size + w) * kChannels + c]) *
             f[(i * kChannels + c) * kChannels + channel];
    }
  }
  return sum;
}

// Also where float32 has a quicker way than the product that is reduced.
TEST(PrecisionOfConvolutions, Int8) {
  const std::vector<float> f = Random(9 * kChannels * kChannels, 1);
  for (const int64_t size : {6, 16}) {
    const std::vector<float> x = Random(size * size * kChannels, 2);
    const auto exact = Convolve(x, f, size, Precision::kFloat32);
    const auto reduced = Convolve(x, f, size, Precision::kInt8);
    EXPECT_EQ(exact == reduced, Reduced(Precision::kInt8) == nullptr);
    double squares = 0, errors = 0;
    for (size_t i = 0; i < reduced.size(); ++i) {
      const int64_t at = static_cast<int64_t>(i), pixel = at / kChannels;
      const double expected = ExpectedOf(x, f, size, pixel / size, pixel % size, at % kChannels);
      squares += expected * expected;
      errors += (reduced[i] - expected) * (reduced[i] - expected);
    }
    EXPECT_LT(std::sqrt(errors / squares), 1e-2) << size;
  }
}

}  // namespace
}  // namespace savedmodel
