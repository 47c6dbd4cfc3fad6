#include "src/kernels/control/control_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> ControlFamilies() {
  return {
      BatchOps(),  CallOps(),    LoopOps(),        MessageOps(),
      SlicesOps(), SummaryOps(), SwitchMergeOps(), WhileOps(),
  };
}

}  // namespace savedmodel
