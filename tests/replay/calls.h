// Calls of a case folder, made on a loaded model.
#pragma once

#include <string>
#include <vector>

#include "savedmodel/model.h"
#include "tests/replay/case.h"
#include "tests/replay/tree.h"

namespace savedmodel::replay {

// Name to file, read into tensors.
StatusOr<TensorMap> ReadFeeds(const std::string& directory, const Json& files);

// `place` says where in messages. Each makes one call and appends what is not as recorded.
struct CallChecker {
  const std::string& directory;
  const Json& call;
  std::string place;
  Outcome* outcome;

  void Fail(const std::string& what) { outcome->failures.push_back(place + ": " + what); }
  // Compares named results with files.
  void CompareNamed(const Json& expected, const TensorMap& got);
  // True when the call should have failed, or did; then there is nothing to compare.
  bool SettleError(const Status& status);
  void Signature(const Model& model);
  // The same call by the names of the signature's tensors, through the session view. Does nothing
  // where an error is expected or an input has a default.
  void SignatureBySession(const Model& model);
  void Session(const Model& model);
};

}  // namespace savedmodel::replay
