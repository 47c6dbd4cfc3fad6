#include "src/kernels/string/base64.h"

#include <algorithm>
#include <cstdint>

#include "src/base/status_macros.h"

namespace savedmodel {
namespace {

constexpr char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

}  // namespace

std::string ToBase64(const std::string& s, bool pad) {
  std::string out;
  out.reserve((s.size() + 2) / 3 * 4);
  for (size_t i = 0; i < s.size(); i += 3) {
    const size_t n = std::min<size_t>(3, s.size() - i);
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) {
      bits = bits << 8 | (k < n ? static_cast<unsigned char>(s[i + k]) : 0u);
    }
    for (size_t k = 0; k <= n; ++k) out += kBase64[bits >> (18 - 6 * k) & 63];
    if (pad) out.append(3 - n, '=');
  }
  return out;
}

StatusOr<std::string> FromBase64(std::string_view s) {
  if (s.size() % 4 == 0 && !s.empty() && s.back() == '=') {
    s.remove_suffix(s[s.size() - 2] == '=' ? 2 : 1);
  }
  SM_CHECK_ARG(s.size() % 4 != 1, "base64: found length ", s.size(), ", which no text encodes to");
  std::string out;
  out.reserve(s.size() / 4 * 3 + 2);
  uint32_t bits = 0;
  int have = 0;
  for (char c : s) {
    const void* at = c == '\0' ? nullptr : std::char_traits<char>::find(kBase64, 64, c);
    SM_CHECK_ARG(at != nullptr,
                 "invalid character found in base64, expected the web-safe alphabet");
    bits = bits << 6 | static_cast<uint32_t>(static_cast<const char*>(at) - kBase64);
    have += 6;
    if (have >= 8) {
      have -= 8;
      out += static_cast<char>(bits >> have & 0xff);
    }
  }
  return out;
}

}  // namespace savedmodel
