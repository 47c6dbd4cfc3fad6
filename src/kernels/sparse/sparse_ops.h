// Sparse and ragged tensors, segments, bincounts. Families of this folder.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

Span<const OpDef> CrossOps();
Span<const OpDef> CsrOps();
Span<const OpDef> RaggedDenseOps();
Span<const OpDef> RaggedOps();
Span<const OpDef> RaggedVariantOps();
Span<const OpDef> SparseArithmeticOps();
Span<const OpDef> SparseBincountOps();
Span<const OpDef> SparseDenseOps();
Span<const OpDef> SparseLayoutOps();
Span<const OpDef> SparseMatMulOps();
Span<const OpDef> SparsePartsOps();
Span<const OpDef> SparseSegmentOps();
Span<const OpDef> SparseSetOps();
Span<const OpDef> TensorsMapOps();

// Every family of this folder, listed in sparse_ops.cc.
std::vector<Span<const OpDef>> SparseFamilies();

}  // namespace savedmodel
