// The string hashes whose values TensorFlow models depend on.
#pragma once

#include <cstdint>
#include <string_view>

namespace savedmodel {

// FarmHash's Fingerprint64: stable for ever, on any machine.
uint64_t FarmFingerprint64(std::string_view s);

// How two fingerprints become one.
inline uint64_t FingerprintCat64(uint64_t a, uint64_t b) {
  constexpr uint64_t kMul = 0xc6a4a7935bd1e995u;
  uint64_t mixed = a ^ kMul;
  uint64_t product = b * kMul;
  product ^= product >> 47;
  mixed ^= product * kMul;
  mixed *= kMul;
  mixed ^= mixed >> 47;
  mixed *= kMul;
  return mixed ^ (mixed >> 47);
}

// TensorFlow's own Hash64 (MurmurHash64A), the hash of StringToHashBucket.
uint64_t LegacyHash64(std::string_view s, uint64_t seed = 0xDECAFCAFFE);

// SipHash-2-4 under a key of two words.
uint64_t SipHash(const uint64_t key[2], std::string_view s);

}  // namespace savedmodel
