#include "src/kernels/string/hash.h"

#include <cstring>
#include <utility>

namespace savedmodel {
namespace {

constexpr uint64_t k0 = 0xc3a5c85c97cb3127u;
constexpr uint64_t k1 = 0xb492b66fbe98f273u;
constexpr uint64_t k2 = 0x9ae16a3b2f90404fu;

// Little-endian machines only, as everywhere in this library.
uint64_t Load64(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
uint32_t Load32(const char* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
uint8_t Byte(const char* p) { return static_cast<uint8_t>(*p); }
uint64_t RotateRight(uint64_t v, int n) { return (v >> n) | (v << (64 - n)); }
uint64_t RotateLeft(uint64_t v, int n) { return (v << n) | (v >> (64 - n)); }
uint64_t ShiftMix(uint64_t v) { return v ^ (v >> 47); }

uint64_t HashLen16(uint64_t u, uint64_t v, uint64_t mul) {
  const uint64_t a = ShiftMix((u ^ v) * mul);
  const uint64_t b = ShiftMix((v ^ a) * mul);
  return b * mul;
}

uint64_t HashLen0To16(const char* s, size_t len) {
  if (len >= 8) {
    const uint64_t mul = k2 + len * 2;
    const uint64_t a = Load64(s) + k2;
    const uint64_t b = Load64(s + len - 8);
    const uint64_t c = RotateRight(b, 37) * mul + a;
    const uint64_t d = (RotateRight(a, 25) + b) * mul;
    return HashLen16(c, d, mul);
  }
  if (len >= 4) {
    const uint64_t mul = k2 + len * 2;
    const uint64_t a = Load32(s);
    return HashLen16(len + (a << 3), Load32(s + len - 4), mul);
  }
  if (len == 0) return k2;
  const uint32_t y = Byte(s) + (static_cast<uint32_t>(Byte(s + (len >> 1))) << 8);
  const uint32_t z = static_cast<uint32_t>(len) + (static_cast<uint32_t>(Byte(s + len - 1)) << 2);
  return ShiftMix(y * k2 ^ z * k0) * k2;
}

uint64_t HashLen17To32(const char* s, size_t len) {
  const uint64_t mul = k2 + len * 2;
  const uint64_t a = Load64(s) * k1;
  const uint64_t b = Load64(s + 8);
  const uint64_t c = Load64(s + len - 8) * mul;
  const uint64_t d = Load64(s + len - 16) * k2;
  return HashLen16(RotateRight(a + b, 43) + RotateRight(c, 30) + d, a + RotateRight(b + k2, 18) + c,
                   mul);
}

uint64_t HashLen33To64(const char* s, size_t len) {
  const uint64_t mul = k2 + len * 2;
  const uint64_t a = Load64(s) * k2;
  const uint64_t b = Load64(s + 8);
  const uint64_t c = Load64(s + len - 8) * mul;
  const uint64_t d = Load64(s + len - 16) * k2;
  const uint64_t y = RotateRight(a + b, 43) + RotateRight(c, 30) + d;
  const uint64_t z = HashLen16(y, a + RotateRight(b + k2, 18) + c, mul);
  const uint64_t e = Load64(s + 16) * mul;
  const uint64_t f = Load64(s + 24);
  const uint64_t g = (y + Load64(s + len - 32)) * mul;
  const uint64_t h = (z + Load64(s + len - 24)) * mul;
  return HashLen16(RotateRight(e + f, 43) + RotateRight(g, 30) + h, e + RotateRight(f + a, 18) + g,
                   mul);
}

using Pair = std::pair<uint64_t, uint64_t>;

Pair WeakHash32(const char* s, uint64_t a, uint64_t b) {
  const uint64_t w = Load64(s), x = Load64(s + 8), y = Load64(s + 16), z = Load64(s + 24);
  a += w;
  b = RotateRight(b + a + z, 21);
  const uint64_t c = a;
  a += x;
  a += y;
  b += RotateRight(a, 44);
  return {a + z, b + c};
}

// State of the loop over 64-byte blocks of a long string.
struct LongState {
  uint64_t x, y, z;
  Pair v, w;

  void Block(const char* s, uint64_t mul, uint64_t w_factor, uint64_t v_factor) {
    x = RotateRight(x + y + v.first + Load64(s + 8), 37) * mul;
    y = RotateRight(y + v.second + Load64(s + 48), 42) * mul;
    x ^= w.second * w_factor;
    y += v.first * v_factor + Load64(s + 40);
    z = RotateRight(z + w.first, 33) * mul;
    v = WeakHash32(s, v.second * mul, x + w.first);
    w = WeakHash32(s + 32, z + w.second, y + Load64(s + 16));
    std::swap(z, x);
  }
};

}  // namespace

uint64_t FarmFingerprint64(std::string_view text) {
  const char* s = text.data();
  const size_t len = text.size();
  if (len <= 16) return HashLen0To16(s, len);
  if (len <= 32) return HashLen17To32(s, len);
  if (len <= 64) return HashLen33To64(s, len);
  constexpr uint64_t kSeed = 81;
  LongState state{kSeed, kSeed * k1 + 113, 0, {0, 0}, {0, 0}};
  state.z = ShiftMix(state.y * k2 + 113) * k2;
  state.x = state.x * k2 + Load64(s);
  const char* end = s + ((len - 1) / 64) * 64;
  const char* last = end + ((len - 1) & 63) - 63;
  for (; s != end; s += 64) state.Block(s, k1, 1, 1);
  const uint64_t mul = k1 + ((state.z & 0xff) << 1);
  state.w.first += (len - 1) & 63;
  state.v.first += state.w.first;
  state.w.first += state.v.first;
  state.Block(last, mul, 9, 9);
  return HashLen16(HashLen16(state.v.first, state.w.first, mul) + ShiftMix(state.y) * k0 + state.z,
                   HashLen16(state.v.second, state.w.second, mul) + state.x, mul);
}

uint64_t LegacyHash64(std::string_view s, uint64_t seed) {
  constexpr uint64_t m = 0xc6a4a7935bd1e995u;
  const char* data = s.data();
  size_t n = s.size();
  uint64_t h = seed ^ (n * m);
  for (; n >= 8; n -= 8, data += 8) {
    uint64_t k = Load64(data) * m;
    k = ShiftMix(k) * m;
    h = (h ^ k) * m;
  }
  if (n > 0) {
    for (size_t i = 0; i < n; ++i) h ^= static_cast<uint64_t>(Byte(data + i)) << (8 * i);
    h *= m;
  }
  return ShiftMix(ShiftMix(h) * m);
}

uint64_t SipHash(const uint64_t key[2], std::string_view s) {
  uint64_t v0 = 0x736f6d6570736575u ^ key[0], v1 = 0x646f72616e646f6du ^ key[1];
  uint64_t v2 = 0x6c7967656e657261u ^ key[0], v3 = 0x7465646279746573u ^ key[1];
  const auto rounds = [&](int n) {
    while (n-- > 0) {
      v0 += v1;
      v2 += v3;
      v1 = RotateLeft(v1, 13) ^ v0;
      v3 = RotateLeft(v3, 16) ^ v2;
      v0 = RotateLeft(v0, 32) + v3;
      v2 += v1;
      v1 = RotateLeft(v1, 17) ^ v2;
      v3 = RotateLeft(v3, 21) ^ v0;
      v2 = RotateLeft(v2, 32);
    }
  };
  const auto absorb = [&](uint64_t word) {
    v3 ^= word;
    rounds(2);
    v0 ^= word;
  };
  const size_t whole = s.size() & ~size_t{7};
  for (size_t i = 0; i < whole; i += 8) absorb(Load64(s.data() + i));
  uint64_t last = static_cast<uint64_t>(s.size()) << 56;
  for (size_t i = whole; i < s.size(); ++i) {
    last |= static_cast<uint64_t>(Byte(s.data() + i)) << (8 * (i - whole));
  }
  absorb(last);
  v2 ^= 0xff;
  rounds(4);
  return v0 ^ v1 ^ v2 ^ v3;
}

}  // namespace savedmodel
