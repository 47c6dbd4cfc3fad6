// Reads checkpoints without a model, and restores one into a loaded model.
//
//   10_checkpoints tests/data/checkpoints
#include <iostream>

#include "savedmodel/checkpoint.h"

int main(int argc, char** argv) {
  const std::string folder = argc > 1 ? argv[1] : ".";

  // tf.train.list_variables, tf.train.load_variable: of the latest checkpoint in a folder.
  auto checkpoint = savedmodel::OpenCheckpoint(folder + "/training");
  if (!checkpoint.ok()) {
    std::cerr << checkpoint.status() << "\n";
    return 1;
  }
  for (const auto& entry : checkpoint->entries()) {
    std::cout << entry.key << "  " << savedmodel::DTypeName(entry.dtype) << entry.shape.ToString()
              << "\n";
  }
  // Object-based checkpoints know where in the tree each value belongs.
  for (const auto& [path, key] : checkpoint->object_paths()) {
    if (path == "model.w") std::cout << path << " = " << checkpoint->Read(key)->ToString() << "\n";
  }

  // tf.train.Checkpoint(model=m).restore(path): "model" is where `m` hangs in the checkpoint.
  auto model = savedmodel::Load(folder + "/model");
  const std::string before = model->variable("w").value().ToString();
  auto report = checkpoint->Restore(*model, "model");
  if (!report.ok()) {
    std::cerr << report.status() << "\n";
    return 1;
  }
  for (const std::string& name : report->restored) std::cout << "restored " << name << "\n";
  for (const std::string& name : report->not_found) std::cout << "kept " << name << "\n";
  std::cout << "w was " << before << "\nand is " << model->variable("w").value().ToString() << "\n";

  // A name-based checkpoint (tf.compat.v1.train.Saver) goes by the variables' names.
  auto by_name = savedmodel::OpenCheckpoint(folder + "/name_based")->Restore(*model);
  return by_name.ok() && by_name->restored.size() == 2 && report->not_found.empty() ? 0 : 1;
}
