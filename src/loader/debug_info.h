// Which lines of Python code made the nodes of a model.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "savedmodel/file_system.h"

namespace savedmodel {

// "node@function" (a node of the main graph has no function) → "file:line in function", outermost
// call first.
using SourceTraces = std::map<std::string, std::vector<std::string>>;

// What `directory`/debug/saved_model_debug_info.pb says; empty when there is no such file.
// DATA_LOSS for a damaged one.
StatusOr<SourceTraces> ReadDebugInfo(const FileSystem& files, const std::string& directory);

}  // namespace savedmodel
