// The files that a model may read.
#pragma once

#include <memory>
#include <string>

#include "savedmodel/file_system.h"

namespace savedmodel::api {

// A view of `files` that reads below `root` only; anything else is PERMISSION_DENIED. Links that
// lead out are refused too, unless `follow_links`.
std::shared_ptr<const FileSystem> FilesBelow(std::shared_ptr<const FileSystem> files,
                                             const std::string& root, bool follow_links);

}  // namespace savedmodel::api
