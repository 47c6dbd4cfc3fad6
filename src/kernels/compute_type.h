// The type that arithmetic on an element type is done in.
#pragma once

#include <type_traits>

#include "savedmodel/float16.h"

namespace savedmodel {

template <class T>
inline constexpr bool kIsSmallFloat = std::is_same_v<T, half> || std::is_same_v<T, bfloat16>;

// T itself, but float for half and bfloat16.
template <class T>
using ComputeType = std::conditional_t<kIsSmallFloat<T>, float, T>;

}  // namespace savedmodel
