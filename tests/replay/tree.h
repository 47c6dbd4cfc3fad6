// Recorded arguments and results: JSON trees of tensors as Values, and back in comparison.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "savedmodel/value.h"
#include "tests/replay/compare.h"

namespace savedmodel::replay {

using Json = nlohmann::ordered_json;  // feeds and fields have an order

// The Value that `node` describes; tensor files lie in `directory`.
StatusOr<Value> ValueFromTree(const std::string& directory, const Json& node);

// Appends a line for everything in `got` that is not as `node` says.
void CompareTree(const std::string& directory, const Json& node, const Value& got,
                 const Tolerance& tolerance, const std::string& place,
                 std::vector<std::string>* failures);

// Rewrites "rtol" and "atol" of a call as a Tolerance.
Tolerance ToleranceOf(const Json& call);

}  // namespace savedmodel::replay
