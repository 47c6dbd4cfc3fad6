// Shapes, slices, gathers, scatters, sorting: ops that move elements. Families of this folder.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// Every family of this folder, listed in array_ops.cc.
std::vector<Span<const OpDef>> ArrayFamilies();

}  // namespace savedmodel
