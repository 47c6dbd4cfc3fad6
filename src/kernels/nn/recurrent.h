// What cells of recurrent layers and the loops over them have in common.
#pragma once

#include "savedmodel/op.h"
#include "src/kernels/isa/vector_code.h"

namespace savedmodel {

// The order of gates and the bias of an _LstmCell or _LstmLoop.
StatusOr<LstmArgs> ReadLstmAttrs(const Attrs& attrs);

}  // namespace savedmodel
