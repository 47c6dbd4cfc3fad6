// Results as JSON.
#pragma once

#include <nlohmann/json.hpp>

#include "savedmodel/model.h"

namespace savedmodel::cli {

using Json = nlohmann::ordered_json;

// {"dtype": …, "shape": …, "values": nested lists}; complex numbers as [re, im].
Json ToJson(const Tensor& tensor);
Json ToJson(const TensorSpec& spec);
// Dimensions with -1 for unknown ones; null for unknown rank.
Json ToJson(const Shape& shape);
// Prints with indentation; text that is not UTF-8 is replaced.
void PrintJson(const Json& json);

}  // namespace savedmodel::cli
