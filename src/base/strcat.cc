#include "src/base/strcat.h"

#include <charconv>

namespace savedmodel {
namespace {

template <class T>
void AppendNumber(T value, std::string* out) {
  char digits[32];
  out->append(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
}

}  // namespace

void StrPiece::AppendTo(std::string* out) const {
  switch (kind_) {
    case Kind::kText:
      out->append(text_);
      return;
    case Kind::kChar:
      out->push_back(char_);
      return;
    case Kind::kDouble:
      return AppendNumber(double_, out);
    case Kind::kSigned:
      return AppendNumber(static_cast<int64_t>(bits_), out);
    case Kind::kUnsigned:
      return AppendNumber(bits_, out);
    case Kind::kShape:
      out->append(shape_->ToString());
      return;
    case Kind::kInts:
      out->append("[" + StrJoin(*ints_, ",") + "]");
      return;
  }
}

std::string JoinPieces(std::initializer_list<StrPiece> pieces) {
  std::string out;
  for (const StrPiece& piece : pieces) piece.AppendTo(&out);
  return out;
}

}  // namespace savedmodel
