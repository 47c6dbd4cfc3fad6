#include "src/kernels/io/io_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> IoFamilies() {
  return {
      CheckpointOps(),           DecodeOps(), FileOps(),        JsonExampleOps(), ParseExampleOps(),
      ParseSequenceExampleOps(), ProtoOps(),  TensorProtoOps(),
  };
}

}  // namespace savedmodel
