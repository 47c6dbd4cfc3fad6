// Unicode beyond bytes and UTF-8 lengths.
#pragma once

#include <string>

namespace savedmodel {

// UTF-8 `s` in lower or upper case, with the full mappings (ß becomes SS); malformed bytes become
// U+FFFD.
std::string Utf8Case(const std::string& s, bool upper);

}  // namespace savedmodel
