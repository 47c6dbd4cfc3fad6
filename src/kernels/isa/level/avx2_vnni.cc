// Products of int8 in vectors of 256 bits.
#include "src/kernels/isa/level/int8.h"

extern "C" const savedmodel::ReducedCode* savedmodel_vector_code_avx2_vnni() {
  return &savedmodel::kInt8Code;
}
