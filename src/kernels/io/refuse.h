// Ops that have a row, so that graphs that hold them load, but do not do what they would.
#pragma once

#include "savedmodel/op.h"
#include "src/base/status_macros.h"

namespace savedmodel {

// The kernel of ops that write files.
inline Status RefuseToWrite(OpContext&) {
  return Status(StatusCode::kPermissionDenied,
                "graphs may not write files; fetch the values and write them in the host");
}

}  // namespace savedmodel
