// What `_GatheredProduct` and the pass that makes it agree on.
#pragma once

#include <algorithm>
#include <cstdint>

namespace savedmodel {

// How many products of `columns` with rows of a table are kept, one after the other as they are
// first needed: at most 32 MiB. 0 where that is so small a part of a table of `rows` that most
// would be computed in each run.
inline int64_t KeptProducts(int64_t rows, int64_t columns) {
  constexpr int64_t kMostFloats = 8 << 20, kLeastPart = 8;
  const int64_t kept = std::min(rows, kMostFloats / std::max<int64_t>(columns, 1));
  return kept >= rows / kLeastPart ? kept : 0;
}

}  // namespace savedmodel
