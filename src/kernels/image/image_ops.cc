#include "src/kernels/image/image_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> ImageFamilies() { return {}; }

}  // namespace savedmodel
