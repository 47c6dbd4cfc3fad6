#include "src/base/strcat.h"

#include <charconv>

namespace savedmodel {

StrPiece::StrPiece(double value) {
  char digits[32];
  const auto result = std::to_chars(digits, digits + sizeof(digits), value);
  owned_.assign(digits, result.ptr);
  text_ = owned_;
}

StrPiece::StrPiece(const std::vector<int64_t>& values)
    : owned_("[" + StrJoin(values, ",") + "]"), text_(owned_) {}

std::string JoinPieces(std::initializer_list<const StrPiece*> pieces) {
  size_t size = 0;
  for (const StrPiece* piece : pieces) size += piece->text().size();
  std::string out;
  out.reserve(size);
  for (const StrPiece* piece : pieces) out.append(piece->text());
  return out;
}

}  // namespace savedmodel
