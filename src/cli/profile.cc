// Where the time of a call goes, as a table and as a Chrome trace.
#include "savedmodel/profile.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>

#include "src/cli/commands.h"
#include "src/cli/json_output.h"

namespace savedmodel::cli {
namespace {

struct Total {
  std::string name;
  double us = 0;
  int64_t count = 0;
};

// The largest totals under each name, in microseconds and steps for one of `runs` runs.
void PrintTotals(const char* title, const std::vector<StepTiming>& steps, int runs, size_t most,
                 std::string (*name)(const StepTiming&)) {
  std::map<std::string, Total> by_name;
  double all = 0;
  for (const StepTiming& step : steps) {
    Total& total = by_name[name(step)];
    total.us += 1e-3 * static_cast<double>(step.self_ns);
    ++total.count;
    all += 1e-3 * static_cast<double>(step.self_ns);
  }
  std::vector<Total> totals;
  for (auto& [key, total] : by_name) {
    total.name = key;
    totals.push_back(total);
  }
  std::sort(totals.begin(), totals.end(),
            [](const Total& a, const Total& b) { return a.us > b.us; });
  std::printf("\n%12s %7s %9s  %s\n", "us per run", "share", "steps", title);
  for (size_t i = 0; i < totals.size() && i < most; ++i) {
    std::printf("%12.2f %6.1f%% %9.1f  %s\n", totals[i].us / runs, 100 * totals[i].us / all,
                static_cast<double>(totals[i].count) / runs, totals[i].name.c_str());
  }
}

Status WriteTrace(const std::vector<StepTiming>& steps, const std::string& path) {
  std::map<uint64_t, int> threads;
  Json events = Json::array();
  for (const StepTiming& step : steps) {
    const int thread = threads.emplace(step.thread, static_cast<int>(threads.size())).first->second;
    events.push_back({{"name", step.op},
                      {"cat", "step"},
                      {"ph", "X"},
                      {"ts", 1e-3 * static_cast<double>(step.start_ns)},
                      {"dur", 1e-3 * static_cast<double>(step.duration_ns)},
                      {"pid", 1},
                      {"tid", thread},
                      {"args", {{"node", step.node}}}});
  }
  std::ofstream out(path);
  out << Json({{"traceEvents", std::move(events)}})
             .dump(-1, ' ', false, Json::error_handler_t::replace)
      << "\n";
  out.close();
  if (!out) return Status(StatusCode::kUnavailable, path + ": cannot be written");
  return Status();
}

}  // namespace

Status Profile(BoundCall* call, int runs, bool table, const std::string& trace) {
  StartProfile();
  Status status;
  for (int i = 0; i < runs && status.ok(); ++i) status = call->Run();
  const std::vector<StepTiming> steps = StopProfile();
  if (!status.ok()) return status;
  if (table) {
    PrintTotals("op", steps, runs, 30, [](const StepTiming& s) { return s.op; });
    PrintTotals("node", steps, runs, 30,
                [](const StepTiming& s) { return s.node + " (" + s.op + ")"; });
  }
  return trace.empty() ? Status() : WriteTrace(steps, trace);
}

}  // namespace savedmodel::cli
