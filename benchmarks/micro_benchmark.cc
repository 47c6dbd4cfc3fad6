// Micro-benchmarks: what a call costs beyond its arithmetic, and single kernels through the API.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "savedmodel/model.h"

namespace savedmodel {
namespace {

// y = x * 0.5 + 2, the smallest model that serving systems use.
constexpr char kHalfPlusTwo[] = R"(
node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } }
       attr { key: "shape" value { shape { dim { size: 1 } } } } }
node { name: "a" op: "Const" attr { key: "dtype" value { type: DT_FLOAT } }
       attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape {} float_val: 0.5 } } } }
node { name: "b" op: "Const" attr { key: "dtype" value { type: DT_FLOAT } }
       attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape {} float_val: 2 } } } }
node { name: "ax" op: "Mul" input: "x" input: "a" attr { key: "T" value { type: DT_FLOAT } } }
node { name: "y" op: "AddV2" input: "ax" input: "b" attr { key: "T" value { type: DT_FLOAT } } }
)";

std::string Placeholder(const std::string& name, const std::vector<int64_t>& dims) {
  std::string text = "node { name: '" + name +
                     "' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } "
                     "attr { key: 'shape' value { shape {";
  for (const int64_t d : dims) text += " dim { size: " + std::to_string(d) + " }";
  return text + " } } } }\n";
}

Tensor Numbers(const std::vector<int64_t>& dims) {
  auto t = Tensor::Allocate(DType::kFloat, Shape(dims));
  float* p = static_cast<float*>(t->raw_mutable_data());
  for (int64_t i = 0; i < t->num_elements(); ++i) p[i] = static_cast<float>(i % 13 - 6) / 7;
  return *t;
}

// The model of `graph` on one thread, ready to run from `feeds` to "y".
Function Compile(const std::string& graph, const std::vector<std::string>& feeds) {
  LoadOptions options;
  options.num_threads = 1;
  auto model = LoadGraphDef(graph, options);
  return model->Prune(feeds, {"y:0"});
}

void HalfPlusTwoBound(benchmark::State& state) {
  const Function f = Compile(kHalfPlusTwo, {"x:0"});
  auto call = f.Bind({{"x:0", Numbers({1})}});
  if (!call.ok()) return state.SkipWithError(call.status().ToString().c_str());
  for (auto _ : state) {
    if (!call->Run().ok()) state.SkipWithError("run failed");
  }
}
BENCHMARK(HalfPlusTwoBound);

void HalfPlusTwoByName(benchmark::State& state) {
  const Function f = Compile(kHalfPlusTwo, {"x:0"});
  const TensorMap inputs = {{"x:0", Numbers({1})}};
  for (auto _ : state) {
    auto y = f(inputs);
    if (!y.ok()) return state.SkipWithError(y.status().ToString().c_str());
    benchmark::DoNotOptimize(y);
  }
}
BENCHMARK(HalfPlusTwoByName);

struct KernelCase {
  const char* name;
  std::string node;  // op and attributes of node "y"
  std::vector<std::vector<int64_t>> inputs;
  double flops;
};

void RunKernel(benchmark::State& state, const KernelCase& c) {
  std::string graph, uses;
  std::vector<std::string> feeds;
  TensorMap inputs;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const std::string name = "in" + std::to_string(i);
    graph += Placeholder(name, c.inputs[i]);
    uses += " input: '" + name + "'";
    feeds.push_back(name + ":0");
    inputs[feeds.back()] = Numbers(c.inputs[i]);
  }
  graph +=
      "node { name: 'y'" + uses + " attr { key: 'T' value { type: DT_FLOAT } } " + c.node + " }";
  auto call = Compile(graph, feeds).Bind(inputs);
  if (!call.ok()) return state.SkipWithError(call.status().ToString().c_str());
  for (auto _ : state) {
    if (!call->Run().ok()) state.SkipWithError("run failed");
  }
  if (c.flops > 0) {
    state.counters["flops"] =
        benchmark::Counter(c.flops, benchmark::Counter::kIsIterationInvariantRate);
  }
}

const char kConv[] =
    "op: 'Conv2D' attr { key: 'strides' value { list { i: 1 i: 1 i: 1 i: 1 } } } "
    "attr { key: 'padding' value { s: 'SAME' } }";
const char kPool[] =
    "op: 'MaxPool' attr { key: 'ksize' value { list { i: 1 i: 2 i: 2 i: 1 } } } "
    "attr { key: 'strides' value { list { i: 1 i: 2 i: 2 i: 1 } } } "
    "attr { key: 'padding' value { s: 'SAME' } }";

const KernelCase kKernels[] = {
    {"MatMul_256", "op: 'MatMul'", {{256, 256}, {256, 256}}, 2.0 * 256 * 256 * 256},
    {"MatMul_1x1024x1024", "op: 'MatMul'", {{1, 1024}, {1024, 1024}}, 2.0 * 1024 * 1024},
    {"BatchMatMul_12x128x64",
     "op: 'BatchMatMulV2'",
     {{12, 128, 64}, {12, 64, 128}},
     2.0 * 12 * 128 * 128 * 64},
    {"Conv2D_56x56x64_3x3", kConv, {{1, 56, 56, 64}, {3, 3, 64, 64}}, 2.0 * 56 * 56 * 64 * 64 * 9},
    {"Conv2D_14x14x256_1x1",
     kConv,
     {{1, 14, 14, 256}, {1, 1, 256, 256}},
     2.0 * 14 * 14 * 256 * 256},
    {"MaxPool_112x112x64", kPool, {{1, 112, 112, 64}}, 0},
    {"Add_100k", "op: 'AddV2'", {{100000}, {100000}}, 1e5},
    {"Tanh_100k", "op: 'Tanh'", {{100000}}, 1e5},
    {"Exp_100k", "op: 'Exp'", {{100000}}, 1e5},
    {"Softmax_128x1000", "op: 'Softmax'", {{128, 1000}}, 0},
};

const bool registered = [] {
  for (const KernelCase& c : kKernels) {
    benchmark::RegisterBenchmark(c.name, [&c](benchmark::State& s) { RunKernel(s, c); });
  }
  return true;
}();

}  // namespace
}  // namespace savedmodel

BENCHMARK_MAIN();
