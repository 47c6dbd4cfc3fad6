// What kernels give must be what the graph was compiled for.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "savedmodel/model.h"
#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

Status PairsShape(ShapeContext& ctx) {
  ctx.set_output(0, Shape({-1, 2}));
  return Status();
}

// As many elements as x says, in a matrix of that many columns or in a vector.
Status RunPairs(OpContext& ctx) {
  const float columns = *ctx.in<float>(0);
  const Shape shape = columns > 0 ? Shape({3, static_cast<int64_t>(columns)}) : Shape({6});
  if (Status s = ctx.AllocateOutput(0, shape); !s.ok()) return s;
  std::fill_n(ctx.out<float>(0), shape.num_elements(), 1.0f);
  return Status();
}

TEST(KernelOutputsTest, HaveTheShapeThatWasInferred) {
  LoadOptions options;
  OpDef op;
  op.signature = "Pairs(x: T) -> (y: T); T: {float}";
  op.shape = PairsShape;
  op.build = BuildPlain<RunPairs>;
  options.custom_ops.push_back(op);
  GraphText g;
  g.Input("x").Node("p", "Pairs", {"x"}).Ints("axes", {1});
  g.Node("y", "Sum", {"p", "axes"}, GraphText::Attr("Tidx", "type: DT_INT32"));
  const auto model = LoadGraphDef(g.text(), options);
  ASSERT_TRUE(model.ok()) << model.status();
  const Function f = model->Prune({"x:0"}, {"y:0"});
  const auto run = [&](float columns) {
    return f({{"x:0", *Tensor::FromVector(std::vector<float>{columns}, Shape())}});
  };
  const auto y = run(2);
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_EQ(y->at("y:0").ToVector<float>(), (std::vector<float>{2, 2, 2}));
  for (const float columns : {3.0f, 0.0f}) {
    EXPECT_EQ(run(columns).status().code(), StatusCode::kInternal) << columns;
  }
}

}  // namespace
}  // namespace savedmodel
