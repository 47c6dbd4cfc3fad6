#include "src/kernels/sparse/sparse_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> SparseFamilies() { return {}; }

}  // namespace savedmodel
