// Op conformance cases: small graphs with recorded answers, one file per op.
#include "conformance.pb.h"
#include "tests/replay/case.h"
#include "tests/replay/compare.h"

namespace savedmodel::replay {
namespace {

using conformance::OpCase;
using conformance::OpCases;
using conformance::Step;

Check CheckOf(const OpCase& c) {
  switch (c.check()) {
    case conformance::SHAPE_ONLY:
      return Check::kShapeOnly;
    case conformance::ABS_VALUES:
      return Check::kAbsValues;
    case conformance::SORTED_VALUES:
      return Check::kSortedValues;
    default:
      return Check::kValues;
  }
}

// Empty when failing with `status` is what the case wants.
std::string WrongError(const OpCase& c, const Status& status, const std::string& want_code) {
  if (want_code.empty()) return status.ToString();
  if (c.any_error_code() || status.code() == StatusCode::kOk) return "";
  const std::string code = StatusCodeName(status.code());
  return code == want_code ? "" : "error " + status.ToString() + ", want " + want_code;
}

void RunStep(const OpCase& c, const Step& step, const Session& session, const std::string& place,
             Outcome* outcome) {
  TensorMap feeds;
  for (const auto& feed : step.feeds()) {
    auto value = ParseTensorProto(feed.value());
    if (!value.ok()) {
      outcome->failures.push_back(place + " feed " + feed.tensor() + ": " +
                                  value.status().ToString());
      return;
    }
    feeds[feed.tensor()] = *std::move(value);
  }
  ++outcome->checks;
  const std::string want_code =
      !step.error_code().empty() ? step.error_code() : c.load_error_code();
  auto got = session.Run(feeds, {step.fetches().begin(), step.fetches().end()},
                         {step.targets().begin(), step.targets().end()});
  if (!got.ok()) {
    const std::string wrong = WrongError(c, got.status(), want_code);
    if (!wrong.empty()) outcome->failures.push_back(place + ": " + wrong);
    return;
  }
  if (!want_code.empty()) {
    outcome->failures.push_back(place + ": no error, want " + want_code);
    return;
  }
  for (int i = 0; i < step.fetches_size(); ++i) {
    auto want = ParseTensorProto(step.expected(i));
    const std::string what =
        want.ok()
            ? Difference(*want, (*got)[static_cast<size_t>(i)], {c.rtol(), c.atol()}, CheckOf(c))
            : "expected value cannot be read: " + want.status().ToString();
    if (!what.empty()) outcome->failures.push_back(place + " " + step.fetches(i) + ": " + what);
  }
}

Outcome RunCase(const OpCase& c, const LoadOptions& options) {
  Outcome outcome;
  auto model = LoadGraphDef(c.graph_def(), options);
  if (!model.ok()) {
    const std::string want = !c.load_error_code().empty() ? c.load_error_code()
                             : c.steps_size() == 1        ? c.steps(0).error_code()
                                                          : std::string();
    outcome.checks = 1;
    const std::string wrong = WrongError(c, model.status(), want);
    if (!wrong.empty()) outcome.failures.push_back("load: " + wrong);
    return outcome;
  }
  const Session session = model->session();
  for (int i = 0; i < c.steps_size(); ++i) {
    RunStep(c, c.steps(i), session, "step " + std::to_string(i), &outcome);
  }
  return outcome;
}

}  // namespace

Status AddConformanceFile(const std::string& path, std::vector<Case>* cases) {
  auto bytes = ReadFile(path);
  if (!bytes.ok()) return bytes.status();
  auto file = std::make_shared<OpCases>();
  if (!file->ParseFromString(*bytes)) {
    return Status(StatusCode::kDataLoss, path + ": no OpCases message");
  }
  for (int i = 0; i < file->cases_size(); ++i) {
    cases->push_back({file->op() + "/" + file->cases(i).name(),
                      [file, i](const LoadOptions& o) { return RunCase(file->cases(i), o); }});
  }
  return Status();
}

}  // namespace savedmodel::replay
