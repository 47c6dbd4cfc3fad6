/// Checkpoints on their own: what `tf.train.Checkpoint` (object-based) and `tf.train.Saver`
/// (name-based, formats V1 and V2) write.
///
///   auto checkpoint = savedmodel::OpenCheckpoint("training/ckpt-7");
///   for (const auto& e : checkpoint->entries()) std::cout << e.key << " " << e.shape << "\n";
///   auto report = checkpoint->Restore(*model, "model");
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "savedmodel/dtype.h"
#include "savedmodel/export.h"
#include "savedmodel/file_system.h"
#include "savedmodel/model.h"
#include "savedmodel/shape.h"
#include "savedmodel/status.h"
#include "savedmodel/tensor.h"

namespace savedmodel {

namespace api {
struct CheckpointState;
}  // namespace api

/// How a checkpoint is opened.
struct CheckpointOptions {
  /// Where the files are; null means the machine's file system.
  std::shared_ptr<const FileSystem> file_system;
};

/// What Checkpoint::Restore did.
struct RestoreReport {
  /// Variables that got a value: object path, or name in a TensorFlow 1 model.
  std::vector<std::string> restored;
  /// Variables for which the checkpoint holds none; they keep theirs.
  std::vector<std::string> not_found;
};

/// An open checkpoint. A handle: cheap to copy, thread-safe. Large values alias the mapped file.
class SAVEDMODEL_EXPORT Checkpoint {
 public:
  /// One tensor. A partitioned variable is one entry with its full shape.
  struct Entry {
    std::string key;
    DType dtype = DType::kInvalid;
    Shape shape;
  };

  Checkpoint() = default;
  static Checkpoint FromError(const Status& status);
  Status status() const;

  /// Entries sorted by key, as `tf.train.list_variables` gives them.
  std::vector<Entry> entries() const;
  bool Has(const std::string& key) const;
  /// The tensor under `key`. NOT_FOUND; DATA_LOSS for a damaged file.
  StatusOr<Tensor> Read(const std::string& key) const;

  /// Dotted path of each object's value from the checkpoint's root, and its key; empty for a
  /// name-based checkpoint.
  std::vector<std::pair<std::string, std::string>> object_paths() const;

  /// Assigns to the variables of `model` what the checkpoint holds for them: by the object tree,
  /// where both have one (`root` is the dotted path of the model within the checkpoint's tree:
  /// "model" for `tf.train.Checkpoint(model=…)`), else by name. All or nothing:
  /// INVALID_ARGUMENT when a dtype or shape differs, and then no variable has changed.
  StatusOr<RestoreReport> Restore(const Model& model, const std::string& root = ".") const;

 private:
  friend StatusOr<Checkpoint> OpenCheckpoint(const std::string&, const CheckpointOptions&);
  std::shared_ptr<const api::CheckpointState> state_;
};

/// Opens the checkpoint with prefix `path` (V2), the file or file pattern `path` (V1), the
/// variables of the SavedModel in directory `path`, or the latest one that the file
/// `path`/checkpoint names. NOT_FOUND, DATA_LOSS.
SAVEDMODEL_EXPORT StatusOr<Checkpoint> OpenCheckpoint(const std::string& path,
                                                      const CheckpointOptions& options = {});

}  // namespace savedmodel
