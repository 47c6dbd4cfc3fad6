// Floats as products of bfloat16 have them.
#pragma once

#include <cstdint>
#include <cstring>

namespace savedmodel {

// To the nearest bfloat16, ties to even.
inline float Rounded(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  bits += 0x7fff + ((bits >> 16) & 1);
  bits &= 0xffff0000;
  std::memcpy(&x, &bits, sizeof(bits));
  return x;
}

}  // namespace savedmodel
