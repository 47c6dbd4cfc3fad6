#include "src/kernels/state/state_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> StateFamilies() {
  return {
      ConstantOps(),          //
      LookupTableOps(),       //
      OptimizerOps(),         //
      OptionalOps(),          //
      QueueOps(),             //
      StackOps(),             //
      StridedAssignOps(),     //
      TensorArrayOps(),       //
      TensorListReadOps(),    //
      TensorListUpdateOps(),  //
      TensorMapOps(),         //
      VariableGatherOps(),    //
      VariableOps(),          //
      VariableScatterOps(),   //
  };
}

}  // namespace savedmodel
