// savedmodel_replay: runs recorded cases and compares with what TensorFlow answered.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/replay/case.h"
#include "tests/replay/runner.h"

namespace savedmodel::replay {
namespace {

constexpr char kHelp[] = R"(usage: savedmodel_replay [options] PATH...

PATH is a set's folder, one case folder, or one conformance .pb file; the kind of set is found out.

  --filter TEXT     only cases whose name holds TEXT (may be repeated: any of them)
  --isolate         each case in a process of its own (always so for hostile cases)
  --in-process      no child processes: for debuggers
  --jobs N          processes at a time (default 1)
  --threads N       threads that compute in one call (default 1)
  --timeout SECONDS per case (default 60); a case's own deadline comes first
  --memory MIB      resident memory of a case (default 8192); a case's own limit comes first
  --json FILE       results as JSON
  --verbose         one line for passed cases too
  --floor N         pass when at least N cases passed, whatever else failed

Exit status: 0 all cases passed (or the floor was reached), 1 some failed, 2 wrong usage.
)";

struct Options {
  RunnerOptions runner;
  std::vector<std::string> paths, filters;
  std::string json;
  bool verbose = false;
  long floor = -1;
};

[[noreturn]] void Usage(const std::string& what) {
  std::fprintf(stderr, "savedmodel_replay: %s\n%s", what.c_str(), kHelp);
  std::exit(2);
}

Options Parse(int argc, char** argv) {
  Options o;
  o.runner.load.num_threads = 1;
  const std::vector<std::string> args(argv + 1, argv + argc);
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& a = args[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= args.size()) Usage(a + " needs a value");
      return args[++i];
    };
    if (a == "--help" || a == "-h") {
      std::fputs(kHelp, stdout);
      std::exit(0);
    } else if (a == "--filter") {
      o.filters.push_back(value());
    } else if (a == "--isolate") {
      o.runner.isolate = true;
    } else if (a == "--in-process") {
      o.runner.in_process = true;
    } else if (a == "--jobs") {
      o.runner.jobs = std::atoi(value().c_str());
    } else if (a == "--threads") {
      o.runner.load.num_threads = std::atoi(value().c_str());
    } else if (a == "--timeout") {
      o.runner.timeout =
          std::chrono::milliseconds(static_cast<int64_t>(std::atof(value().c_str()) * 1000));
    } else if (a == "--memory") {
      o.runner.max_bytes = std::atoll(value().c_str()) << 20;
    } else if (a == "--json") {
      o.json = value();
    } else if (a == "--floor") {
      o.floor = std::atol(value().c_str());
    } else if (a == "--verbose") {
      o.verbose = true;
    } else if (a.rfind("--", 0) == 0) {
      Usage("unknown option " + a);
    } else {
      o.paths.push_back(a);
    }
  }
  if (o.paths.empty()) Usage("no PATH given");
  return o;
}

std::vector<Case> Collect(const Options& o) {
  std::vector<Case> all;
  for (const std::string& path : o.paths) {
    auto found = FindCases(path);
    if (!found.ok()) Usage(found.status().ToString());
    for (Case& c : *found) {
      bool wanted = o.filters.empty();
      for (const std::string& f : o.filters) wanted |= c.name.find(f) != std::string::npos;
      if (wanted) all.push_back(std::move(c));
    }
  }
  return all;
}

std::string OneLine(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 32) c = ' ';
  }
  return text.size() > 400 ? text.substr(0, 400) + "…" : text;
}

void Print(const Case& c, const Result& r, bool verbose) {
  for (const std::string& f : r.outcome.failures) {
    std::printf("FAILED %s: %s\n", c.name.c_str(), OneLine(f).c_str());
  }
  if (!r.outcome.skipped.empty()) {
    std::printf("SKIPPED %s: %s\n", c.name.c_str(), OneLine(r.outcome.skipped).c_str());
  } else if (verbose && r.outcome.failures.empty()) {
    std::printf("passed %s (%d checks, %.3f s)\n", c.name.c_str(), r.outcome.checks, r.seconds);
  }
  std::fflush(stdout);
}

int Main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  const std::vector<Case> cases = Collect(options);
  std::vector<Outcome> outcomes(cases.size());
  std::vector<double> seconds(cases.size());
  RunCases(cases, options.runner, [&](const Result& r) {
    Outcome& o = outcomes[r.index];
    o.failures.insert(o.failures.end(), r.outcome.failures.begin(), r.outcome.failures.end());
    o.skipped = r.outcome.skipped;
    o.checks += r.outcome.checks;
    seconds[r.index] += r.seconds;
    Print(cases[r.index], r, options.verbose);
  });

  long passed = 0, failed = 0, skipped = 0;
  nlohmann::json report = {{"cases", nlohmann::json::array()}};
  for (size_t i = 0; i < cases.size(); ++i) {
    const Outcome& o = outcomes[i];
    const char* state = !o.failures.empty() ? "failed" : !o.skipped.empty() ? "skipped" : "passed";
    ++(state[0] == 'f' ? failed : state[0] == 's' ? skipped : passed);
    report["cases"].push_back({{"name", cases[i].name},
                               {"state", state},
                               {"failures", o.failures},
                               {"checks", o.checks},
                               {"seconds", seconds[i]}});
  }
  if (!options.json.empty()) {
    report["passed"] = passed;
    report["failed"] = failed;
    report["skipped"] = skipped;
    std::ofstream(options.json) << report.dump(1, ' ', false,
                                               nlohmann::json::error_handler_t::replace);
  }
  std::printf("%ld passed, %ld failed, %ld skipped\n", passed, failed, skipped);
  if (options.floor >= 0) return passed >= options.floor ? 0 : 1;
  return failed == 0 && passed > 0 ? 0 : 1;
}

}  // namespace
}  // namespace savedmodel::replay

int main(int argc, char** argv) { return savedmodel::replay::Main(argc, argv); }
