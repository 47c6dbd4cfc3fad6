#include "src/kernels/array/array_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> ArrayFamilies() {
  return {DiagOps(),     BroadcastOps(), ConcatOps(),    FillOps(),    GatherOps(),
          IdentityOps(), PadOps(),       ReshapeOps(),   ScatterOps(), SegmentOps(),
          SliceOps(),    SortOps(),      TransposeOps(), UniqueOps()};
}

}  // namespace savedmodel
