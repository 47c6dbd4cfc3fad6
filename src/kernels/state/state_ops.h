// Variables, tables, queues, tensor lists, tensor arrays. Families of this folder.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// Every family of this folder, listed in state_ops.cc.
std::vector<Span<const OpDef>> StateFamilies();

Span<const OpDef> ConstantOps();
Span<const OpDef> LookupTableOps();
Span<const OpDef> OptimizerOps();
Span<const OpDef> OptionalOps();
Span<const OpDef> QueueOps();
Span<const OpDef> StackOps();
Span<const OpDef> StridedAssignOps();
Span<const OpDef> TensorArrayOps();
Span<const OpDef> TensorListReadOps();
Span<const OpDef> TensorListUpdateOps();
Span<const OpDef> TensorMapOps();
Span<const OpDef> VariableGatherOps();
Span<const OpDef> VariableOps();
Span<const OpDef> VariableScatterOps();

}  // namespace savedmodel
