#include "src/kernels/sparse/sparse_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> SparseFamilies() {
  return {
      RaggedDenseOps(),    RaggedOps(),      RaggedVariantOps(), SparseArithmeticOps(),
      SparseBincountOps(), SparseDenseOps(), SparseLayoutOps(),  SparsePartsOps(),
      SparseSegmentOps(),  SparseSetOps(),
  };
}

}  // namespace savedmodel
