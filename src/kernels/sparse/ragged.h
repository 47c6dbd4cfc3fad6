// Ragged tensors: nested row splits over dense values.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// The splits of inputs [first, first + levels), widened, checked against each other and the
// number of rows of the values: each starts with 0, never decreases, and ends with the number of
// rows of the level below; or, where not `whole`, stays within those. INVALID_ARGUMENT otherwise.
StatusOr<std::vector<std::vector<int64_t>>> ReadSplits(OpContext& ctx, int first, int levels,
                                                       int64_t value_rows, bool whole = true);

// Outputs splits for each dimension of `shape` but the first, as levels of equally long rows:
// outputs *output and on, which moves behind them.
Status EmitUniformSplits(OpContext& ctx, const Shape& shape, int* output);

// Outputs `values`, which must fit, as splits of the output's dtype.
Status EmitRowSplits(OpContext& ctx, int output, const std::vector<int64_t>& values);

}  // namespace savedmodel
