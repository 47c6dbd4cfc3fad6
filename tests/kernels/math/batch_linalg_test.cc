// The names that linear algebra of batches has in old graphs.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

struct OldName {
  std::string name;  // behind "Batch"
  std::vector<std::string> inputs;
  int outputs = 1;
};

class BatchLinalgTest : public testing::TestWithParam<OldName> {};

TEST_P(BatchLinalgTest, IsTheOpWithoutBatch) {
  const OldName& op = GetParam();
  GraphText g;
  g.Input("x").Input("r").Bare("l2", "Const", {},
                               GraphText::Attr("dtype", "type: DT_DOUBLE") +
                                   GraphText::Attr("value",
                                                   "tensor { dtype: DT_DOUBLE tensor_shape {} "
                                                   "double_val: 0.5 }"));
  g.Node("old", "Batch" + op.name, op.inputs).Node("new", op.name, op.inputs);
  // Two symmetric matrices that are positive definite.
  const Tensor x =
      *Tensor::FromVector<float>({4, 1, 2, 1, 5, 3, 2, 3, 6, 9, 2, 1, 2, 8, 0, 1, 0, 7}, {2, 3, 3});
  std::vector<std::string> outputs;
  for (int i = 0; i < op.outputs; ++i) {
    outputs.push_back("old:" + std::to_string(i));
    outputs.push_back("new:" + std::to_string(i));
  }
  TensorMap inputs = {{"x:0", x}};
  if (op.inputs.size() > 1) inputs["r:0"] = Values({2, 3, 2});
  const Result r = RunGraph(g, inputs, outputs);
  for (int i = 0; i < op.outputs; ++i) {
    EXPECT_FALSE(r.values[2 * i].empty());
    EXPECT_EQ(r.values[2 * i], r.values[2 * i + 1]) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Ops, BatchLinalgTest,
    testing::Values(OldName{"Cholesky", {"x"}}, OldName{"MatrixDeterminant", {"x"}},
                    OldName{"MatrixInverse", {"x"}}, OldName{"MatrixSolve", {"x", "r"}},
                    OldName{"MatrixSolveLs", {"x", "r", "l2"}},
                    OldName{"MatrixTriangularSolve", {"x", "r"}}, OldName{"SelfAdjointEig", {"x"}},
                    OldName{"SelfAdjointEigV2", {"x"}, 2}, OldName{"Svd", {"x"}, 3}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace savedmodel
