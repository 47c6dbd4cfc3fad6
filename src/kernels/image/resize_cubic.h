// Cubic interpolation of rows.
#pragma once

#include <vector>

#include "src/kernels/image/resize.h"

namespace savedmodel {

// Weights of four input positions; those outside are clamped to the edge.
struct Cubic {
  int64_t at[4];
  float weight[4];
};

// Of the output positions along a dimension of `in` and `out` positions.
std::vector<Cubic> Cubics(const ResizeMapping& mapping, int64_t in, int64_t out);

// Pixels of an output row from one that is followed by kBehindCubics floats, which are read but do
// not count.
inline constexpr int64_t kBehindCubics = 3;
void ResampleCubic(const float* row, const std::vector<Cubic>& xs, int64_t channels, float* out);

}  // namespace savedmodel
