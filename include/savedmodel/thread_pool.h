/// The threads that kernels run on.
#pragma once

#include <cstdint>
#include <memory>

#include "savedmodel/export.h"
#include "savedmodel/span.h"

namespace savedmodel {

/// Runs loops in parallel. A host may supply its own in LoadOptions; it must outlive the Model.
class SAVEDMODEL_EXPORT ThreadPool {
 public:
  virtual ~ThreadPool();
  /// The most threads that work at a time, the calling one included; >= 1.
  virtual int num_threads() const = 0;
  /// How many of them, the calling one included, would begin a loop at once, without being woken:
  /// loops of a few microseconds are only divided among those. A hint; may change at any time.
  virtual int num_awake() const { return 1; }
  /// Calls `fn(i)` once for each i in [0, n), on any of the threads, and returns when all are done.
  /// May be called from several threads at once and from inside `fn`.
  virtual void Run(int64_t n, FunctionRef<void(int64_t)> fn) = 0;
};

/// A pool of `num_threads` threads, the caller's included; 0 means one per core.
SAVEDMODEL_EXPORT std::shared_ptr<ThreadPool> MakeThreadPool(int num_threads);

}  // namespace savedmodel
