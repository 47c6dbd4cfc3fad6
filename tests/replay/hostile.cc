// Hostile inputs: whatever the file holds, the answer is one of the accepted codes, in time, within
// the memory limit, and the next valid request is answered right.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "tests/replay/calls.h"
#include "tests/replay/case.h"
#include "tests/replay/model_source.h"

namespace savedmodel::replay {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// A copy of the case's folder to work in, removed afterwards: cases may try to write.
class Sandbox {
 public:
  Sandbox(const fs::path& from, const Json& spec) {
    char name[] = "/tmp/savedmodel_replay_XXXXXX";
    directory_ = mkdtemp(name);
    fs::copy(from, directory_, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    const Json links = spec.value("symlinks", Json::object());
    for (const auto& [link, target] : links.items()) {
      std::error_code error;
      fs::remove(directory_ / link, error);
      fs::create_symlink(target.get<std::string>(), directory_ / link, error);
    }
    before_ = Listing();
    if (chdir(directory_.c_str()) != 0) std::abort();
  }
  ~Sandbox() {
    std::error_code error;
    fs::current_path("/", error);
    fs::remove_all(directory_, error);
  }
  bool Unchanged() const { return Listing() == before_; }

 private:
  std::map<std::string, uintmax_t> Listing() const {
    std::map<std::string, uintmax_t> out;
    for (const auto& entry : fs::recursive_directory_iterator(directory_)) {
      std::error_code error;
      out[entry.path()] = entry.is_regular_file(error) ? entry.file_size(error) : 0;
    }
    return out;
  }

  fs::path directory_;
  std::map<std::string, uintmax_t> before_;
};

class HostileRun {
 public:
  HostileRun(const Json& spec, const LoadOptions& options) : spec_(spec), load_(options) {
    const int64_t ms = spec.value("limits", Json::object()).value("deadline_ms", int64_t{10000});
    load_.timeout = run_.timeout = std::chrono::milliseconds(ms);
    load_.memory_limit = run_.memory_limit =
        spec.value("limits", Json::object()).value("max_bytes", int64_t{2} << 30) / 2;
  }

  // The case's answer; results by name where there are some.
  Status Answer(TensorMap* results) {
    const std::string kind = spec_["kind"];
    if (kind == "saved_model") return RunSavedModel(results);
    if (kind == "graph_def") return RunGraph(results);
    if (kind == "checkpoint") return ReadCheckpoint(results);
    if (kind == "tensor_proto") {
      auto t = ReadTensor(spec_["tensor"]);
      if (t.ok()) (*results)[""] = *t;
      return t.status();
    }
    return Status(StatusCode::kUnknown, kind + ": no such kind is built yet");
  }

 private:
  Status RunSavedModel(TensorMap* results) {
    load_.tags = spec_["tags"].get<std::vector<std::string>>();
    auto model = Load(spec_["model"], load_);
    if (!model.ok()) return model.status();
    auto feeds = ReadFeeds(".", spec_["feeds"]);
    if (!feeds.ok()) return feeds.status();
    auto got = model->Signature(spec_["signature"])(*feeds, run_);
    if (got.ok()) *results = *std::move(got);
    return got.status();
  }

  Status RunGraph(TensorMap* results) {
    auto bytes = ReadFile(spec_["graph"]);
    if (!bytes.ok()) return bytes.status();
    auto model = LoadGraphDef(*bytes, load_);
    if (!model.ok()) return model.status();
    auto feeds = ReadFeeds(".", spec_["feeds"]);
    if (!feeds.ok()) return feeds.status();
    const std::vector<std::string> fetches = spec_["fetches"];
    auto got = model->session().Run(*feeds, fetches,
                                    spec_.value("targets", std::vector<std::string>()), run_);
    if (!got.ok()) return got.status();
    for (size_t i = 0; i < fetches.size(); ++i) (*results)[fetches[i]] = (*got)[i];
    return Status();
  }

  Status ReadCheckpoint(TensorMap* results) {
    auto reader = OpenCheckpoint(spec_["prefix"]);
    if (!reader.ok()) return reader.status();
    for (const CheckpointEntry& entry : (*reader)->entries()) {
      auto t = (*reader)->Read(entry.key);
      if (!t.ok()) return t.status();
      (*results)[entry.key] = *std::move(t);
    }
    return Status();
  }

