// SHA-256, for recorded hashes of variables.
#pragma once

#include <string>

namespace savedmodel::replay {

// Lower-case hexadecimal digest.
std::string Sha256(const std::string& bytes);

}  // namespace savedmodel::replay
