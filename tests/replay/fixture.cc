// Case folders of generated models: SavedModels, graphs and checkpoints with recorded values.
#include <cmath>

#include "tests/replay/calls.h"
#include "tests/replay/case.h"
#include "tests/replay/model_source.h"

namespace savedmodel::replay {
namespace {

// The object at a dotted path whose names may themselves hold dots: the longest names first.
Object Resolve(const Object& from, const std::string& path) {
  if (path.empty() || path == ".") return from;
  std::vector<std::pair<Object, std::string>> open = {{from, path}};
  while (!open.empty()) {
    auto [object, rest] = open.back();
    open.pop_back();
    for (const auto& [name, child] : object.children()) {
      if (rest == name) return child;
      if (rest.compare(0, name.size() + 1, name + ".") == 0) {
        open.emplace_back(child, rest.substr(name.size() + 1));
      }
    }
  }
  return Object::FromError(Status(StatusCode::kNotFound, "no object " + path));
}

class FixtureRun {
 public:
  FixtureRun(const std::string& directory, const LoadOptions& options)
      : directory_(directory), options_(options) {}

  Outcome Run() {
    auto text = ReadFile(directory_ + "/case.json");
    if (!text.ok()) return {{text.status().ToString()}, "", 0};
    spec_ = Json::parse(*text);
    CheckCheckpoint();
    if (spec_["kind"] != "checkpoint") {
      auto model = Source(spec_["tags"]);
      if (!model.ok()) {
        outcome_.failures.push_back("load: " + model.status().ToString());
      } else {
        CheckModel(*model);
        CheckCalls();
      }
    }
    return std::move(outcome_);
  }

 private:
  void Fail(const std::string& what) { outcome_.failures.push_back(what); }

  // The model under `tags` (and loader, which has a state of its own), loaded once.
  StatusOr<Model> Source(const Json& tags, const std::string& loader = "", bool fresh = false) {
    const std::string key = tags.dump() + (loader == spec_["loader"] ? "" : loader);
    if (auto it = models_.find(key); it != models_.end() && !fresh) return it->second;
    LoadOptions options = options_;
    options.tags = tags.get<std::vector<std::string>>();
    auto model = LoadSource(directory_, spec_, options);
    if (model.ok()) models_[key] = *model;
    return model;
  }

  void CheckCheckpoint() {
    if (!spec_.contains("checkpoint_entries") || spec_["checkpoint_entries"].empty()) return;
    auto reader = OpenCheckpoint(CheckpointPrefix(directory_, spec_));
    if (!reader.ok()) return Fail("checkpoint: " + reader.status().ToString());
    for (const auto& [key, entry] : spec_["checkpoint_entries"].items()) {
      if (!entry.contains("expected")) continue;
      ++outcome_.checks;
      Compare("checkpoint " + key, (*reader)->Read(key), entry);
    }
  }

  void Compare(const std::string& place, StatusOr<Tensor> got, const Json& entry) {
    // Quantised values were recorded as the integers that store them.
    const bool quantized = got.ok() && std::string(DTypeName(got->dtype())).front() == 'q';
    if (quantized) {
      got = got->WithDType(DTypeFromName(std::string(DTypeName(got->dtype())).substr(1)));
    }
    auto want = ReadTensor(directory_ + "/" + entry["expected"].get<std::string>());
    const std::string what = !want.ok()  ? want.status().ToString()
                             : !got.ok() ? got.status().ToString()
                                         : Difference(*want, *got, {0, 0});
    if (!what.empty()) Fail(place + ": " + what);
  }

  void CheckModel(const Model& model) {
    if (spec_.contains("signatures")) CheckSignatures(model);
    if (spec_.contains("objects")) {
      for (const auto& [path, kind] : spec_["objects"].items()) {
        // Slot variables and nodes without a name are no child of anything.
        if (path.find('#') != std::string::npos || path[0] == '?') continue;
        ++outcome_.checks;
        const Status status = Resolve(model.root(), path).status();
        if (!status.ok()) Fail("object " + path + ": " + status.ToString());
      }
    }
    if (!spec_.contains("variables")) return;
    for (const auto& [path, entry] : spec_["variables"].items()) {
      if (!entry.contains("expected")) continue;
      ++outcome_.checks;
      const Variable v =
          entry.contains("path") ? Resolve(model.root(), path).variable() : model.variable(path);
      Compare("variable " + path, v.Read(), entry);
      if (entry.value("trainable", Json()).is_boolean() &&
          v.trainable() != entry["trainable"].get<bool>()) {
        Fail("variable " + path + ": trainable is not as recorded");
      }
    }
  }

  void CheckSpecs(const std::string& place, const std::vector<TensorSpec>& got, const Json& want) {
    size_t plain = 0;
    for (const auto& [name, info] : want.items()) {
      if (!info.contains("name")) continue;  // sparse and composite encodings
      ++plain;
      const auto it = std::find_if(got.begin(), got.end(),
                                   [&name = name](const TensorSpec& s) { return s.name == name; });
      if (it == got.end()) {
        Fail(place + ": no " + name);
        continue;
      }
      const Json& dims = info["shape"];
      const Shape shape =
          dims.is_null() ? Shape::Unknown() : Shape(dims.get<std::vector<int64_t>>());
      if (DTypeNumpyName(it->dtype) != info["dtype"].get<std::string>().substr(
                                           0, info["dtype"].get<std::string>().find("_ref")) ||
          it->shape != shape || it->tensor_name != info["name"]) {
        Fail(place + " " + name + ": " + DTypeNumpyName(it->dtype) + it->shape.ToString() + " " +
             it->tensor_name + ", want " + info.dump());
      }
    }
    if (plain == want.size() && got.size() != plain) Fail(place + ": too many arguments");
  }

