// The files that a model's own graphs may read.
#pragma once

#include <memory>
#include <string>

#include "savedmodel/file_system.h"

namespace savedmodel::api {

// A view of `files` that reads below `root` only; anything else is PERMISSION_DENIED. Links are
// followed before looking where a path leads.
std::shared_ptr<const FileSystem> FilesBelow(std::shared_ptr<const FileSystem> files,
                                             const std::string& root);

}  // namespace savedmodel::api
