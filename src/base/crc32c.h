// CRC-32C (Castagnoli), as sorted tables and checkpoints use it.
#pragma once

#include <cstdint>
#include <string_view>

namespace savedmodel {

// The checksum of the bytes that gave `crc`, followed by `bytes`.
uint32_t ExtendCrc32c(uint32_t crc, std::string_view bytes);
inline uint32_t Crc32c(std::string_view bytes) { return ExtendCrc32c(0, bytes); }

// Checksums are stored masked, since the checksum of bytes that hold their own checksum is weak.
inline uint32_t UnmaskCrc32c(uint32_t masked) {
  const uint32_t rotated = masked - 0xa282ead8u;
  return (rotated >> 17) | (rotated << 15);
}
inline uint32_t MaskCrc32c(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

// True when the stored, masked checksum is `crc`. Fuzz targets are built so that it always is:
// a fuzzer guesses no checksums, and what lies behind them needs fuzzing most.
inline bool MatchesMaskedCrc32c([[maybe_unused]] uint32_t masked, [[maybe_unused]] uint32_t crc) {
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
  return true;
#else
  return UnmaskCrc32c(masked) == crc;
#endif
}

}  // namespace savedmodel