  void CheckSignatures(const Model& model) {
    const std::vector<SignatureInfo> infos = model.signatures();
    for (const auto& [key, want] : spec_["signatures"].items()) {
      if (key == "__saved_model_init_op") continue;  // names an operation, not tensors
      ++outcome_.checks;
      const auto it = std::find_if(infos.begin(), infos.end(),
                                   [&key = key](const auto& i) { return i.key == key; });
      if (it == infos.end()) {
        Fail("signature " + key + " is missing");
        continue;
      }
      if (it->method_name != want["method_name"]) Fail("signature " + key + ": method name");
      CheckSpecs("signature " + key + " inputs", it->inputs, want["inputs"]);
      CheckSpecs("signature " + key + " outputs", it->outputs, want["outputs"]);
    }
    for (const SignatureInfo& info : infos) {
      if (!spec_["signatures"].contains(info.key)) Fail("signature " + info.key + " is too many");
    }
  }

  void CheckCalls() {
    int number = 0;
    for (const Json& call : spec_["calls"]) {
      CallChecker check{directory_, call, "", &outcome_};
      check.place = "call " + std::to_string(number++) + " " + call["via"].get<std::string>() +
                    " " + call.value("name", "");
      auto model = Source(call.value("tags", spec_["tags"]),
                          call.value("loader", spec_["loader"].get<std::string>()),
                          call.value("fresh", false));
      if (!model.ok()) {
        check.SettleError(model.status());
        continue;
      }
      const std::string via = call["via"];
      if (via == "signature") {
        const auto clone = model->Clone();
        check.Signature(*model);
        check.place += " by session of a clone";
        if (clone.ok()) {
          check.SignatureBySession(*clone);
        } else {
          check.Fail(clone.status().ToString());
        }
      }
      if (via == "session") check.Session(*model);
      if (via == "function") CallFunction(&check, *model);
      if (via == "prune") CallPruned(&check, *model);
      if (via == "variable") {
        ++outcome_.checks;
        auto got = model->variable(call["name"]).Read();
        if (!check.SettleError(got.status()))
          check.CompareNamed(call["expected"], {{"value", *got}});
      }
    }
  }

  void CallFunction(CallChecker* check, const Model& model) {
    const Json& call = check->call;
    std::vector<Value> args;
    for (const Json& node : call["args"]) {
      auto v = ValueFromTree(directory_, node);
      if (!v.ok()) return check->Fail(v.status().ToString());
      args.push_back(*std::move(v));
    }
    std::map<std::string, Value> kwargs;
    const Json named_args = call.value("kwargs", Json::object());
    for (const auto& [name, node] : named_args.items()) {
      auto v = ValueFromTree(directory_, node);
      if (!v.ok()) return check->Fail(v.status().ToString());
      kwargs[name] = *std::move(v);
    }
    auto got = model.function(call["name"]).Call(args, kwargs);
    if (check->SettleError(got.status())) return;
    if (call.value("check", "") != "stats") {
      return CompareTree(directory_, call["result"], *got, ToleranceOf(call), check->place,
                         &outcome_.failures);
    }
    auto want = ReadTensor(directory_ + "/" + call["result"].value("tensor", ""));
    if (!want.ok()) return check->Fail(want.status().ToString());
    const std::string what = Difference(*want, got->tensor(), {}, Check::kShapeOnly);
    if (!what.empty()) return check->Fail(what);
    double mean = 0, deviation = 0;
    const double tolerance = call.value("stats_tol", 0.05);
    if (!MeanAndDeviation(got->tensor(), &mean, &deviation) ||
        std::abs(mean - call["stats"]["mean"].get<double>()) > tolerance ||
        std::abs(deviation - call["stats"]["std"].get<double>()) > tolerance) {
      check->Fail("mean " + std::to_string(mean) + ", deviation " + std::to_string(deviation) +
                  ", want " + call["stats"].dump());
    }
  }

  void CallPruned(CallChecker* check, const Model& model) {
    const Json& call = check->call;
    auto feeds = ReadFeeds(directory_, call["feeds"]);
    if (!feeds.ok()) return check->Fail(feeds.status().ToString());
    std::vector<std::string> names;
    for (const auto& [name, file] : call["feeds"].items()) names.push_back(name);
    auto got = model.Prune(names, call["fetches"])(*feeds);
    if (!check->SettleError(got.status())) check->CompareNamed(call["expected"], *got);
  }

  const std::string directory_;
  const LoadOptions options_;
  Json spec_;
  std::map<std::string, Model> models_;
  Outcome outcome_;
};

}  // namespace

Status AddFixture(const std::string& directory, std::vector<Case>* cases) {
  cases->push_back({directory.substr(directory.rfind('/') + 1),
                    [directory](const LoadOptions& o) { return FixtureRun(directory, o).Run(); }});
  return Status();
}

}  // namespace savedmodel::replay
