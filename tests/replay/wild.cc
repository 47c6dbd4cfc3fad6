// Case folders of published models.
#include <algorithm>

#include "tests/replay/calls.h"
#include "tests/replay/case.h"
#include "tests/replay/model_source.h"
#include "tests/replay/sha256.h"

namespace savedmodel::replay {
namespace {

void CallConcreteFunction(const std::string& directory, const Json& call, const Model& model,
                          CallChecker* check) {
  std::vector<Tensor> args;
  for (const Json& arg : call["args"]) {
    auto t = ReadTensor(directory + "/" + arg["file"].get<std::string>());
    if (!t.ok()) return check->Fail(t.status().ToString());
    args.push_back(*std::move(t));
  }
  // The function itself by its name in the library: which trace it is does not matter then.
  const Function function = model.function(call["concrete_function"]);
  auto got = function.Call(std::vector<Value>(args.begin(), args.end()));
  if (check->SettleError(got.status())) return;
  const std::vector<Tensor> flat = got->Flatten();
  TensorMap named;
  Json expected = Json::object();
  for (size_t i = 0; i < flat.size(); ++i) named[std::to_string(i)] = flat[i];
  for (size_t i = 0; i < call["expected"].size(); ++i) {
    expected[std::to_string(i)] = call["expected"][i];
  }
  check->CompareNamed(expected, named);
}

// The bytes whose hash is recorded: little-endian elements.
std::string Bytes(const Tensor& t) {
  return std::string(static_cast<const char*>(t.raw_data()), t.num_bytes());
}

void CheckVariable(const Model& model, const Json& entry, Outcome* outcome) {
  ++outcome->checks;
  std::string name = entry.contains("path") ? entry["path"] : entry["name"];
  const std::string place = "variable " + name;
  if (entry.contains("path")) std::replace(name.begin(), name.end(), '/', '.');
  Variable v = model.variable(name);
  if (!v.status().ok() && entry.contains("name")) v = model.variable(entry["name"]);
  auto value = v.Read();
  if (!value.ok()) {
    outcome->failures.push_back(place + ": " + value.status().ToString());
    return;
  }
  const Shape shape(entry["shape"].get<std::vector<int64_t>>());
  if (value->shape() != shape || DTypeNumpyName(value->dtype()) != entry["dtype"]) {
    outcome->failures.push_back(place + ": " + value->TypeString() + ", want " + entry.dump());
  } else if (IsPlainData(value->dtype()) && Sha256(Bytes(*value)) != entry["sha256"]) {
    outcome->failures.push_back(place + ": bytes are not as recorded");
  }
}

Outcome RunWild(const std::string& directory, const LoadOptions& base) {
  Outcome outcome;
  auto text = ReadFile(directory + "/case.json");
  if (!text.ok()) return {{text.status().ToString()}, "", 0};
  const Json spec = Json::parse(*text);
  LoadOptions options = base;
  options.tags = spec["tags"].get<std::vector<std::string>>();
  auto model = Load(directory + "/model", options);
  if (!model.ok()) return {{"load: " + model.status().ToString()}, "", 1};
  for (const Json& entry : spec.value("variables", Json::array())) {
    CheckVariable(*model, entry, &outcome);
  }
  int number = 0;
  for (const Json& call : spec["calls"]) {
    CallChecker check{directory, call, "", &outcome};
    const std::string via = call["via"];
    check.place = "call " + std::to_string(number++) + " " + via + " " +
                  call.value(via == "function" ? "path" : "name", "");
    if (via == "signature") check.Signature(*model);
    if (via == "session") check.Session(*model);
    if (via == "function") CallConcreteFunction(directory, call, *model, &check);
  }
  return outcome;
}

}  // namespace

Status AddWild(const std::string& directory, std::vector<Case>* cases) {
  cases->push_back(
      {directory.substr(directory.rfind('/') + 1),
       [directory](const LoadOptions& options) { return RunWild(directory, options); }});
  return Status();
}

}  // namespace savedmodel::replay
