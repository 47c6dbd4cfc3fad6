#include "tests/replay/calls.h"

namespace savedmodel::replay {

StatusOr<TensorMap> ReadFeeds(const std::string& directory, const Json& files) {
  TensorMap feeds;
  for (const auto& [name, file] : files.items()) {
    auto tensor = ReadTensor(directory + "/" + file.get<std::string>());
    if (!tensor.ok()) return tensor.status();
    feeds[name] = *std::move(tensor);
  }
  return feeds;
}

bool CallChecker::SettleError(const Status& status) {
  ++outcome->checks;
  if (!call.contains("expect_error")) {
    if (!status.ok()) Fail(status.ToString());
    return !status.ok();
  }
  const std::string want = call["expect_error"].value("code", "");
  if (status.ok()) {
    Fail("no error, want " + want);
  } else if (StatusCode(0) != status.code() && want.find('_') != std::string::npos &&
             want != StatusCodeName(status.code())) {
    Fail("error " + status.ToString() + ", want " + want);  // Python exceptions have no underscore
  }
  return true;
}

void CallChecker::CompareNamed(const Json& expected, const TensorMap& got) {
  const Tolerance tolerance = ToleranceOf(call);
  const Json shape_only = call.value("shape_only", Json::array());
  const bool all_shape_only = call.value("check", "value") == "shape" || call.contains("sensitive");
  for (const auto& [key, file] : expected.items()) {
    auto it = got.find(key);
    if (it == got.end()) {
      Fail("no output " + key);
      continue;
    }
    auto want = ReadTensor(directory + "/" + file.get<std::string>());
    const bool shape =
        all_shape_only || std::find(shape_only.begin(), shape_only.end(), key) != shape_only.end();
    const std::string what = want.ok() ? Difference(*want, it->second, tolerance,
                                                    shape ? Check::kShapeOnly : Check::kValues)
                                       : want.status().ToString();
    if (!what.empty()) Fail(key + ": " + what);
  }
  for (const auto& [key, tensor] : got) {
    if (!expected.contains(key)) Fail("output " + key + " " + tensor.TypeString() + " is too many");
  }
}

void CallChecker::Signature(const Model& model) {
  auto feeds = ReadFeeds(directory, call["feeds"]);
  if (!feeds.ok()) return Fail(feeds.status().ToString());
  auto got = model.Signature(call["name"])(*feeds);
  if (!SettleError(got.status())) CompareNamed(call["expected"], *got);
}

void CallChecker::SignatureBySession(const Model& model) {
  auto feeds = ReadFeeds(directory, call["feeds"]);
  if (!feeds.ok() || call.contains("expect_error")) return;
  for (const SignatureInfo& info : model.signatures()) {
    if (info.key != call["name"]) continue;
    TensorMap by_tensor;
    for (const TensorSpec& input : info.inputs) {
      const auto it = feeds->find(input.name);
      if (it == feeds->end()) return;
      by_tensor[input.tensor_name] = it->second;
    }
    std::vector<std::string> fetches;
    for (const TensorSpec& output : info.outputs) fetches.push_back(output.tensor_name);
    auto got = model.session().Run(by_tensor, fetches);
    if (SettleError(got.status())) return;
    TensorMap named;
    for (size_t i = 0; i < fetches.size(); ++i) named[info.outputs[i].name] = (*got)[i];
    CompareNamed(call["expected"], named);
  }
}

void CallChecker::Session(const Model& model) {
  auto feeds = ReadFeeds(directory, call["feeds"]);
  if (!feeds.ok()) return Fail(feeds.status().ToString());
  std::vector<std::string> fetches;
  if (call.contains("fetches")) {
    fetches = call["fetches"].get<std::vector<std::string>>();
  } else {
    for (const auto& [name, file] : call["expected"].items()) fetches.push_back(name);
  }
  auto got =
      model.session().Run(*feeds, fetches, call.value("targets", std::vector<std::string>()));
  if (SettleError(got.status())) return;
  TensorMap named;
  for (size_t i = 0; i < fetches.size(); ++i) named[fetches[i]] = (*got)[i];
  CompareNamed(call.value("expected", Json::object()), named);
}

}  // namespace savedmodel::replay
