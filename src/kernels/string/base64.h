// Base64 in the web-safe alphabet: '-' and '_' where others have '+' and '/'.
#pragma once

#include <string>
#include <string_view>

#include "savedmodel/status.h"

namespace savedmodel {

// With '=' up to a multiple of four characters where `pad` says so.
std::string ToBase64(const std::string& s, bool pad);

// Takes text with and without padding. INVALID_ARGUMENT for any other text.
StatusOr<std::string> FromBase64(std::string_view s);

}  // namespace savedmodel
