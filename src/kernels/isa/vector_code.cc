// Choice of the compute core's level.
#include "src/kernels/isa/vector_code.h"

#if defined(SAVEDMODEL_X86_LEVELS)
#include <cpuid.h>
#endif

#include <cstdlib>
#include <string_view>

namespace savedmodel {
namespace {

// The level that the environment asks for.
std::string_view Wanted() {
  const char* value = std::getenv("SAVEDMODEL_ISA");
  return value == nullptr ? "" : value;
}

const VectorCode& Choose() {
  const std::string_view wanted = Wanted();
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

#if defined(SAVEDMODEL_X86_LEVELS)
const ReducedCode* ChooseBFloat16(int lanes) {
  const bool can = lanes == 16 && __builtin_cpu_supports("avx512bf16");
  const bool is_quick = !__builtin_cpu_is("intel") || Wanted() == "avx512_bf16";
  return can && is_quick ? savedmodel_vector_code_avx512_bf16() : nullptr;
}

bool HasAvxVnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & (1u << 4)) != 0;
}

const ReducedCode* ChooseInt8(int lanes) {
  if (lanes == 16 && __builtin_cpu_supports("avx512vnni")) {
    return savedmodel_vector_code_avx512_vnni();
  }
  if (lanes == 8 && HasAvxVnni()) return savedmodel_vector_code_avx2_vnni();
  return nullptr;
}
#endif

}  // namespace

const PanelArgs kNoPanel;

const VectorCode& Vectors() {
  static const VectorCode& code = Choose();
  return code;
}

const ReducedCode* Reduced(Precision precision) {
#if defined(SAVEDMODEL_X86_LEVELS)
  static const ReducedCode* const bfloat16 = ChooseBFloat16(Vectors().lanes);
  static const ReducedCode* const int8 = ChooseInt8(Vectors().lanes);
  if (precision == Precision::kBFloat16) return bfloat16;
  if (precision == Precision::kInt8) return int8;
#else
  static_cast<void>(precision);
#endif
  return nullptr;
}

}  // namespace savedmodel
