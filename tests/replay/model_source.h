// What a case's artefact is loaded with: SavedModel directories, GraphDefs, MetaGraphs,
// checkpoints.
#pragma once

#include <memory>
#include <string>

#include "savedmodel/model.h"
#include "src/base/checkpoint.h"
#include "tests/replay/tree.h"

namespace savedmodel::replay {

// The model of case `spec` in `directory`.
StatusOr<Model> LoadSource(const std::string& directory, const Json& spec,
                           const LoadOptions& options);

// Prefix of the checkpoint that the case's "checkpoint_entries" speak of.
std::string CheckpointPrefix(const std::string& directory, const Json& spec);

StatusOr<std::shared_ptr<const CheckpointReader>> OpenCheckpoint(const std::string& prefix);

}  // namespace savedmodel::replay
