// What all functions of one model share.
#pragma once

#include <memory>

#include "savedmodel/model.h"
#include "src/base/checkpoint.h"
#include "src/base/resource_table.h"
#include "src/graph/graph.h"
#include "src/graph/node_context.h"

namespace savedmodel::api {

// Services and limits of one loaded model. Immutable after Load but for what has its own lock.
struct ModelContext {
  LoadOptions options;
  std::shared_ptr<const OpRegistry> own_registry;  // when there are custom ops
  const OpRegistry* registry = nullptr;
  std::shared_ptr<FunctionLibrary> functions;
  std::shared_ptr<ThreadPool> pool;
  std::shared_ptr<const FileSystem> files;
  std::shared_ptr<const FileSystem> model_files;  // what graphs may read: the model's own files
  std::shared_ptr<const CheckpointOpener> checkpoints;
  mutable ResourceTable resources;
  std::shared_ptr<PackCache> packs = std::make_shared<PackCache>();

  // Sets what `run_options` says in the state of a run: limits, threads.
  void SetLimits(const RunOptions& run_options, RunState* run) const;
  // The state of one run under `run_options`. `loading` lets it restore checkpoints.
  RunState MakeRun(const RunOptions& run_options, bool loading = false) const;
};

}  // namespace savedmodel::api
