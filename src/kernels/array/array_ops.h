// Shapes, slices, gathers, scatters, sorting: ops that move elements. Families of this folder.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// Every family of this folder, listed in array_ops.cc.
std::vector<Span<const OpDef>> ArrayFamilies();

Span<const OpDef> BroadcastOps();
Span<const OpDef> ConcatOps();
Span<const OpDef> DiagOps();
Span<const OpDef> FillOps();
Span<const OpDef> GatherOps();
Span<const OpDef> GatherSumOps();
Span<const OpDef> IdentityOps();
Span<const OpDef> IndexOps();
Span<const OpDef> PadOps();
Span<const OpDef> PatchesOps();
Span<const OpDef> ReshapeOps();
Span<const OpDef> ScatterOps();
Span<const OpDef> SegmentOps();
Span<const OpDef> SliceOps();
Span<const OpDef> SortOps();
Span<const OpDef> SpaceOps();
Span<const OpDef> TransposeOps();
Span<const OpDef> UniqueOps();

}  // namespace savedmodel
