// Sparse and ragged tensors, segments, bincounts. Families of this folder.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// Every family of this folder, listed in sparse_ops.cc.
std::vector<Span<const OpDef>> SparseFamilies();

}  // namespace savedmodel
