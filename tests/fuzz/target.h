// What fuzz targets share.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "savedmodel/model.h"

namespace savedmodel::fuzz {

constexpr std::chrono::milliseconds kTimeout(500);
constexpr int64_t kMemoryLimit = 64 << 20;

// Limits that any input must keep to, well below those of the fuzzer itself.
inline LoadOptions LoadLimits() {
  LoadOptions options;
  options.num_threads = 1;
  options.timeout = kTimeout;
  options.memory_limit = kMemoryLimit;
  options.max_loop_iterations = 1000;
  return options;
}

inline RunOptions RunLimits() {
  RunOptions options;
  options.timeout = kTimeout;
  return options;
}

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
