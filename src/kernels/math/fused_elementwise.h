// What the optimizer tells `_Elementwise`, a tree of scalar functions over its inputs, and
// `_ElementwiseSum`, the sums (or means) of such a tree along the last axis. Its last `of_sums`
// functions are applied to the sums, which for them are the result of the function before.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// Most functions of one tree: bounds its memory.
inline constexpr int kMostFused = 32;

// Longest rows that are summed.
inline constexpr int64_t kMostSummed = 1024;

// A function and its operands: inputs of the op (0, 1, …) or results of earlier functions (-1 for
// the first one's, -2, …). A function of fewer operands has its last one again.
struct FusedFunction {
  ScalarOp op = ScalarOp::kNone;
  float parameter = 0;  // LeakyRelu's alpha
  int x = 0, y = 0, z = 0;
};

// The functions as attributes; the last one's result is the op's.
void SetFunctions(const std::vector<FusedFunction>& functions, Attrs* attrs);

}  // namespace savedmodel
