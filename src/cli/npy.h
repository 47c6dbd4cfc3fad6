// numpy's .npy files.
#pragma once

#include <string>

#include "savedmodel/tensor.h"

namespace savedmodel::cli {

// Reads a version 1 to 3 file. Fixed-width bytes ('S') and text ('U', as UTF-8) become strings,
// 'V2' bfloat16. Fortran order is rearranged.
StatusOr<Tensor> ReadNpy(const std::string& path);

// Writes little-endian, C order; strings as fixed-width bytes.
Status WriteNpy(const std::string& path, const Tensor& tensor);

}  // namespace savedmodel::cli
