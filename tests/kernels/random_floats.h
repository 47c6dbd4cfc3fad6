// Inputs of kernel tests.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace savedmodel {

// `n` numbers in [-1, 1), the same for the same seed.
inline std::vector<float> Random(int64_t n, int seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = uniform(generator);
  return values;
}

}  // namespace savedmodel
