// What the Sobol sequence starts from.
#pragma once

#include <cstdint>

namespace savedmodel {

// Dimensions of the sequence: 0, and one for each primitive polynomial up to degree 13. (What
// TensorFlow's 21200 dimensions start from would take 350 KB.)
inline constexpr int kSobolDimensions = 1111;

// The first direction numbers of dimensions 1, 2, …, as many for each as the degree of its
// polynomial. Number k is odd and below 2^(k + 1): bits 1 … k of it are here, from low to high.
extern const uint64_t kSobolInitialBits[1153];

}  // namespace savedmodel
