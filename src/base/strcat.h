// StrCat: text from pieces.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "savedmodel/dtype.h"
#include "savedmodel/shape.h"

namespace savedmodel {

// One argument of StrCat: text, numbers, shapes as "[2,?]", dtypes by name. Refers to what it is
// made of, and is printed by AppendTo alone, so that the many places that make messages are small.
class StrPiece {
 public:
  StrPiece(std::string_view text) : kind_(Kind::kText), text_(text) {}                  // NOLINT
  StrPiece(const char* text) : StrPiece(std::string_view(text)) {}                      // NOLINT
  StrPiece(const std::string& text) : StrPiece(std::string_view(text)) {}               // NOLINT
  StrPiece(char c) : kind_(Kind::kChar), char_(c) {}                                    // NOLINT
  StrPiece(bool b) : StrPiece(b ? "true" : "false") {}                                  // NOLINT
  StrPiece(double value) : kind_(Kind::kDouble), double_(value) {}                      // NOLINT
  StrPiece(float value) : StrPiece(static_cast<double>(value)) {}                       // NOLINT
  StrPiece(const Shape& shape) : kind_(Kind::kShape), shape_(&shape) {}                 // NOLINT
  StrPiece(DType dtype) : StrPiece(DTypeName(dtype)) {}                                 // NOLINT
  StrPiece(const std::vector<int64_t>& values) : kind_(Kind::kInts), ints_(&values) {}  // NOLINT
  template <class T, class = std::enable_if_t<std::is_integral_v<T>>>
  StrPiece(T value)  // NOLINT
      : kind_(std::is_signed_v<T> ? Kind::kSigned : Kind::kUnsigned),
        bits_(static_cast<uint64_t>(value)) {}

  void AppendTo(std::string* out) const;

 private:
  enum class Kind : uint8_t { kText, kChar, kDouble, kShape, kInts, kSigned, kUnsigned };

  Kind kind_;
  union {
    std::string_view text_;
    char char_;
    double double_;
    uint64_t bits_;  // of an integer
    const Shape* shape_;
    const std::vector<int64_t>* ints_;
  };
};

std::string JoinPieces(std::initializer_list<StrPiece> pieces);

// The arguments printed one after another.
template <class... Args>
std::string StrCat(const Args&... args) {
  return JoinPieces({StrPiece(args)...});
}

// `items` printed with `separator` between them.
template <class Container>
std::string StrJoin(const Container& items, std::string_view separator) {
  std::string out;
  bool first = true;
  for (const auto& item : items) {
    if (!first) out.append(separator);
    first = false;
    StrPiece(item).AppendTo(&out);
  }
  return out;
}

}  // namespace savedmodel
