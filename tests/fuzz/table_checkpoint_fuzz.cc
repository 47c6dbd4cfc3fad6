// Fuzz target: a V1 checkpoint, which is one sorted table of tensors.
#include "src/loader/checkpoint_reader.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace savedmodel;
  const auto files =
      MemoryFileSystem({{"c", std::string(reinterpret_cast<const char*>(data), size)}});
  const auto reader = OpenTableCheckpoint(files, "c");
  if (!reader.ok()) return 0;
  for (const CheckpointEntry& entry : (*reader)->entries()) {
    const auto tensor = (*reader)->Read(entry.key);
    if (tensor.ok()) fuzz::ReadEveryByte(*tensor);
  }
  return 0;
}
