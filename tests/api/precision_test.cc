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
#include "tests/kernels/rounded_floats.h"

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

// A convolution of square images, one of them, and windows.
struct Convolution {
  int64_t size, window, stride, channels, out_channels;

  int64_t out_size() const { return (size + stride - 1) / stride; }

  std::vector<float> Run(const std::vector<float>& x, const std::vector<float>& f,
                         Precision precision) const {
    const std::string number = std::to_string(stride);
    const std::string graph = R"(
      node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
      node { name: "f" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
      node { name: "y" op: "Conv2D" input: "x" input: "f"
             attr { key: "T" value { type: DT_FLOAT } }
             attr { key: "padding" value { s: "SAME" } }
             attr { key: "strides" value { list { i: 1 i: )" +
                              number + " i: " + number + " i: 1 } } } }";
    LoadOptions options;
    options.precision = precision;
    const Shape shape({1, size, size, channels}),
        of_filter({window, window, channels, out_channels});
    const TensorMap filter = {{"f:0", Tensor::FromVector(f, of_filter).value()}};
    const Model model = LoadGraphDef(graph, options, {"", filter}).value();
    return model.Prune({"x:0"}, {"y:0"})({{"x:0", Tensor::FromVector(x, shape).value()}})
        .value()
        .at("y:0")
        .ToVector<float>();
  }

  std::vector<double> Expected(const std::vector<float>& x, const std::vector<float>& f) const {
    const int64_t before = std::max<int64_t>((out_size() - 1) * stride + window - size, 0) / 2;
    std::vector<double> sums(out_size() * out_size() * out_channels);
    for (int64_t i = 0; i < static_cast<int64_t>(sums.size()); ++i) {
      const int64_t pixel = i / out_channels;
      const int64_t top = pixel / out_size() * stride - before;
      const int64_t left = pixel % out_size() * stride - before;
      for (int64_t tap = 0; tap < window * window; ++tap) {
        const int64_t h = top + tap / window, w = left + tap % window;
        if (h < 0 || h >= size || w < 0 || w >= size) continue;
        for (int64_t c = 0; c < channels; ++c) {
          sums[i] += static_cast<double>(x[(h * size + w) * channels + c]) *
                     f[(tap * channels + c) * out_channels + i % out_channels];
        }
      }
    }
    return sums;
  }
};

// Root of the mean square, as a share of that of the expected values.
double ErrorOf(const std::vector<float>& found, const std::vector<double>& expected) {
  EXPECT_EQ(found.size(), expected.size());
  double squares = 0, errors = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    squares += expected[i] * expected[i];
    errors += (found[i] - expected[i]) * (found[i] - expected[i]);
  }
  return std::sqrt(errors / squares);
}

// Also where float32 has a quicker way than the product that is reduced.
TEST(PrecisionOfConvolutions, Int8) {
  for (const int64_t size : {6, 16}) {
    const Convolution convolution{size, 3, 1, 32, 32};
    const std::vector<float> f = Random(9 * 32 * 32, 1), x = Random(size * size * 32, 2);
    const auto exact = convolution.Run(x, f, Precision::kFloat32);
    const auto reduced = convolution.Run(x, f, Precision::kInt8);
    EXPECT_EQ(exact == reduced, Reduced(Precision::kInt8) == nullptr);
    EXPECT_LT(ErrorOf(reduced, convolution.Expected(x, f)), 1e-2) << size;
  }
}

// Windows that overlap, of runs with an even and an odd number of floats, at the edges and inside;
// the products of rounded numbers are exact.
TEST(PrecisionOfConvolutions, BFloat16) {
  for (const Convolution& convolution :
       {Convolution{37, 7, 2, 3, 64}, {40, 3, 2, 17, 24}, {7, 3, 1, 80, 32}, {50, 5, 3, 6, 70}}) {
    std::vector<float> x = Random(convolution.size * convolution.size * convolution.channels, 1);
    std::vector<float> f = Random(
        convolution.window * convolution.window * convolution.channels * convolution.out_channels,
        2);
    const std::vector<float> reduced = convolution.Run(x, f, Precision::kBFloat16);
    if (Reduced(Precision::kBFloat16) != nullptr) {
      std::transform(x.begin(), x.end(), x.begin(), Rounded);
      std::transform(f.begin(), f.end(), f.begin(), Rounded);
    }
    EXPECT_LT(ErrorOf(reduced, convolution.Expected(x, f)), 1e-6) << convolution.size;
  }
}

}  // namespace
}  // namespace savedmodel
