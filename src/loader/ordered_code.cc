#include "src/loader/ordered_code.h"

#include <bit>

namespace savedmodel {
namespace {

// Length in bytes, then the bytes, most significant first.
void AppendNumber(uint64_t value, std::string* out) {
  const int length = (std::bit_width(value) + 7) / 8;
  out->push_back(static_cast<char>(length));
  for (int i = length - 1; i >= 0; --i) out->push_back(static_cast<char>(value >> (8 * i)));
}

// 0 and 255 are escaped, so that the end mark sorts before every continuation.
void AppendString(std::string_view text, std::string* out) {
  for (char c : text) {
    out->push_back(c);
    if (c == '\0') out->push_back('\xff');
    if (c == '\xff') out->push_back('\0');
  }
  out->append("\0\1", 2);
}

// As many leading bits as the length in bytes say the length; they are inverted for negatives.
void AppendSigned(int64_t value, std::string* out) {
  const uint64_t magnitude = value < 0 ? ~static_cast<uint64_t>(value) : value;
  const int length = std::bit_width(magnitude) / 7 + 1;
  char bytes[10];
  for (int i = 0; i < 10; ++i) {
    const int shift = 8 * (9 - i);
    bytes[i] = shift >= 64 ? (value < 0 ? '\xff' : '\0') : static_cast<char>(value >> shift);
  }
  char* begin = bytes + 10 - length;
  for (int bit = 0; bit < length; ++bit) {
    begin[bit / 8] = static_cast<char>(begin[bit / 8] ^ (0x80 >> (bit % 8)));
  }
  out->append(begin, length);
}

}  // namespace

std::string SliceKey(std::string_view name, const TensorSlice& slice) {
  std::string key;
  AppendNumber(0, &key);
  AppendString(name, &key);
  AppendNumber(slice.rank(), &key);
  for (int d = 0; d < slice.rank(); ++d) {
    AppendSigned(slice.starts[d], &key);
    AppendSigned(slice.lengths[d], &key);
  }
  return key;
}

}  // namespace savedmodel
