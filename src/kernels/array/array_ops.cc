#include "src/kernels/array/array_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> ArrayFamilies() { return {}; }

}  // namespace savedmodel
