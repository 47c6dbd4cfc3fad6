// Opens checkpoints of any format.
#pragma once

#include <memory>
#include <string>

#include "savedmodel/file_system.h"
#include "src/base/checkpoint.h"

namespace savedmodel {

// V2, the tensor bundle: `prefix`.index and `prefix`.data-*-of-*. DATA_LOSS for damaged files; what
// tensors hold is checked as far as `verify_checksums` says, the index always.
StatusOr<std::shared_ptr<const CheckpointReader>> OpenBundle(
    std::shared_ptr<const FileSystem> files, const std::string& prefix,
    bool verify_checksums = true);

// V1: one table file, or several that match `pattern` (with '?' and '*' in its last component).
StatusOr<std::shared_ptr<const CheckpointReader>> OpenTableCheckpoint(
    std::shared_ptr<const FileSystem> files, const std::string& pattern);

// What to open for `path`: a SavedModel's directory means its variables, a directory with a file
// "checkpoint" the latest one that it names, anything else is a prefix or pattern itself.
StatusOr<std::string> ResolveCheckpoint(const FileSystem& files, const std::string& path);

// Either, by the files that are there. Readers in use are shared.
std::shared_ptr<const CheckpointOpener> MakeCheckpointOpener(
    std::shared_ptr<const FileSystem> files, bool verify_checksums = true);

}  // namespace savedmodel
