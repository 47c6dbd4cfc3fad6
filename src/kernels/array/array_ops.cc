#include "src/kernels/array/array_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> ArrayFamilies() {
  return {BroadcastOps(), ConcatOps(), DiagOps(), FillOps(),    GatherOps(),    GatherSumOps(),
          IdentityOps(),  IndexOps(),  PadOps(),  PatchesOps(), ReshapeOps(),   ScatterOps(),
          SegmentOps(),   SliceOps(),  SortOps(), SpaceOps(),   TransposeOps(), UniqueOps()};
}

}  // namespace savedmodel
