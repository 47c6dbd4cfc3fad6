// Fuzz target: a whole model directory. Reads the SavedModel, converts all functions, opens the
// checkpoint, reads every tensor and matches the object graphs.
//
// An input is three files one after another, the first two behind their sizes (4 bytes each):
// saved_model.pb, variables.index, variables.data-00000-of-00001. tests/fuzz/pack_model.py makes
// one from a directory.
#include <cstring>

#include "src/kernels/all_ops.h"
#include "src/loader/checkpoint_reader.h"
#include "src/loader/saved_model_reader.h"
#include "tests/fuzz/target.h"

namespace savedmodel {
namespace {

std::string TakeFile(std::string_view* input) {
  uint32_t size = 0;
  if (input->size() < sizeof(size)) return std::string();
  std::memcpy(&size, input->data(), sizeof(size));
  input->remove_prefix(sizeof(size));
  const std::string_view file = input->substr(0, size);
  input->remove_prefix(file.size());
  return std::string(file);
}

void ReadModel(const FileSystem& files) {
  const auto model = ReadSavedModel(files, "m", BuiltInOps(), ReadOptions());
  if (!model.ok()) return;
  (void)model->graph.graph.TopologicalOrder();
  for (const std::string& name : model->graph.functions->Names()) {
    const auto function = model->graph.functions->Get({name, nullptr});
    if (function.ok()) (void)(*function)->graph.TopologicalOrder();
  }
  const auto files_of_checkpoint = std::shared_ptr<const FileSystem>(&files, [](auto*) {});
  const auto reader = MakeCheckpointOpener(files_of_checkpoint)->Open("m/variables/variables");
  if (!reader.ok()) return;
  const auto nodes = ReadCheckpointObjects(**reader);
  if (nodes.ok()) MatchCheckpointObjects(*model->objects, *nodes);
}

void ReadCheckpoint(std::shared_ptr<const FileSystem> files) {
  const auto reader = MakeCheckpointOpener(std::move(files))->Open("m/variables/variables");
  if (!reader.ok()) return;
  for (const CheckpointEntry& entry : (*reader)->entries()) {
    const auto tensor = (*reader)->Read(entry.key);
    if (tensor.ok()) fuzz::ReadEveryByte(*tensor);
  }
}

}  // namespace
}  // namespace savedmodel

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  std::map<std::string, std::string> contents;
  contents["m/saved_model.pb"] = savedmodel::TakeFile(&input);
  contents["m/variables/variables.index"] = savedmodel::TakeFile(&input);
  contents["m/variables/variables.data-00000-of-00001"] = std::string(input);
  const auto files = savedmodel::MemoryFileSystem(std::move(contents));
  savedmodel::ReadModel(*files);
  savedmodel::ReadCheckpoint(files);
  return 0;
}
