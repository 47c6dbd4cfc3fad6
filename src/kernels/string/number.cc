#include "src/kernels/string/number.h"

#include <charconv>
#include <cstdio>
#include <limits>

#include "src/kernels/string/each_string.h"

namespace savedmodel {
namespace {

// Whether a decimal or hexadecimal number that a float cannot hold is too large, not too small:
// the place of its first significant digit, plus its exponent.
bool IsTooLarge(std::string_view text, bool hex) {
  const size_t mark = text.find_first_of(hex ? "pP" : "eE");
  const std::string_view digits = text.substr(0, mark);
  int64_t exponent = 0;
  bool huge = false, negative = false;
  if (mark != std::string_view::npos) {
    std::string_view e = text.substr(mark + 1);
    negative = e.front() == '-';
    if (e.front() == '-' || e.front() == '+') e.remove_prefix(1);
    huge = std::from_chars(e.data(), e.data() + e.size(), exponent).ec != std::errc();
  }
  if (huge) return !negative;
  const size_t point = std::min(digits.find('.'), digits.size());
  const size_t first = digits.find_first_of("123456789abcdefABCDEF");
  const int64_t place = static_cast<int64_t>(point) - static_cast<int64_t>(first);
  return (hex ? 4 * place : place) + (negative ? -exponent : exponent) > 0;
}

template <class T>
bool ParseFloat(std::string_view text, T* out) {
  text = StripAsciiSpace(text);
  const bool negative = !text.empty() && text.front() == '-';
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) text.remove_prefix(1);
  if (text.empty() || text.front() == '-' || text.front() == '+') return false;
  const bool hex = text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == 'x';
  if (hex) text.remove_prefix(2);
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), *out,
                      hex ? std::chars_format::hex : std::chars_format::general);
  if (end != text.data() + text.size() || error == std::errc::invalid_argument) return false;
  if (error == std::errc::result_out_of_range) {
    *out = IsTooLarge(text, hex) ? std::numeric_limits<T>::infinity() : T(0);
  }
  if (negative) *out = -*out;
  return true;
}

template <class T>
bool ParseInt(std::string_view text, T* out) {
  text = StripAsciiSpace(text);
  if (!text.empty() && text.front() == '+') {
    text.remove_prefix(1);
    if (!text.empty() && text.front() == '-') return false;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size();
}

// `short_digits` where that reads back as the same value, else `long_digits`.
template <class T>
std::string Print(T value, int short_digits, int long_digits) {
  for (const int digits : {short_digits, long_digits}) {
    char buffer[64];
    const auto result =
        std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::general, digits);
    const std::string_view text(buffer, static_cast<size_t>(result.ptr - buffer));
    T parsed = 0;
    if (digits == long_digits || (ParseFloat(text, &parsed) && parsed == value)) {
      return std::string(text);
    }
  }
  return {};
}

}  // namespace

bool ParseNumber(std::string_view text, float* out) { return ParseFloat(text, out); }
bool ParseNumber(std::string_view text, double* out) { return ParseFloat(text, out); }
bool ParseNumber(std::string_view text, int32_t* out) { return ParseInt(text, out); }
bool ParseNumber(std::string_view text, int64_t* out) { return ParseInt(text, out); }
bool ParseNumber(std::string_view text, uint32_t* out) { return ParseInt(text, out); }
bool ParseNumber(std::string_view text, uint64_t* out) { return ParseInt(text, out); }

std::string PrintNumber(float value) { return Print(value, 6, 9); }
std::string PrintNumber(double value) { return Print(value, 15, 17); }

}  // namespace savedmodel
