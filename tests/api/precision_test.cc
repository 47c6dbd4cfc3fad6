// Models in each precision against what TensorFlow computes in float32.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "savedmodel/model.h"
#include "src/kernels/isa/vector_code.h"
#include "src/loader/tensor_proto.h"

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

INSTANTIATE_TEST_SUITE_P(
    Models, PrecisionTest,
    testing::Values(PrecisionCase{"keras3_export_mlp", {"features"}, {"output_0"}, 2e-2, 3e-2},
                    PrecisionCase{"tf2_transformer_block", {"ids", "mask"}, {"last"}, 2e-2, 5e-2},
                    PrecisionCase{"keras2_lstm", {"x"}, {"lstm"}, 2e-2, 3e-2}),
    [](const auto& info) { return info.param.model; });

}  // namespace
}  // namespace savedmodel
