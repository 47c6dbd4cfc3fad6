#include "src/kernels/io/io_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> IoFamilies() {
  return {
      CheckpointOps(),  DecodeOps(),       DecodeProtoOps(),          FileOps(),
      JsonExampleOps(), ParseExampleOps(), ParseSequenceExampleOps(), TensorProtoOps(),
  };
}

}  // namespace savedmodel