  const Json& spec_;
  LoadOptions load_;
  RunOptions run_;
};

// The first values that TensorFlow gave, where it did; "" when `got` agrees.
std::string HeadDifference(const Json& value, const Tensor& got) {
  if (!value.is_object() || !value.contains("shape")) return "";
  const Shape shape(value["shape"].get<std::vector<int64_t>>());
  const std::string dtype = value["dtype"] == "object" ? "string" : value["dtype"];
  if (got.shape() != shape || DTypeFromName(dtype) != got.dtype()) {
    return got.TypeString() + ", TensorFlow has " + value.dump();
  }
  if (got.dtype() != DType::kFloat) return "";
  const auto elements = got.values<float>();
  for (size_t i = 0; i < value["head"].size() && i < elements.size(); ++i) {
    const double want = std::strtod(value["head"][i].get<std::string>().c_str(), nullptr);
    if (std::isnan(want) ? !std::isnan(elements[i])
                         : !(std::abs(elements[i] - want) <= 1e-5 + 1e-4 * std::abs(want) ||
                             elements[i] == want)) {
      return "value " + std::to_string(i) + " is " + std::to_string(elements[i]) +
             ", TensorFlow has " + value.dump();
    }
  }
  return "";
}

void CheckResults(const Json& spec, const Json& record, const TensorMap& results,
                  Outcome* outcome) {
  if (spec["class"] == "policy" || !record.contains("tf")) return;
  const Json& tf = record["tf"];
  if (tf.value("outcome", "") != "accept" || !tf.contains("value")) return;
  const Json& value = tf["value"];
  if (value.contains("shape")) {
    if (results.size() != 1) return;
    const std::string what = HeadDifference(value, results.begin()->second);
    if (!what.empty()) outcome->failures.push_back(what);
    return;
  }
  for (const auto& [key, tensor] : results) {
    const std::string what = value.contains(key) ? HeadDifference(value[key], tensor) : "";
    if (!what.empty()) outcome->failures.push_back(key + ": " + what);
  }
}

// A valid request to a valid model, answered as it should be.
std::string ValidRequestFails(const fs::path& model, const LoadOptions& options) {
  auto loaded = Load(model, options);
  if (!loaded.ok()) return loaded.status().ToString();
  const Function f = loaded->Signature("serving_default");
  auto x = Tensor::FromVector<float>({1, 2, 3, 4}, Shape({1, 4}));
  auto y = f({{f.inputs().empty() ? "x" : f.inputs()[0].name, *x}});
  return y.ok() ? "" : y.status().ToString();
}

Outcome RunHostile(const fs::path& set, const fs::path& directory, const Json& record,
                   const LoadOptions& options) {
  Outcome outcome;
  outcome.checks = 1;
  const auto text = ReadFile(directory / "case.json");
  const Json spec = Json::parse(*text);
  if (!spec.contains("accept")) return {{"serving requests is not built yet"}, "", 1};
  const Sandbox sandbox(directory, spec);
  TensorMap results;
  const auto start = Clock::now();
  const Status status = HostileRun(spec, options).Answer(&results);
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count();
  const std::string code = StatusCodeName(status.code());
  const auto accept = spec["accept"].get<std::vector<std::string>>();
  if (std::find(accept.begin(), accept.end(), code) == accept.end()) {
    outcome.failures.push_back(status.ToString() + ", accepted are " + spec["accept"].dump());
  } else if (status.ok()) {
    CheckResults(spec, record, results, &outcome);
  } else if (status.message().size() < 10) {
    outcome.failures.push_back(status.ToString() + ": the message does not say what is wrong");
  }
  const int64_t deadline =
      spec.value("limits", Json::object()).value("deadline_ms", int64_t{10000});
  if (ms > deadline + 200) {
    outcome.failures.push_back("took " + std::to_string(ms) + " ms, deadline " +
                               std::to_string(deadline));
  }
  if (!sandbox.Unchanged()) outcome.failures.push_back("files were written");
  if (fs::exists(set / "base" / "dense")) {
    const std::string what = ValidRequestFails(set / "base" / "dense", options);
    if (!what.empty()) outcome.failures.push_back("a valid request afterwards: " + what);
  }
  return outcome;
}

// The line of cases.jsonl with what TensorFlow did, read once for each set.
Json RecordOf(const std::string& set, const std::string& name) {
  static std::map<std::string, std::map<std::string, Json>> sets;
  auto [it, is_new] = sets.try_emplace(set);
  if (is_new) {
    const std::string text = ReadFile(set + "/cases.jsonl").value_or(std::string());
    for (size_t at = 0, eol; (eol = text.find('\n', at)) != std::string::npos; at = eol + 1) {
      Json line = Json::parse(text.substr(at, eol - at), nullptr, false);
      if (!line.contains("name")) continue;
      const std::string case_name = line["name"];
      it->second[case_name] = std::move(line);
    }
  }
  auto found = it->second.find(name);
  return found == it->second.end() ? Json::object() : found->second;
}

}  // namespace

Status AddHostile(const std::string& set, const std::string& directory, std::vector<Case>* cases) {
  const std::string name = directory.substr(directory.rfind('/') + 1);
  const Json record = RecordOf(set, name);
  const Json limits = record.value("limits", Json::object());
  Case c{"hostile/" + name, [set, directory, record](const LoadOptions& options) {
           return RunHostile(set, directory, record, options);
         }};
  // Time for the valid request and for a slow machine comes on top.
  c.timeout = std::chrono::milliseconds(2 * limits.value("deadline_ms", int64_t{10000}) + 5000);
  c.max_bytes = limits.value("max_bytes", int64_t{2} << 30);
  c.isolate = true;
  cases->push_back(std::move(c));
  return Status();
}

}  // namespace savedmodel::replay
