#include "src/base/crc32c.h"

#include <gtest/gtest.h>

#include <string>

namespace savedmodel {
namespace {

// One byte at a time, from the definition.
uint32_t Reference(const std::string& bytes) {
  uint32_t crc = ~0u;
  for (unsigned char c : bytes) {
    crc ^= c;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
  }
  return ~crc;
}

TEST(Crc32c, KnownValues) {
  EXPECT_EQ(Crc32c(""), 0u);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
}

TEST(Crc32c, AgreesWithTheDefinitionAtAllLengthsAndCuts) {
  std::string bytes;
  for (int i = 0; i < 30000; ++i) bytes.push_back(static_cast<char>(i * 131 + i / 7));
  for (size_t n : {1, 7, 8, 9, 4095, 12287, 12288, 12289, 24576, 30000}) {
    const std::string part = bytes.substr(0, n);
    EXPECT_EQ(Crc32c(part), Reference(part)) << n;
    EXPECT_EQ(ExtendCrc32c(Crc32c(part.substr(0, n / 3)), part.substr(n / 3)), Reference(part));
  }
}

TEST(Crc32c, MaskIsUndone) { EXPECT_EQ(UnmaskCrc32c(MaskCrc32c(0x12345678u)), 0x12345678u); }

}  // namespace
}  // namespace savedmodel
