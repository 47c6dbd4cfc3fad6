// Shapes that are inferred while a plan runs change with what runs bring.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

// Shapes after Where depend on data: that of "doubled" on its input's shape alone, that of "range"
// on the value of an input.
constexpr char kGraph[] = R"(
  node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
  node { name: "where" op: "Where" input: "x" attr { key: "T" value { type: DT_FLOAT } } }
  node { name: "doubled" op: "AddV2" input: "where" input: "where"
         attr { key: "T" value { type: DT_INT64 } } }
  node { name: "size" op: "Size" input: "where" attr { key: "T" value { type: DT_INT64 } }
         attr { key: "out_type" value { type: DT_INT32 } } }
  node { name: "zero" op: "Const" attr { key: "dtype" value { type: DT_INT32 } }
         attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape {} int_val: 0 } } } }
  node { name: "one" op: "Const" attr { key: "dtype" value { type: DT_INT32 } }
         attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape {} int_val: 1 } } } }
  node { name: "range" op: "Range" input: "zero" input: "size" input: "one"
         attr { key: "Tidx" value { type: DT_INT32 } } })";

TEST(InferredShapes, FollowTheData) {
  const auto model = LoadGraphDef(kGraph);
  ASSERT_TRUE(model.ok()) << model.status();
  const Function f = model->Prune({"x"}, {"doubled", "range"});
  using Values = std::vector<float>;
  for (const Values& values : {Values{1, 0, 1}, Values{0, 1, 1}, Values{1, 1, 1}, Values{0, 0, 0},
                               Values{1, 1, 1}, Values{1, 0, 0}}) {
    const auto y = f({{"x", *Tensor::FromVector(values, Shape({3}))}});
    ASSERT_TRUE(y.ok()) << y.status();
    std::vector<int64_t> doubled;
    std::vector<int32_t> range;
    for (int64_t i = 0; i < 3; ++i) {
      if (values[i] == 0) continue;
      doubled.push_back(2 * i);
      range.push_back(static_cast<int32_t>(range.size()));
    }
    const int64_t n = static_cast<int64_t>(range.size());
    EXPECT_EQ(y->at("doubled").shape(), Shape({n, 1}));
    EXPECT_EQ(y->at("range").shape(), Shape({n}));
    EXPECT_TRUE(std::equal(doubled.begin(), doubled.end(), y->at("doubled").data<int64_t>()));
    EXPECT_TRUE(std::equal(range.begin(), range.end(), y->at("range").data<int32_t>()));
  }
}

// What an op demands of its inputs is checked when they come, though its output has one shape only.
TEST(InferredShapes, InputsAreCheckedWhereOutputsAreKnown) {
  const auto model = LoadGraphDef(R"(
    node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
    node { name: "dims" op: "Placeholder" attr { key: "dtype" value { type: DT_INT32 } }
           attr { key: "shape" value { shape { dim { size: 2 } } } } }
    node { name: "matrix" op: "Reshape" input: "x" input: "dims"
           attr { key: "T" value { type: DT_FLOAT } } }
    node { name: "y" op: "MatrixDeterminant" input: "matrix"
           attr { key: "T" value { type: DT_FLOAT } } })");
  ASSERT_TRUE(model.ok()) << model.status();
  const Function f = model->Prune({"x", "dims"}, {"y"});
  const Tensor x = Tensor::Vector<float>({1, 2, 3, 5, 0, 0});
  const auto refused = f({{"x", x}, {"dims", Tensor::Vector<int32_t>({2, 3})}});
  EXPECT_EQ(refused.status().code(), StatusCode::kInvalidArgument) << refused.status();
  const auto y =
      f({{"x", Tensor::Vector<float>({1, 2, 3, 5})}, {"dims", Tensor::Vector<int32_t>({2, 2})}});
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_NEAR(*y->at("y").data<float>(), -1, 1e-6);
}

}  // namespace
}  // namespace savedmodel
