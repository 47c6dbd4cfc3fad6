// Protocol buffers' wire format, read and written field by field without generated code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace savedmodel {

// Reads one varint at `*at`, which moves behind it; false when it is cut off or too long.
inline bool ReadVarint(const char** at, const char* end, uint64_t* value) {
  const char* p = *at;
  if (p < end && static_cast<signed char>(*p) >= 0) {
    *value = static_cast<unsigned char>(*p);
    *at = p + 1;
    return true;
  }
  uint64_t v = 0;
  for (int shift = 0; shift < 70 && p < end; shift += 7) {
    const unsigned char byte = static_cast<unsigned char>(*p++);
    if (shift < 64) v |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *value = v;
      *at = p;
      return true;
    }
  }
  return false;
}

// Goes through the fields of one serialized message:
//   WireReader reader(bytes);
//   while (reader.Next()) if (reader.field() == 1 && reader.is_bytes()) use(reader.bytes());
//   if (!reader.ok()) …
class WireReader {
 public:
  enum Type : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  explicit WireReader(std::string_view message)
      : at_(message.data()), end_(message.data() + message.size()) {}

  // Moves to the next field; false at the end, or where the message is malformed.
  bool Next() {
    if (at_ == end_ || !ok_) return false;
    ok_ = ReadField();
    return ok_;
  }
  bool ok() const { return ok_; }
  uint32_t field() const { return field_; }
  Type type() const { return type_; }
  bool is_bytes() const { return type_ == kBytes; }
  bool is_varint() const { return type_ == kVarint; }
  // All behind the field read last.
  std::string_view rest() const { return std::string_view(at_, static_cast<size_t>(end_ - at_)); }
  // Goes past the first `bytes` of the rest, which must be whole fields.
  void Skip(size_t bytes) { at_ += bytes; }
  // The payload of a kBytes field.
  std::string_view bytes() const { return bytes_; }
  // The value of a field of any other type.
  uint64_t number() const { return number_; }

 private:
  bool ReadFixed(size_t bytes) {
    if (static_cast<size_t>(end_ - at_) < bytes) return false;
    number_ = 0;
    std::memcpy(&number_, at_, bytes);
    at_ += bytes;
    return true;
  }
  bool ReadField() {
    uint64_t tag = 0;
    if (!ReadVarint(&at_, end_, &tag) || tag >> 3 == 0 || tag > UINT32_MAX) return false;
    field_ = static_cast<uint32_t>(tag >> 3);
    type_ = static_cast<Type>(tag & 7);
    switch (type_) {
      case kVarint:
        return ReadVarint(&at_, end_, &number_);
      case kFixed64:
        return ReadFixed(8);
      case kFixed32:
        return ReadFixed(4);
      case kBytes:
        if (!ReadVarint(&at_, end_, &number_) || number_ > static_cast<uint64_t>(end_ - at_)) {
          return false;
        }
        bytes_ = std::string_view(at_, static_cast<size_t>(number_));
        at_ += number_;
        return true;
    }
    return false;  // groups, which no message read here has
  }

  const char* at_;
  const char* end_;
  bool ok_ = true;
  uint32_t field_ = 0;
  Type type_ = kVarint;
  uint64_t number_ = 0;
  std::string_view bytes_;
};

// The payload of kBytes field `field` at `*at`, which moves behind it, where tag and length take a
// byte each, as those of short messages do; false, with nothing moved, for all else.
inline bool ReadShortBytes(uint32_t field, const char** at, const char* end,
                           std::string_view* bytes) {
  const char* p = *at;
  if (end - p < 2 || static_cast<unsigned char>(*p) != (field << 3 | WireReader::kBytes)) {
    return false;
  }
  const ptrdiff_t size = static_cast<signed char>(p[1]);
  if (size < 0 || size > end - p - 2) return false;
  *bytes = std::string_view(p + 2, static_cast<size_t>(size));
  *at = p + 2 + size;
  return true;
}

inline void AppendVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) *out += static_cast<char>(value | 0x80);
  *out += static_cast<char>(value);
}

inline void AppendVarintField(uint32_t field, uint64_t value, std::string* out) {
  AppendVarint(field << 3 | WireReader::kVarint, out);
  AppendVarint(value, out);
}

inline void AppendBytesField(uint32_t field, std::string_view bytes, std::string* out) {
  AppendVarint(field << 3 | WireReader::kBytes, out);
  AppendVarint(bytes.size(), out);
  out->append(bytes);
}

}  // namespace savedmodel
