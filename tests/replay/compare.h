// Is a tensor what was recorded?
#pragma once

#include <string>

#include "savedmodel/tensor.h"

namespace savedmodel::replay {

// |got - want| <= atol + rtol * |want|. Negative: the default of the dtype.
struct Tolerance {
  double rtol = -1;
  double atol = -1;
};

enum class Check {
  kValues,
  kShapeOnly,     // dtype and shape
  kAbsValues,     // |x|: decompositions whose sign is free
  kSortedValues,  // as multisets: exports without order
};

// Empty when `got` is `want` within `tolerance`; else what differs, with the first such element.
// dtype and shape count always; NaN equals NaN, infinities equal themselves, the sign of zero does
// not count; all but floating point is exact.
std::string Difference(const Tensor& want, const Tensor& got, const Tolerance& tolerance,
                       Check check = Check::kValues);

// Mean and standard deviation of all elements; false where they are not numbers.
bool MeanAndDeviation(const Tensor& t, double* mean, double* deviation);

}  // namespace savedmodel::replay
