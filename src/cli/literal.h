// Python-like literals as tensors: [[1, 2], [3, 4]], 'text', True, ones((1, 224, 224, 3)).
#pragma once

#include <string>

#include "savedmodel/tensor.h"

namespace savedmodel::cli {

// The tensor of `dtype` that `text` writes down: numbers, True and False, inf and nan, strings in
// single or double quotes (with a b prefix or not), nested lists or tuples, and zeros(shape) or
// ones(shape), also as np.zeros and np.ones.
// INVALID_ARGUMENT with the place for anything else, ragged lists included.
StatusOr<Tensor> ParseLiteral(const std::string& text, DType dtype);

}  // namespace savedmodel::cli
