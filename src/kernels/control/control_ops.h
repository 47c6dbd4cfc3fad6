// Calls, conditionals, loops, assertions. Families of this folder.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// Every family of this folder, listed in control_ops.cc.
std::vector<Span<const OpDef>> ControlFamilies();

Span<const OpDef> BatchOps();
Span<const OpDef> CallOps();
Span<const OpDef> LoopOps();
Span<const OpDef> MessageOps();
Span<const OpDef> SlicesOps();
Span<const OpDef> SummaryOps();
Span<const OpDef> SwitchMergeOps();
Span<const OpDef> WhileOps();

}  // namespace savedmodel
