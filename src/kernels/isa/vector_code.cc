// Choice of the compute core's level.
#include "src/kernels/isa/vector_code.h"

#include <cstdlib>
#include <string_view>

namespace savedmodel {
namespace {

const VectorCode& Choose() {
  const char* value = std::getenv("SAVEDMODEL_ISA");
  const std::string_view wanted = value == nullptr ? "" : value;
#if defined(SAVEDMODEL_X86_LEVELS)
  if (wanted != "portable" && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    if (wanted != "avx2" && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw")) {
      return *savedmodel_vector_code_avx512();
    }
    return *savedmodel_vector_code_avx2();
  }
#endif
  return *savedmodel_vector_code_portable();
}

}  // namespace

const VectorCode& Vectors() {
  static const VectorCode& code = Choose();
  return code;
}

const BFloat16Code* BFloat16s() {
  static const BFloat16Code* const code = []() -> const BFloat16Code* {
#if defined(SAVEDMODEL_X86_LEVELS)
    if (Vectors().lanes == 16 && __builtin_cpu_supports("avx512bf16")) {
      return savedmodel_vector_code_avx512_bf16();
    }
#endif
    return nullptr;
  }();
  return code;
}

}  // namespace savedmodel
