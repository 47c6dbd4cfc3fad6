// What Keras 2 writes about its layers beside a SavedModel.
#pragma once

#include <string>
#include <vector>

#include "savedmodel/file_system.h"
#include "src/loader/object_graph.h"

namespace savedmodel {

// An object that Keras knows: a layer or a model.
struct KerasObject {
  int node = 0;  // of the object graph
  std::string name;
  std::string class_name;
};

// The layers in `directory`/keras_metadata.pb (TensorFlow 2.5 on), or in the object graph itself
// (before); none where there is neither. DATA_LOSS for damaged metadata.
StatusOr<std::vector<KerasObject>> ReadKerasMetadata(const FileSystem& files,
                                                     const std::string& directory,
                                                     const ObjectGraph& objects);

}  // namespace savedmodel
