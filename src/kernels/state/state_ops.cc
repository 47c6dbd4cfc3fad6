#include "src/kernels/state/state_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> StateFamilies() {
  return {
      ConstantOps(),          //
      LookupTableOps(),       //
      OptimizerOps(),         //
      StridedAssignOps(),     //
      TensorArrayOps(),       //
      TensorListReadOps(),    //
      TensorListUpdateOps(),  //
      VariableGatherOps(),    //
      VariableOps(),          //
      VariableScatterOps(),   //
  };
}

}  // namespace savedmodel
