#include "src/kernels/sparse/sparse_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> SparseFamilies() {
  return {
      CrossOps(),          CsrOps(),           RaggedDenseOps(),
      RaggedOps(),         RaggedVariantOps(), SparseArithmeticOps(),
      SparseBincountOps(), SparseDenseOps(),   SparseLayoutOps(),
      SparseMatMulOps(),   SparsePartsOps(),   SparseSegmentOps(),
      SparseSetOps(),      TensorsMapOps(),
  };
}

}  // namespace savedmodel
