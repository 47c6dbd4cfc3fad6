// savedmodel bench: how long a model takes to load and to run.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "src/cli/commands.h"
#include "src/cli/json_output.h"

namespace savedmodel::cli {
namespace {

using Clock = std::chrono::steady_clock;

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// An input made up for `spec`: small varied numbers, 1 for unknown dimensions.
StatusOr<Tensor> MakeUp(const TensorSpec& spec, const std::map<std::string, Shape>& shapes) {
  Shape shape = spec.shape.known_rank() ? spec.shape : Shape();
  for (int d = 0; d < shape.rank(); ++d) shape = shape[d] < 0 ? shape.WithDim(d, 1) : shape;
  if (auto it = shapes.find(spec.name); it != shapes.end()) shape = it->second;
  auto t = Tensor::Zeros(spec.dtype, shape);
  if (t.ok() && t->dtype() == DType::kFloat) {
    float* p = static_cast<float*>(t->raw_mutable_data());
    for (int64_t i = 0; i < t->num_elements(); ++i) p[i] = static_cast<float>(i % 17) / 17.0f;
  }
  return t;
}

int64_t PeakKilobytes() {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.compare(0, 6, "VmHWM:") == 0) return std::atoll(line.c_str() + 6);
  }
  return 0;
}

}  // namespace

int Bench(const ModelArgs& args, const BenchArgs& bench) {
  const auto start = Clock::now();
  auto model = LoadModel(args);
  if (!model.ok()) return Fail(model.status());
  const double load_ms = MillisecondsSince(start);
  auto info = ChooseSignature(*model, args);
  if (!info.ok()) return Fail(info.status());
  auto inputs = ReadInputs(bench.inputs, bench.expressions, &info->inputs);
  if (!inputs.ok()) return Fail(inputs.status());
  auto shapes = ParseShapes(bench.shapes);
  if (!shapes.ok()) return Fail(shapes.status());
  for (const TensorSpec& spec : info->inputs) {
    if (inputs->count(spec.name) > 0) continue;
    auto t = MakeUp(spec, *shapes);
    if (!t.ok()) return Fail(t.status().At("input '" + spec.name + "'"));
    (*inputs)[spec.name] = *std::move(t);
  }

  const auto first_start = Clock::now();
  auto call = model->Signature(info->key).Bind(*inputs);
  if (!call.ok()) return Fail(call.status());
  if (Status s = call->Run(); !s.ok()) return Fail(s);
  const double first_ms = MillisecondsSince(first_start);
  std::vector<double> ms;
  for (int i = -bench.warmup; i < bench.runs; ++i) {
    const auto run_start = Clock::now();
    if (Status s = call->Run(); !s.ok()) return Fail(s);
    if (i >= 0) ms.push_back(MillisecondsSince(run_start));
  }
  std::sort(ms.begin(), ms.end());
  const auto at = [&](double q) { return ms[static_cast<size_t>(q * (ms.size() - 1))]; };
  if (args.json) {
    PrintJson({{"signature", info->key},
               {"runs", bench.runs},
               {"load_ms", load_ms},
               {"first_ms", first_ms},
               {"min_ms", ms.front()},
               {"median_ms", at(0.5)},
               {"p90_ms", at(0.9)},
               {"p99_ms", at(0.99)},
               {"peak_rss_kb", PeakKilobytes()}});
  } else {
    std::printf("signature %s, %d runs\n", info->key.c_str(), bench.runs);
    std::printf("load %.2f ms, first run %.2f ms, peak memory %.1f MiB\n", load_ms, first_ms,
                static_cast<double>(PeakKilobytes()) / 1024);
    std::printf("run: median %.4f ms, min %.4f, p90 %.4f, p99 %.4f\n", at(0.5), ms.front(), at(0.9),
                at(0.99));
  }
  if (bench.profile || !bench.trace.empty()) {
    if (Status s = Profile(&*call, bench.runs, bench.profile, bench.trace); !s.ok()) return Fail(s);
  }
  return kOk;
}

}  // namespace savedmodel::cli
