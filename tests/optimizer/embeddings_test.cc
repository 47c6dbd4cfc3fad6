// Sums of embeddings: the plan has no rows of their own, and the numbers are those of the formulas.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/optimizer/graph_text.h"

namespace savedmodel {
namespace {

void ExpectNear(const std::vector<float>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 2e-6) << i;
}

const std::string kGatherTypes = GraphText::Attr("Tparams", "type: DT_FLOAT") +
                                 GraphText::Attr("Tindices", "type: DT_INT32") +
                                 GraphText::Attr("Taxis", "type: DT_INT32");

// Rows of a table, added up (or their mean) along the last axis of the indices.
void CheckGatherSum(const std::string& op, const std::vector<int>& indices,
                    const std::vector<int>& shape, int axis) {
  constexpr int kColumns = 37;
  GraphText g;
  g.Input("table").Ints("index", indices, shape).Int("zero", 0).Ints("axis", {axis});
  g.Bare("rows", "GatherV2", {"table", "index", "zero"}, kGatherTypes);
  g.Node("y", op, {"rows", "axis"});
  const Tensor table = Values({11, kColumns}, 3, 101);
  const Result r = RunGraph(g, {{"table:0", table}}, {"y:0"});
  EXPECT_TRUE(Has(r, "_GatherSum")) << r.plan;
  EXPECT_FALSE(Has(r, "GatherV2") || Has(r, op)) << r.plan;
  const size_t taps = static_cast<size_t>(shape.back());
  std::vector<double> expected(indices.size() / taps * kColumns);
  for (size_t i = 0; i < indices.size() * kColumns; ++i) {
    const size_t row = i / kColumns, column = i % kColumns;
    const double x = table.data<float>()[static_cast<size_t>(indices[row]) * kColumns + column];
    expected[row / taps * kColumns + column] += op == "Mean" ? x / static_cast<double>(taps) : x;
  }
  ExpectNear(r.values[0], expected);
}

TEST(EmbeddingsTest, GatherSum) {
  CheckGatherSum("Mean", {1, 5, 10, 0, 5, 5}, {2, 3}, 1);
  CheckGatherSum("Sum", {1, 5, 10, 0, 5, 5}, {2, 3}, -2);
  CheckGatherSum("Sum", {7, 8}, {2}, 0);
  CheckGatherSum("Mean", {4, 3, 2, 1}, {2, 2, 1}, 2);
}

TEST(EmbeddingsTest, GatherSumOfIndexOutsideIsRefused) {
  GraphText g;
  g.Input("table").Ints("index", {1, 11}).Int("zero", 0).Ints("axis", {0});
  g.Bare("rows", "GatherV2", {"table", "index", "zero"}, kGatherTypes);
  g.Node("y", "Sum", {"rows", "axis"});
  auto model = LoadGraphDef(g.text());
  ASSERT_TRUE(model.ok()) << model.status();
  const TensorMap inputs = {{"table:0", Values({11, 3})}};
  EXPECT_EQ(model->Prune({"table:0"}, {"y:0"})(inputs).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(EmbeddingsTest, SumOfGatheredColumnsIsNone) {
  GraphText g;
  g.Input("table").Ints("index", {1, 5, 2, 3}, {2, 2}).Int("zero", 0).Ints("axis", {2});
  g.Bare("rows", "GatherV2", {"table", "index", "zero"}, kGatherTypes);
  g.Node("y", "Sum", {"rows", "axis"});
  const Result r = RunGraph(g, {{"table:0", Values({11, 3})}}, {"y:0"});
  EXPECT_FALSE(Has(r, "_GatherSum")) << r.plan;
}

// Rows 4, 0, 4, 7, 2 of a table, once each, summed in segments of 2, 0, 3 rows.
Result LookUp(const std::string& op, const std::string& indices) {
  GraphText g;
  g.Input("table").Input("ids", "dim { size: 5 }", "DT_INT32");
  g.Ints("segments", {0, 0, 2, 2, 2});
  g.Int("axis", 0);
  g.Bare("unique", "Unique", {"ids"},
         GraphText::Attr("T", "type: DT_INT32") + GraphText::Attr("out_idx", "type: DT_INT32"));
  g.Bare("rows", "GatherV2", {"table", "unique", "axis"}, kGatherTypes);
  g.Bare("y", op, {"rows", indices, "segments"},
         GraphText::Attr("T", "type: DT_FLOAT") + GraphText::Attr("Tidx", "type: DT_INT32") +
             GraphText::Attr("Tsegmentids", "type: DT_INT32"));
  const Tensor ids = *Tensor::FromVector<int32_t>({4, 0, 4, 7, 2}, {5});
  return RunGraph(g, {{"table:0", Values({8, 19}, 3, 101)}, {"ids:0", ids}}, {"y:0"});
}

TEST(EmbeddingsTest, LookupsSumRowsOfTheTable) {
  const Tensor table = Values({8, 19}, 3, 101);
  const std::vector<std::vector<size_t>> segments = {{4, 0}, {}, {4, 7, 2}};
  for (const std::string op : {"SparseSegmentSum", "SparseSegmentMean", "SparseSegmentSqrtN"}) {
    const Result r = LookUp(op, "unique:1");
    EXPECT_TRUE(Has(r, op)) << r.plan;
    EXPECT_FALSE(Has(r, "GatherV2") || Has(r, "Unique")) << r.plan;
    std::vector<double> expected;
    for (const std::vector<size_t>& rows : segments) {
      const double n = std::max<double>(1, static_cast<double>(rows.size()));
      for (size_t k = 0; k < 19; ++k) {
        double sum = 0;
        for (const size_t row : rows) sum += table.data<float>()[row * 19 + k];
        expected.push_back(op == "SparseSegmentSum"    ? sum
                           : op == "SparseSegmentMean" ? sum / n
                                                       : sum / std::sqrt(n));
      }
    }
    ExpectNear(r.values[0], expected);
  }
}

TEST(EmbeddingsTest, OtherRowsThanThoseOfTheIndexStay) {
  EXPECT_TRUE(Has(LookUp("SparseSegmentSum", "segments"), "GatherV2"));
}

}  // namespace
}  // namespace savedmodel
