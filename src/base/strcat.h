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

// One argument of StrCat, printed: text, numbers, shapes as "[2,?]", dtypes by name.
class StrPiece {
 public:
  StrPiece(std::string_view text) : text_(text) {}                           // NOLINT
  StrPiece(const char* text) : text_(text) {}                                // NOLINT
  StrPiece(const std::string& text) : text_(text) {}                         // NOLINT
  StrPiece(char c) : owned_(1, c), text_(owned_) {}                          // NOLINT
  StrPiece(bool b) : text_(b ? "true" : "false") {}                          // NOLINT
  StrPiece(double value);                                                    // NOLINT
  StrPiece(float value) : StrPiece(static_cast<double>(value)) {}            // NOLINT
  StrPiece(const Shape& shape) : owned_(shape.ToString()), text_(owned_) {}  // NOLINT
  StrPiece(DType dtype) : text_(DTypeName(dtype)) {}                         // NOLINT
  StrPiece(const std::vector<int64_t>& values);                              // NOLINT
  template <class T, class = std::enable_if_t<std::is_integral_v<T>>>
  StrPiece(T value) : owned_(std::to_string(value)), text_(owned_) {}  // NOLINT
  StrPiece(const StrPiece&) = delete;
  StrPiece& operator=(const StrPiece&) = delete;

  std::string_view text() const { return text_; }

 private:
  std::string owned_;
  std::string_view text_;
};

std::string JoinPieces(std::initializer_list<const StrPiece*> pieces);

// The arguments printed one after another.
template <class... Args>
std::string StrCat(const Args&... args) {
  return [](const auto&... pieces) {
    return JoinPieces({static_cast<const StrPiece*>(&pieces)...});
  }(StrPiece(args)...);
}

// `items` printed with `separator` between them.
template <class Container>
std::string StrJoin(const Container& items, std::string_view separator) {
  std::string out;
  bool first = true;
  for (const auto& item : items) {
    if (!first) out.append(separator);
    first = false;
    out.append(StrPiece(item).text());
  }
  return out;
}

}  // namespace savedmodel
