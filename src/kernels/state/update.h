// What Assign*, Scatter* and ScatterNd* do to elements of a variable.
#pragma once

#include <cstdint>
#include <string_view>

#include "savedmodel/dtype.h"
#include "savedmodel/status.h"

namespace savedmodel {

enum class Update : uint8_t { kAssign, kAdd, kSub, kMul, kDiv, kMin, kMax };

// The update that the op's name ends in ("ResourceScatterNdAdd"); kAssign for all others.
Update UpdateOf(std::string_view op_name);

// Updates `n` elements at `to` with those at `from`, or all with the one at `from` if `broadcast`.
// False for an integer division by zero.
using UpdateFn = bool (*)(void* to, const void* from, int64_t n, bool broadcast);

// UNIMPLEMENTED for a dtype that cannot be updated so.
StatusOr<UpdateFn> FindUpdate(Update update, DType dtype);

}  // namespace savedmodel
