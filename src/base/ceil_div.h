// Division that rounds up.
#pragma once

#include <cstdint>

namespace savedmodel {

// ceil(a / b), of a >= 0 and b > 0 whose sum is an int64.
constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace savedmodel
