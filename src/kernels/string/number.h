// Numbers to and from text, as TensorFlow prints and reads them, whatever the locale.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace savedmodel {

// Each reads the whole of `text`, which may have blanks around the number, and returns false where
// it is none or (integers) out of range. Floats out of range become zero or infinity.
bool ParseNumber(std::string_view text, float* out);
bool ParseNumber(std::string_view text, double* out);
bool ParseNumber(std::string_view text, int32_t* out);
bool ParseNumber(std::string_view text, int64_t* out);
bool ParseNumber(std::string_view text, uint32_t* out);
bool ParseNumber(std::string_view text, uint64_t* out);

// Six or fifteen significant digits, or three or two more where those do not read back the same.
std::string PrintNumber(float value);
std::string PrintNumber(double value);

}  // namespace savedmodel
