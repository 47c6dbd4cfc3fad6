// Fuzz target: a whole model directory, loaded as a host does. Reads every variable and checkpoint
// entry, converts all functions, and calls each signature with zeros.
//
// An input is three parts one after another, the first two behind their sizes (4 bytes each):
// saved_model.pb; the entries of variables.index, key and value each behind their sizes (2 bytes
// each); variables.data-00000-of-00001. The index is built from its entries, since hardly any
// mutation of the file would keep its checksums right; table_checkpoint_fuzz reads raw tables.
// tests/fuzz/pack_model.py makes an input from a directory.
#include <google/protobuf/stubs/logging.h>

#include <cstring>
#include <utility>

#include "proto/savedmodel_model.pb.h"
#include "savedmodel/model.h"
#include "src/loader/checkpoint_reader.h"
#include "tests/fuzz/mutate_message.h"
#include "tests/fuzz/target.h"
#include "tests/loader/table_builder.h"

namespace savedmodel {
namespace {

template <class Size>
std::string_view TakePart(std::string_view* input) {
  Size size = 0;
  if (input->size() < sizeof(size)) return std::exchange(*input, {});
  std::memcpy(&size, input->data(), sizeof(size));
  input->remove_prefix(sizeof(size));
  const std::string_view part = input->substr(0, size);
  input->remove_prefix(part.size());
  return part;
}

std::string IndexOf(std::string_view entries) {
  std::map<std::string, std::string> table;
  while (!entries.empty()) {
    const std::string key(TakePart<uint16_t>(&entries));
    table[key] = TakePart<uint16_t>(&entries);
  }
  return TableBuilder().Build(table);
}

// Zeros of the shape that `spec` declares, 1 for what it leaves open; nothing where that is large.
Tensor InputFor(const TensorSpec& spec) {
  std::vector<int64_t> dims = spec.shape.known_rank() ? spec.shape.ToVector() : Shape().ToVector();
  for (int64_t& d : dims) d = d < 0 ? 1 : d;
  const auto shape = Shape::Make(dims);
  if (!shape.ok() || shape->num_elements() > 1 << 16) return Tensor();
  return Tensor::Zeros(spec.dtype, *shape).value_or(Tensor());
}

void CallSignatures(const Model& model) {
  for (const SignatureInfo& signature : model.signatures()) {
    TensorMap inputs;
    for (const TensorSpec& spec : signature.inputs) inputs[spec.name] = InputFor(spec);
    const auto results = model.Signature(signature.key)(inputs, fuzz::RunLimits());
    if (!results.ok()) continue;
    for (const auto& [name, tensor] : *results) fuzz::ReadEveryByte(tensor);
  }
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

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

// Mostly changes the model as a message, else bytes anywhere.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view file = savedmodel::TakePart<uint32_t>(&input);
  savedmodel::proto::SavedModel model;
  if (seed % 8 == 0 || !model.ParseFromArray(file.data(), static_cast<int>(file.size()))) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
  savedmodel::fuzz::MessageMutator mutator(seed);
  for (unsigned i = 0; i <= seed % 3; ++i) mutator.Mutate(&model);
  const std::string bytes = model.SerializeAsString();
  const auto bytes_size = static_cast<uint32_t>(bytes.size());
  if (sizeof(bytes_size) + bytes.size() + input.size() > max_size) return size;
  const std::string rest(input);
  std::memcpy(data, &bytes_size, sizeof(bytes_size));
  std::memcpy(data + sizeof(bytes_size), bytes.data(), bytes.size());
  std::memcpy(data + sizeof(bytes_size) + bytes.size(), rest.data(), rest.size());
  return sizeof(bytes_size) + bytes.size() + rest.size();
}

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  std::map<std::string, std::string> contents;
  contents["m/saved_model.pb"] = savedmodel::TakePart<uint32_t>(&input);
  contents["m/variables/variables.index"] =
      savedmodel::IndexOf(savedmodel::TakePart<uint32_t>(&input));
  contents["m/variables/variables.data-00000-of-00001"] = input;
  const auto files = savedmodel::MemoryFileSystem(std::move(contents));
  savedmodel::ReadCheckpoint(files);
  savedmodel::LoadOptions options = savedmodel::fuzz::LoadLimits();
  options.file_system = files;
  options.verify_checksums = size % 2 == 0;  // both ways: a mutation rarely keeps a checksum right
  const auto model = savedmodel::Load("m", options);
  if (!model.ok()) return 0;
  for (const auto& [path, variable] : model->variables()) {
    const auto value = variable.Read();
    if (value.ok()) savedmodel::fuzz::ReadEveryByte(*value);
  }
  savedmodel::CallSignatures(*model);
  (void)model->Check();
  return 0;
}
