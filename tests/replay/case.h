// One recorded case, and how it went.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "savedmodel/model.h"

namespace savedmodel::replay {

struct Outcome {
  // One line for each thing that is not as recorded; the case passes when there is none.
  std::vector<std::string> failures;
  // Why the case was not run; empty when it was.
  std::string skipped;
  int checks = 0;
};

struct Case {
  std::string name;
  std::function<Outcome(const LoadOptions&)> run;
  // Limits of the case itself, over those of the command line; 0 means none.
  std::chrono::milliseconds timeout{0};
  int64_t max_bytes = 0;
  bool isolate = false;  // always in a process of its own
};

// Cases of the set, case folder or case file at `path`, of whatever kind it is.
StatusOr<std::vector<Case>> FindCases(const std::string& path);

// The kinds. Each appends to `cases`.
Status AddConformanceFile(const std::string& path, std::vector<Case>* cases);
Status AddFixture(const std::string& directory, std::vector<Case>* cases);
Status AddWild(const std::string& directory, std::vector<Case>* cases);
Status AddHostile(const std::string& set, const std::string& directory, std::vector<Case>* cases);

// Files.
StatusOr<std::string> ReadFile(const std::string& path);
StatusOr<Tensor> ReadTensor(const std::string& path);

}  // namespace savedmodel::replay
