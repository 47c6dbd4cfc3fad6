// What fuzz targets share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "savedmodel/tensor.h"

namespace savedmodel::fuzz {

// Touches all bytes of a tensor, so that a sanitizer sees those that are not there.
inline void ReadEveryByte(const Tensor& tensor) {
  volatile uint8_t sum = 0;
  if (tensor.dtype() == DType::kString) {
    for (const std::string& s : tensor.values<std::string>()) {
      for (char c : s) sum = static_cast<uint8_t>(sum + c);
    }
  } else if (IsPlainData(tensor.dtype())) {
    const auto* bytes = static_cast<const uint8_t*>(tensor.raw_data());
    for (size_t i = 0; i < tensor.num_bytes(); ++i) sum = static_cast<uint8_t>(sum + bytes[i]);
  }
}

}  // namespace savedmodel::fuzz
