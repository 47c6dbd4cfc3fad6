// Micro-benchmarks: what a call costs beyond its arithmetic, and single kernels through the API.
#include <benchmark/benchmark.h>

#include <optional>
#include <string>
#include <vector>

#include "benchmarks/peak.h"
#include "savedmodel/model.h"
#include "src/kernels/isa/vector_code.h"

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

// The model of `graph` on one thread, ready to run from `feeds` to "y", with `constants` by name.
Function Compile(const std::string& graph, const std::vector<std::string>& feeds,
                 const TensorMap& constants = {}, Precision precision = Precision::kFloat32) {
  LoadOptions options;
  options.num_threads = 1;
  options.precision = precision;
  auto model = LoadGraphDef(graph, options, {"", constants});
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

// A node "y" of one op, run on one thread. Weights are constants, as they are in a model.
struct KernelCase {
  std::string name;
  std::string node;            // op and attributes
  std::vector<int64_t> input;  // none: weights come first
  std::vector<std::vector<int64_t>> weights;
  std::vector<std::vector<int64_t>> more_inputs;
  double flops = 0;  // multiply-adds count two; 0 where another measure fits better
  double bytes = 0;  // read and written at least once
  Precision precision = Precision::kFloat32;
  // What ops with a vector of integers among their inputs take, and the number of that input.
  std::optional<std::vector<int32_t>> integers = {};
  size_t integers_at = 0;
  std::vector<std::string> none = {};  // dtypes of inputs after all others, vectors of nothing
};

std::string IntVector(const std::string& name, const std::vector<int32_t>& values) {
  std::string tensor =
      "tensor { dtype: DT_INT32 tensor_shape { dim { size: " + std::to_string(values.size()) +
      " } }";
  for (const int32_t v : values) tensor += " int_val: " + std::to_string(v);
  return "node { name: '" + name + "' op: 'Const' attr { key: 'dtype' value { type: DT_INT32 } } " +
         "attr { key: 'value' value { " + tensor + " } } } }";
}

void RunKernel(benchmark::State& state, const KernelCase& c) {
  std::string graph, uses;
  std::vector<std::string> feeds;
  TensorMap inputs, constants;
  if (c.integers) graph += IntVector("integers", *c.integers);
  const auto add = [&](const std::vector<int64_t>& dims, bool constant) {
    const size_t number = inputs.size() + constants.size();
    if (c.integers && number == c.integers_at) uses += " input: 'integers'";
    const std::string name = "in" + std::to_string(number);
    graph += Placeholder(name, dims);
    uses += " input: '" + name + "'";
    (constant ? constants : inputs)[name + ":0"] = Numbers(dims);
    if (!constant) feeds.push_back(name + ":0");
  };
  if (!c.input.empty()) add(c.input, false);
  for (const auto& dims : c.weights) add(dims, true);
  for (const auto& dims : c.more_inputs) add(dims, false);
  if (c.integers && inputs.size() + constants.size() == c.integers_at) uses += " input: 'integers'";
  for (const std::string& dtype : c.none) {
    graph += "node { name: 'none" + dtype +
             "' op: 'Const' attr { key: 'dtype' value { type: " + dtype +
             " } } attr { key: 'value' value { tensor { dtype: " + dtype +
             " tensor_shape { dim { size: 0 } } } } } }";
    uses += " input: 'none" + dtype + "'";
  }
  graph +=
      "node { name: 'y'" + uses + " attr { key: 'T' value { type: DT_FLOAT } } " + c.node + " }";
  auto call = Compile(graph, feeds, constants, c.precision).Bind(inputs);
  if (!call.ok()) return state.SkipWithError(call.status().ToString().c_str());
  for (auto _ : state) {
    if (!call->Run().ok()) state.SkipWithError("run failed");
  }
  using benchmark::Counter;
  if (c.flops > 0) {
    state.counters["flops"] = Counter(c.flops, Counter::kIsIterationInvariantRate);
    state.counters["of_peak"] =
        Counter(c.flops / PeakFlops(c.precision), Counter::kIsIterationInvariantRate);
  }
  if (c.bytes > 0) {
    state.counters["bytes"] =
        Counter(c.bytes, Counter::kIsIterationInvariantRate, Counter::kIs1024);
  }
  state.SetLabel(Vectors().name);
}

std::string Shape4(int64_t size, int64_t channels) {
  return std::to_string(size) + "x" + std::to_string(size) + "x" + std::to_string(channels);
}

const char kSame[] = "attr { key: 'padding' value { s: 'SAME' } }";

std::string Strides(int64_t stride) {
  const std::string s = std::to_string(stride);
  return "attr { key: 'strides' value { list { i: 1 i: " + s + " i: " + s + " i: 1 } } }";
}

// SAME convolution of a square image, batch 1.
KernelCase Conv(int64_t size, int64_t in, int64_t out, int64_t window, int64_t stride) {
  const int64_t pixels = (size + stride - 1) / stride * ((size + stride - 1) / stride);
  return {"Conv2D/" + Shape4(size, in) + "/" + std::to_string(window) + "x" +
              std::to_string(window) + "s" + std::to_string(stride) + "/" + std::to_string(out),
          std::string("op: 'Conv2D' ") + Strides(stride) + kSame,
          {1, size, size, in},
          {{window, window, in, out}},
          {},
          2.0 * static_cast<double>(pixels * in * out * window * window),
          0};
}

// SAME convolution of `rows` lines of an image with windows of one line.
KernelCase Line(int64_t rows, int64_t length, int64_t in, int64_t out, int64_t window) {
  return {"Conv2D/" + std::to_string(rows) + "x" + std::to_string(length) + "x" +
              std::to_string(in) + "/1x" + std::to_string(window) + "s1/" + std::to_string(out),
          std::string("op: 'Conv2D' ") + Strides(1) + kSame,
          {1, rows, length, in},
          {{1, window, in, out}},
          {},
          2.0 * static_cast<double>(rows * length * in * out * window),
          0};
}

// SAME convolution of a volume of square planes, with windows of 3 x 3 in `window` of them.
KernelCase Volume(int64_t planes, int64_t size, int64_t in, int64_t out, int64_t window) {
  return {"Conv3D/" + std::to_string(planes) + "x" + Shape4(size, in) + "/" +
              std::to_string(window) + "x3x3/" + std::to_string(out),
          std::string("op: 'Conv3D' attr { key: 'strides' value { list "
                      "{ i: 1 i: 1 i: 1 i: 1 i: 1 } } }") +
              kSame,
          {1, planes, size, size, in},
          {{window, 3, 3, in, out}},
          {},
          2.0 * static_cast<double>(planes * size * size * in * out * window * 9),
          0};
}

KernelCase Depthwise(int64_t size, int64_t channels, int64_t window, int64_t stride) {
  const int64_t pixels = (size + stride - 1) / stride * ((size + stride - 1) / stride);
  return {"Depthwise/" + Shape4(size, channels) + "/" + std::to_string(window) + "s" +
              std::to_string(stride),
          std::string("op: 'DepthwiseConv2dNative' ") + Strides(stride) + kSame,
          {1, size, size, channels},
          {{window, window, channels, 1}},
          {},
          2.0 * static_cast<double>(pixels * channels * window * window),
          4.0 * static_cast<double>((size * size + pixels) * channels)};
}

// The transposed convolution that makes a square image `stride` times as large.
KernelCase ConvTranspose(int64_t size, int64_t in, int64_t out, int64_t window, int64_t stride) {
  const int32_t large = static_cast<int32_t>(size * stride);
  KernelCase c{"Conv2DBackpropInput/" + Shape4(size, in) + "/" + std::to_string(window) + "x" +
                   std::to_string(window) + "s" + std::to_string(stride) + "/" +
                   std::to_string(out),
               std::string("op: 'Conv2DBackpropInput' ") + Strides(stride) + kSame,
               {},
               {{window, window, out, in}},
               {{1, size, size, in}},
               2.0 * static_cast<double>(size * size * in * out * window * window),
               0};
  c.integers = {1, large, large, static_cast<int32_t>(out)};
  return c;
}

KernelCase Resize(const std::string& op, int64_t size, int64_t channels, int64_t factor) {
  const int32_t large = static_cast<int32_t>(size * factor);
  KernelCase c{op + "/" + Shape4(size, channels) + "x" + std::to_string(factor),
               "op: '" + op + "' attr { key: 'half_pixel_centers' value { b: true } }",
               {1, size, size, channels},
               {},
               {},
               0,
               4.0 * static_cast<double>(size * size * channels * (1 + factor * factor))};
  c.integers = {large, large};
  c.integers_at = 1;
  return c;
}

KernelCase MatMul(int64_t rows, int64_t columns, int64_t depth) {
  return {"MatMul/" + std::to_string(rows) + "x" + std::to_string(columns) + "x" +
              std::to_string(depth),
          "op: 'MatMul'",
          {rows, depth},
          {{depth, columns}},
          {},
          2.0 * static_cast<double>(rows * columns * depth),
          4.0 * static_cast<double>(depth * columns)};
}

// The same of fewer bits, in which a matrix of weights has `bytes_per_weight`.
KernelCase In(Precision precision, int bytes_per_weight, KernelCase c) {
  c.name += precision == Precision::kInt8 ? "/int8" : "/bfloat16";
  c.bytes = c.bytes / 4 * bytes_per_weight;
  c.precision = precision;
  return c;
}

std::string Ints(const std::string& name, const std::string& values) {
  return " attr { key: '" + name + "' value { list { " + values + " } } }";
}

// Of as many keys as rows, [1, rows, heads, depth] each.
KernelCase Attention(int64_t heads, int64_t rows, int64_t depth) {
  std::string node =
      "op: '_Attention' attr { key: 'scale' value { f: 0.125 } } "
      "attr { key: 'fill' value { f: 0 } } attr { key: 'num_biases' value { i: 0 } } "
      "attr { key: 'num_masks' value { i: 0 } }";
  for (const char* operand : {"query_dims", "key_dims", "value_dims", "output_dims"}) {
    node += Ints(operand, "i: 0 i: 2 i: 1 i: 3");
  }
  node += Ints("score_dims", "i: 0 i: 1 i: 2 i: 3");
  const std::vector<int64_t> shape = {1, rows, heads, depth};
  return {"Attention/" + std::to_string(heads) + "x" + std::to_string(rows) + "x" +
              std::to_string(depth),
          node,
          shape,
          {},
          {shape, shape},
          4.0 * static_cast<double>(heads * rows * rows * depth),
          0};
}

// A layer's loop over `turns` rows of `batch`, without the product of its input.
KernelCase LstmLoop(int64_t turns, int64_t batch, int64_t units) {
  return {"LstmLoop/" + std::to_string(turns) + "x" + std::to_string(batch) + "x" +
              std::to_string(units),
          "op: '_LstmLoop' attr { key: 'last_only' value { b: false } }" +
              Ints("order", "i: 0 i: 1 i: 2 i: 3"),
          {turns, batch, 4 * units},
          {{0}, {units, 4 * units}, {4 * units}, {0}, {0}},
          {{batch, units}, {batch, units}},
          8.0 * static_cast<double>(turns * batch * units * units),
          16.0 * static_cast<double>(turns * units * units),
          Precision::kFloat32,
          std::vector<int32_t>(),
          8,
          {"DT_BOOL", "DT_FLOAT"}};
}

KernelCase Map(const std::string& op, int64_t n, int64_t inputs = 1) {
  KernelCase c{op + "/" + std::to_string(n), "op: '" + op + "'", {n}, {}, {}, 0, 0};
  if (inputs > 1) c.more_inputs.push_back({n});
  c.bytes = 4.0 * static_cast<double>(n * (inputs + 1));
  return c;
}

// Shapes of ResNet50, MobileNetV2, EfficientNetB0, BERT and multi-layer perceptrons.
const std::vector<KernelCase>& Kernels() {
  static const auto* const kernels = new std::vector<KernelCase>{
      Conv(56, 64, 64, 3, 1),
      Conv(28, 128, 128, 3, 1),
      Conv(14, 256, 256, 3, 1),
      Conv(7, 512, 512, 3, 1),
      Conv(56, 128, 128, 3, 2),
      Conv(224, 3, 64, 7, 2),
      Conv(224, 3, 32, 3, 2),
      Conv(56, 64, 256, 1, 1),
      Conv(14, 1024, 256, 1, 1),
      Conv(7, 2048, 512, 1, 1),
      Conv(112, 32, 16, 1, 1),
      Conv(112, 16, 96, 1, 1),
      Conv(56, 24, 144, 1, 1),
      Conv(56, 144, 24, 1, 1),
      Conv(28, 240, 40, 1, 1),
      Conv(7, 320, 1280, 1, 1),
      Conv(128, 1, 32, 3, 1),
      Conv(128, 1, 64, 5, 2),
      Conv(128, 64, 1, 3, 1),
      Conv(128, 64, 3, 3, 1),
      Conv(56, 16, 16, 3, 1),
      Conv(28, 64, 64, 5, 1),
      Volume(16, 56, 3, 16, 3),
      Volume(8, 28, 16, 32, 3),
      Volume(4, 14, 32, 64, 3),
      Volume(16, 56, 64, 128, 3),
      Volume(8, 28, 64, 64, 1),
      ConvTranspose(16, 256, 128, 4, 2),
      ConvTranspose(32, 64, 64, 5, 2),
      ConvTranspose(128, 32, 16, 4, 2),
      ConvTranspose(128, 64, 3, 3, 1),
      ConvTranspose(64, 64, 3, 4, 2),
      Resize("ResizeBilinear", 28, 64, 2),
      Resize("ResizeBilinear", 112, 3, 2),
      Resize("ResizeNearestNeighbor", 28, 64, 2),
      Line(1, 64, 64, 64, 3),
      Line(1, 64, 64, 64, 5),
      Line(17, 17, 192, 192, 7),
      Depthwise(112, 32, 3, 1),
      Depthwise(112, 96, 3, 2),
      Depthwise(56, 144, 3, 1),
      Depthwise(14, 384, 3, 1),
      Depthwise(7, 960, 3, 1),
      Depthwise(28, 240, 5, 1),
      MatMul(128, 768, 768),
      MatMul(128, 3072, 768),
      MatMul(128, 768, 3072),
      MatMul(32, 4096, 4096),
      MatMul(8, 1024, 512),
      MatMul(1, 1024, 1024),
      MatMul(1, 4096, 4096),
      {"BatchMatMul/12x128x64",
       "op: 'BatchMatMulV2'",
       {12, 128, 64},
       {},
       {{12, 64, 128}},
       2.0 * 12 * 128 * 128 * 64,
       0},
      Attention(12, 128, 64),
      Attention(4, 1024, 64),
      LstmLoop(128, 1, 128),
      LstmLoop(128, 8, 128),
      {"MaxPool/112x112x64",
       std::string("op: 'MaxPool' ") +
           "attr { key: 'ksize' value { list { i: 1 i: 2 i: 2 i: 1 } } } " + Strides(2) + kSame,
       {1, 112, 112, 64},
       {},
       {},
       0,
       4.0 * 112 * 112 * 64 * 1.25},
      {"Softmax/128x128", "op: 'Softmax'", {128, 128}, {}, {}, 0, 4.0 * 2 * 128 * 128},
      Map("AddV2", 100000, 2),
      Map("Tanh", 100000),
      Map("Exp", 100000),
      Map("Sigmoid", 100000),
      Map("Erf", 100000),
      Map("Rsqrt", 100000),
  };
  return *kernels;
}

void Register(const KernelCase& c) {
  benchmark::RegisterBenchmark(c.name.c_str(), [c](benchmark::State& s) { RunKernel(s, c); });
}

const bool registered = [] {
  for (const KernelCase& c : Kernels()) {
    Register(c);
    const bool has_products = c.flops > 0 && !c.weights.empty();
    if (!has_products || c.name.rfind("Depthwise", 0) == 0) continue;  // those stay in float32
    Register(In(Precision::kBFloat16, 2, c));
    Register(In(Precision::kInt8, 1, c));
  }
  return true;
}();

}  // namespace
}  // namespace savedmodel

BENCHMARK_MAIN();
