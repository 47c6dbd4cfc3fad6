// Fuzz target: a serialised TensorProto.
#include "src/loader/tensor_proto.h"
#include "tests/fuzz/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto tensor =
      savedmodel::ParseTensorProto(std::string_view(reinterpret_cast<const char*>(data), size));
  if (tensor.ok() && tensor->num_bytes() < 1u << 20) savedmodel::fuzz::ReadEveryByte(*tensor);
  return 0;
}
