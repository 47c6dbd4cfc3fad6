// Calls with more shapes than are compiled at once.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

Tensor Ramp(int64_t rows, int64_t columns) {
  auto t = Tensor::Allocate(DType::kFloat, Shape({rows, columns}));
  float* values = static_cast<float*>(t->raw_mutable_data());
  for (int64_t i = 0; i < rows * columns; ++i) values[i] = static_cast<float>(i % 7 - 3);
  return *t;
}

// y = sums over rows of relu(2 x + rows), and a loop that doubles x three times.
constexpr char kGraph[] = R"(
  node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } }
         attr { key: "shape" value { shape { dim { size: -1 } dim { size: -1 } } } } }
  node { name: "two" op: "Const" attr { key: "dtype" value { type: DT_FLOAT } }
         attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape {} float_val: 2 } } } }
  node { name: "shape" op: "Shape" input: "x"
         attr { key: "T" value { type: DT_FLOAT } } }
  node { name: "dims" op: "Unpack" input: "shape" attr { key: "num" value { i: 2 } }
         attr { key: "T" value { type: DT_INT32 } } }
  node { name: "rows" op: "Cast" input: "dims" attr { key: "SrcT" value { type: DT_INT32 } }
         attr { key: "DstT" value { type: DT_FLOAT } } }
  node { name: "scaled" op: "Mul" input: "x" input: "two"
         attr { key: "T" value { type: DT_FLOAT } } }
  node { name: "moved" op: "AddV2" input: "scaled" input: "rows"
         attr { key: "T" value { type: DT_FLOAT } } }
  node { name: "relu" op: "Relu" input: "moved"
         attr { key: "T" value { type: DT_FLOAT } } }
  node { name: "axis" op: "Const" attr { key: "dtype" value { type: DT_INT32 } }
         attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape { dim { size: 1 } }
                                              int_val: 0 } } } }
  node { name: "y" op: "Sum" input: "relu" input: "axis"
         attr { key: "T" value { type: DT_FLOAT } } }
  node { name: "zero" op: "Const" attr { key: "dtype" value { type: DT_INT32 } }
         attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape {} int_val: 0 } } } }
  node { name: "z" op: "While" input: "zero" input: "x"
         attr { key: "T" value { list { type: DT_INT32 type: DT_FLOAT } } }
         attr { key: "cond" value { func { name: "less" } } }
         attr { key: "body" value { func { name: "double" } } } }
  library {
    function {
      signature { name: "less" input_arg { name: "i" type: DT_INT32 }
                  input_arg { name: "x" type: DT_FLOAT } output_arg { name: "go" type: DT_BOOL } }
      node_def { name: "three" op: "Const" attr { key: "dtype" value { type: DT_INT32 } }
                 attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape {}
                                                      int_val: 3 } } } }
      node_def { name: "l" op: "Less" input: "i" input: "three:output:0"
                 attr { key: "T" value { type: DT_INT32 } } }
      ret { key: "go" value: "l:z:0" }
    }
    function {
      signature { name: "double" input_arg { name: "i" type: DT_INT32 }
                  input_arg { name: "x" type: DT_FLOAT } output_arg { name: "j" type: DT_INT32 }
                  output_arg { name: "y" type: DT_FLOAT } }
      node_def { name: "one" op: "Const" attr { key: "dtype" value { type: DT_INT32 } }
                 attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape {}
                                                      int_val: 1 } } } }
      node_def { name: "a" op: "AddV2" input: "i" input: "one:output:0"
                 attr { key: "T" value { type: DT_INT32 } } }
      node_def { name: "b" op: "AddV2" input: "x" input: "x"
                 attr { key: "T" value { type: DT_FLOAT } } }
      ret { key: "j" value: "a:z:0" }
      ret { key: "y" value: "b:z:0" }
    }
  })";

void ExpectSums(const Function& f, int64_t rows, int64_t columns) {
  const Tensor x = Ramp(rows, columns);
  const auto results = f({{"x", x}});
  ASSERT_TRUE(results.ok()) << results.status();
  const Tensor &y = results->at("y"), &z = results->at("z:1");
  ASSERT_EQ(y.shape(), Shape({columns}));
  ASSERT_EQ(z.shape(), x.shape());
  for (int64_t c = 0; c < columns; ++c) {
    float sum = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const float value = x.data<float>()[r * columns + c];
      sum += std::max(0.0f, 2 * value + static_cast<float>(rows));
      ASSERT_EQ(z.data<float>()[r * columns + c], 8 * value);
    }
    ASSERT_EQ(y.data<float>()[c], sum) << rows << " x " << columns << ": " << c;
  }
}

TEST(ManyShapes, EachGivesItsResult) {
  const auto model = LoadGraphDef(kGraph);
  ASSERT_TRUE(model.ok()) << model.status();
  const Function f = model->Prune({"x"}, {"y", "z:1"});
  for (int round = 0; round < 6; ++round) {
    for (int64_t rows = 1; rows <= 9; ++rows) {
      for (int64_t columns = 1; columns <= 9; ++columns) ExpectSums(f, rows, columns);
    }
  }
  // A shape of another kind among them.
  ExpectSums(f, 0, 3);
  ExpectSums(f, 300, 400);
  for (int64_t rows = 10; rows <= 40; ++rows) ExpectSums(f, rows, 2);
}

// Errors name what is wrong with one of many shapes, and do not keep others from running.
TEST(ManyShapes, OthersAreRefused) {
  const auto model = LoadGraphDef(R"(
    node { name: "a" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
    node { name: "b" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
    node { name: "y" op: "MatMul" input: "a" input: "b"
           attr { key: "T" value { type: DT_FLOAT } } })");
  ASSERT_TRUE(model.ok()) << model.status();
  const Function f = model->Prune({"a", "b"}, {"y"});
  for (int64_t n = 1; n <= 60; ++n) {
    const auto refused = f({{"a", Ramp(2, n)}, {"b", Ramp(n + 1, 3)}});
    EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument) << refused.status();
    const auto y = f({{"a", Ramp(2, n)}, {"b", Ramp(n, 3)}});
    ASSERT_TRUE(y.ok()) << y.status();
    EXPECT_EQ(y->at("y").shape(), Shape({2, 3}));
  }
}

}  // namespace
}  // namespace savedmodel
