// Elements of all sizes moved: transposed, joined and cut, in few and many, short and long rows.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

std::string Type(const std::string& dtype) {
  return " attr { key: 'T' value { type: " + dtype + " } }";
}

std::string Placeholder(const std::string& name, const std::string& dtype) {
  return "node { name: '" + name +
         "' op: 'Placeholder' attr { key: 'dtype' value { type: " + dtype + " } } }\n";
}

std::string Ints(const std::string& name, const std::vector<int>& values) {
  std::string all;
  for (const int v : values) all += " int_val: " + std::to_string(v);
  const std::string shape =
      values.size() == 1 ? "" : "dim { size: " + std::to_string(values.size()) + " }";
  return "node { name: '" + name + "' op: 'Const' attr { key: 'dtype' value { type: DT_INT32 } } " +
         "attr { key: 'value' value { tensor { dtype: DT_INT32 tensor_shape { " + shape + " }" +
         all + " } } } }\n";
}

template <class T>
std::vector<T> Numbers(int64_t n) {
  std::vector<T> x;
  for (int64_t i = 0; i < n; ++i) x.push_back(static_cast<T>(i * 2654435761u >> 7));
  return x;
}

template <class T>
const char* Name() {
  return sizeof(T) == 1   ? "DT_UINT8"
         : sizeof(T) == 2 ? "DT_UINT16"
         : sizeof(T) == 4 ? "DT_UINT32"
                          : "DT_UINT64";
}

StatusOr<std::vector<Tensor>> Run(const std::string& graph, int threads, const TensorMap& inputs,
                                  const std::vector<std::string>& outputs) {
  LoadOptions options;
  options.num_threads = threads;
  const auto model = LoadGraphDef(graph, options);
  if (!model.ok()) return model.status();
  return model->session().Run(inputs, outputs);
}

template <class T>
class MovesTest : public testing::Test {};
using Types = testing::Types<uint8_t, uint16_t, uint32_t, uint64_t>;
TYPED_TEST_SUITE(MovesTest, Types);

// [outer, rows, columns] to [outer, columns, rows].
TYPED_TEST(MovesTest, Transpose) {
  using T = TypeParam;
  const std::string graph = Placeholder("x", Name<T>()) + Ints("perm", {0, 2, 1}) +
                            "node { name: 'y' op: 'Transpose' input: 'x' input: 'perm'" +
                            Type(Name<T>()) + " attr { key: 'Tperm' value { type: DT_INT32 } } }";
  for (const std::vector<int64_t>& dims : std::vector<std::vector<int64_t>>{{1, 5, 2},
                                                                            {3, 2, 5},
                                                                            {2, 3, 1100},
                                                                            {2, 1100, 3},
                                                                            {1, 33, 47},
                                                                            {2, 64, 128},
                                                                            {1, 17, 2100},
                                                                            {1, 300, 20}}) {
    const int64_t outer = dims[0], rows = dims[1], columns = dims[2];
    const std::vector<T> x = Numbers<T>(outer * rows * columns);
    for (const int threads : {1, 3}) {
      const auto y = Run(graph, threads, {{"x:0", *Tensor::FromVector(x, Shape(dims))}}, {"y:0"});
      ASSERT_TRUE(y.ok()) << y.status();
      ASSERT_EQ((*y)[0].shape(), Shape({outer, columns, rows}));
      const T* got = (*y)[0].template data<T>();
      for (int64_t i = 0; i < outer * rows * columns; ++i) {
        const int64_t at = i / (rows * columns) * rows * columns;
        ASSERT_EQ(got[i], x[at + i % rows * columns + i / rows % columns])
            << i << " of " << Shape(dims).ToString();
      }
    }
  }
}

// Rows of two tensors, the second twice as long, joined and cut again.
TYPED_TEST(MovesTest, JoinAndCut) {
  using T = TypeParam;
  for (const int64_t length : {1, 2, 3, 7, 16, 37, 130, 700, 40000}) {
    for (const int64_t rows : {1, 3, 100, 1000}) {
      if (rows * length > 1000000) continue;
      const int n = static_cast<int>(length);
      const std::string graph =
          Placeholder("a", Name<T>()) + Placeholder("b", Name<T>()) + Ints("axis", {1}) +
          Ints("sizes", {n, n, n}) +
          "node { name: 'all' op: 'ConcatV2' input: 'a' input: 'b' input: 'axis'" +
          Type(Name<T>()) +
          " attr { key: 'N' value { i: 2 } } attr { key: 'Tidx' value { type: "
          "DT_INT32 } } }\nnode { name: 'part' op: 'SplitV' input: 'all' input: 'sizes' "
          "input: 'axis'" +
          Type(Name<T>()) +
          " attr { key: 'num_split' value { i: 3 } } "
          "attr { key: 'Tlen' value { type: DT_INT32 } } }";
      const std::vector<T> a = Numbers<T>(rows * length), b = Numbers<T>(rows * length * 2);
      for (const int threads : {1, 3}) {
        const auto y = Run(graph, threads,
                           {{"a:0", *Tensor::FromVector(a, Shape({rows, length}))},
                            {"b:0", *Tensor::FromVector(b, Shape({rows, 2 * length}))}},
                           {"all:0", "part:0", "part:1", "part:2"});
        ASSERT_TRUE(y.ok()) << y.status();
        for (int64_t i = 0; i < 3 * rows * length; ++i) {
          const int64_t row = i / (3 * length), column = i % (3 * length);
          const T expected =
              column < length ? a[row * length + column] : b[row * 2 * length + column - length];
          ASSERT_EQ((*y)[0].template data<T>()[i], expected) << i << " of rows of " << length;
          const Tensor& part = (*y)[static_cast<size_t>(1 + column / length)];
          ASSERT_EQ(part.template data<T>()[row * length + column % length], expected)
              << i << " of rows of " << length;
        }
      }
    }
  }
}

}  // namespace
}  // namespace savedmodel
