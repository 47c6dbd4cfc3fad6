// A worker of the peer benchmark: loads one model, runs one case, then answers "run N" lines.
// README.md has the protocol.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "savedmodel/model.h"

namespace savedmodel::bench {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int64_t PeakKilobytes() {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.compare(0, 6, "VmHWM:") == 0) return std::atoll(line.c_str() + 6);
  }
  return 0;
}

[[noreturn]] void Fail(const char* stage, std::string message) {
  for (char& c : message) {
    if (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 32) c = ' ';
  }
  std::printf("{\"event\":\"error\",\"stage\":\"%s\",\"message\":\"%s\"}\n", stage,
              message.substr(0, 600).c_str());
  std::fflush(stdout);
  std::_Exit(1);
}

struct Args {
  std::string model, case_name = "b1";
  int threads = 1;
  int runs = 0;
  Precision precision = Precision::kFloat32;
};

struct BenchCase {
  std::string signature;
  TensorMap inputs, outputs;
};

Args Parse(int argc, char** argv) {
  Args args;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i], value = argv[i + 1];
    if (key == "--model") args.model = value;
    if (key == "--case") args.case_name = value;
    if (key == "--precision" && value == "bfloat16") args.precision = Precision::kBFloat16;
    if (key == "--precision" && value == "int8") args.precision = Precision::kInt8;
    if (key == "--threads") args.threads = std::atoi(value.c_str());
    if (key == "--runs") args.runs = std::atoi(value.c_str());
  }
  return args;
}

std::string Slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

// Dense little-endian values; strings as length (uint32) and bytes.
Tensor ReadValues(const std::string& path, DType dtype, const Shape& shape) {
  const std::string bytes = Slurp(path);
  auto t = Tensor::Allocate(dtype, shape);
  if (!t.ok()) Fail("load", path + ": " + t.status().ToString());
  if (dtype != DType::kString) {
    if (bytes.size() != t->num_bytes()) Fail("load", path + ": size does not fit the shape");
    if (!bytes.empty()) std::memcpy(t->raw_mutable_data(), bytes.data(), bytes.size());
    return *t;
  }
  size_t at = 0;
  for (int64_t i = 0; i < t->num_elements() && at + 4 <= bytes.size(); ++i) {
    uint32_t n;
    std::memcpy(&n, bytes.data() + at, 4);
    static_cast<std::string*>(t->raw_mutable_data())[i] = bytes.substr(at + 4, n);
    at += 4 + size_t{n};
  }
  return *t;
}

BenchCase ReadCase(const Args& args) {
  BenchCase out;
  const std::string directory = args.model + "/cases/" + args.case_name + "/";
  std::ifstream manifest(directory + "manifest.txt");
  if (!manifest) Fail("load", directory + "manifest.txt cannot be read");
  for (std::string line; std::getline(manifest, line);) {
    std::istringstream words(line);
    std::string kind, key, dtype, file;
    words >> kind;
    if (kind == "signature") words >> out.signature;
    if (kind != "input" && kind != "output") continue;
    size_t rank = 0;
    words >> key >> dtype >> rank;
    std::vector<int64_t> dims(rank);
    for (int64_t& d : dims) words >> d;
    words >> file;
    (kind == "input" ? out.inputs : out.outputs)[key] =
        ReadValues(directory + file, DTypeFromName(dtype), Shape(dims));
  }
  return out;
}

// Largest difference to the reference, in units of max(1, max |reference|); float32 only.
double RelativeError(const Tensor& reference, const Tensor& got) {
  if (reference.dtype() != DType::kFloat) return 0;
  if (got.dtype() != DType::kFloat || got.shape() != reference.shape()) return 1e9;
  double scale = 1, worst = 0;
  const Span<const float> want = reference.values<float>(), have = got.values<float>();
  for (const float v : want) scale = std::max(scale, std::abs(static_cast<double>(v)));
  for (size_t i = 0; i < want.size(); ++i) {
    const double d = std::abs(static_cast<double>(want[i]) - have[i]);
    if (!(d <= worst)) worst = d;
  }
  return worst / scale;
}

void Measure(BoundCall* call, int n) {
  std::vector<double> us(static_cast<size_t>(n));
  for (double& t : us) {
    const auto start = Clock::now();
    if (Status s = call->Run(); !s.ok()) Fail("run", s.ToString());
    t = SecondsSince(start) * 1e6;
  }
  std::printf("{\"event\":\"lat\",\"us\":[");
  for (size_t i = 0; i < us.size(); ++i) std::printf("%s%.2f", i ? "," : "", us[i]);
  std::printf("]}\n");
  std::fflush(stdout);
}

int Main(int argc, char** argv) {
  const Args args = Parse(argc, argv);
  const BenchCase bench = ReadCase(args);

  LoadOptions options;
  options.num_threads = args.threads;
  options.precision = args.precision;
  auto start = Clock::now();
  auto model = Load(args.model + "/saved_model", options);
  if (!model.ok()) Fail("load", model.status().ToString());
  const double load_s = SecondsSince(start);

  start = Clock::now();
  auto call = model->Signature(bench.signature).Bind(bench.inputs);
  if (!call.ok()) Fail("run", call.status().ToString());
  if (Status s = call->Run(); !s.ok()) Fail("run", s.ToString());
  const double first_s = SecondsSince(start);
  double error = 0;
  for (const auto& [key, reference] : bench.outputs) {
    error = std::max(error, RelativeError(reference, call->output(key)));
  }
  std::printf(
      "{\"event\":\"ready\",\"peer\":\"savedmodel\",\"version\":\"%s\",\"load_s\":%.6f,"
      "\"first_s\":%.6f,\"max_rel_err\":%.3g,\"rss_kb\":%lld}\n",
      SAVEDMODEL_VERSION, load_s, first_s, error, static_cast<long long>(PeakKilobytes()));
  std::fflush(stdout);

  if (args.runs > 0) {
    for (int i = 0; i < 3; ++i) static_cast<void>(call->Run());
    Measure(&*call, args.runs);
  } else {
    char line[128];
    for (int n; std::fgets(line, sizeof line, stdin) && std::sscanf(line, "run %d", &n) == 1;) {
      Measure(&*call, n);
    }
  }
  std::printf("{\"event\":\"bye\",\"peak_rss_kb\":%lld}\n",
              static_cast<long long>(PeakKilobytes()));
  return 0;
}

}  // namespace
}  // namespace savedmodel::bench

int main(int argc, char** argv) { return savedmodel::bench::Main(argc, argv); }
