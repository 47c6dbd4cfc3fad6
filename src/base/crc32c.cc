#include "src/base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace savedmodel {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78u;  // reflected

using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables MakeTables() {
  Tables t{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    t[0][i] = crc;
  }
  for (uint32_t i = 0; i < 256; ++i) {
    for (int k = 1; k < 8; ++k) t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 0xff];
  }
  return t;
}

constexpr Tables kTables = MakeTables();

// Eight bytes a step by tables.
uint32_t ExtendPortable(uint32_t crc, const char* p, size_t n) {
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    word ^= crc;
    crc = 0;
    for (int k = 0; k < 8; ++k) crc ^= kTables[7 - k][(word >> (8 * k)) & 0xff];
  }
  for (; n > 0; ++p, --n) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ static_cast<unsigned char>(*p)) & 0xff];
  }
  return crc;
}

#if defined(__x86_64__)

// Bytes of each of three streams that are checksummed side by side: the instruction takes one
// operand a cycle but answers after three.
constexpr size_t kStream = 4096;

// What kStream zero bytes make of a checksum, by its four bytes.
using ShiftTable = std::array<std::array<uint32_t, 256>, 4>;

ShiftTable MakeShiftTable() {
  ShiftTable table{};
  for (int k = 0; k < 4; ++k) {
    for (int bit = 0; bit < 8; ++bit) {
      uint32_t crc = uint32_t{1} << (8 * k + bit);
      for (size_t i = 0; i < kStream; ++i) crc = (crc >> 8) ^ kTables[0][crc & 0xff];
      table[k][size_t{1} << bit] = crc;
    }
    for (size_t i = 1; i < 256; ++i) {
      table[k][i] = table[k][i & (i - 1)] ^ table[k][i & -i];
    }
  }
  return table;
}

inline uint32_t Shift(const ShiftTable& t, uint32_t crc) {
  return t[0][crc & 0xff] ^ t[1][(crc >> 8) & 0xff] ^ t[2][(crc >> 16) & 0xff] ^ t[3][crc >> 24];
}

__attribute__((target("sse4.2"))) uint32_t ExtendSse42(const ShiftTable& shift, uint32_t crc,
                                                       const char* p, size_t n) {
  for (; n >= 3 * kStream; p += 3 * kStream, n -= 3 * kStream) {
    uint64_t a = crc, b = 0, c = 0;
    for (size_t i = 0; i < kStream; i += 8) {
      // The processor does not read ahead beyond a page, which is what a stream is.
      if (i % 64 == 0) {
        for (size_t stream = 3; stream < 6; ++stream) {
          _mm_prefetch(p + stream * kStream + i, _MM_HINT_T0);
        }
      }
      uint64_t word[3];
      std::memcpy(&word[0], p + i, 8);
      std::memcpy(&word[1], p + kStream + i, 8);
      std::memcpy(&word[2], p + 2 * kStream + i, 8);
      a = _mm_crc32_u64(a, word[0]);
      b = _mm_crc32_u64(b, word[1]);
      c = _mm_crc32_u64(c, word[2]);
    }
    crc = Shift(shift, static_cast<uint32_t>(a)) ^ static_cast<uint32_t>(b);
    crc = Shift(shift, crc) ^ static_cast<uint32_t>(c);
  }
  uint64_t wide = crc;
  for (; n >= 8; p += 8, n -= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  crc = static_cast<uint32_t>(wide);
  for (; n > 0; ++p, --n) crc = _mm_crc32_u8(crc, static_cast<unsigned char>(*p));
  return crc;
}

#endif

}  // namespace

uint32_t ExtendCrc32c(uint32_t crc, std::string_view bytes) {
  crc = ~crc;
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2");
  if (has_instruction) {
    static const ShiftTable shift = MakeShiftTable();
    return ~ExtendSse42(shift, crc, bytes.data(), bytes.size());
  }
#endif
  return ~ExtendPortable(crc, bytes.data(), bytes.size());
}

}  // namespace savedmodel
