// Numbers as printf prints them, also where they take ways of their own.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

// All kinds of floats: any bits, and those of common sizes.
std::vector<float> Floats() {
  std::mt19937 generator(1);
  std::vector<float> x = {0.0f,
                          -0.0f,
                          0.5f,
                          1.5e-6f,
                          2.5f,
                          -1e-9f,
                          9.5f,
                          9.9999995f,
                          1e12f,
                          9.3e12f,
                          std::numeric_limits<float>::infinity(),
                          std::nanf("")};
  for (int i = 0; i < 20000; ++i) {
    const uint32_t bits = generator();
    float any;
    std::memcpy(&any, &bits, sizeof(any));
    x.push_back(std::isnormal(any) ? any : 1.0f);  // subnormal numbers are read as 0
    x.push_back(static_cast<float>(static_cast<int32_t>(generator())) / (1 << (i % 32)));
  }
  return x;
}

TEST(AsString, FloatsAsPrintf) {
  const std::vector<float> x = Floats();
  for (const auto& [precision, notation, format] : {std::tuple(-1, "", "%f"),
                                                    {0, "", "%.0f"},
                                                    {1, "", "%.1f"},
                                                    {3, "", "%.3f"},
                                                    {12, "", "%.12f"},
                                                    {13, "", "%.13f"},
                                                    {-1, "scientific", "%e"},
                                                    {-1, "shortest", "%g"}}) {
    std::string node =
        "node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } }\n"
        "node { name: 'y' op: 'AsString' input: 'x' attr { key: 'T' value { type: DT_FLOAT } } "
        "attr { key: 'precision' value { i: " +
        std::to_string(precision) + " } }";
    if (*notation != 0) node += std::string(" attr { key: '") + notation + "' value { b: true } }";
    const auto model = LoadGraphDef(node + " }");
    ASSERT_TRUE(model.ok()) << model.status();
    const Tensor in = *Tensor::FromVector(x, Shape({static_cast<int64_t>(x.size())}));
    const auto y = model->session().Run({{"x:0", in}}, {"y:0"});
    ASSERT_TRUE(y.ok()) << y.status();
    for (size_t i = 0; i < x.size(); ++i) {
      char text[256];
      std::snprintf(text, sizeof(text), format, static_cast<double>(x[i]));
      ASSERT_EQ(y->front().data<std::string>()[i], text) << format;
    }
  }
}

}  // namespace
}  // namespace savedmodel
