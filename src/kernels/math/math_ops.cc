#include "src/kernels/math/math_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> MathFamilies() {
  return {
      ArithmeticOps(), BitwiseOps(),        ComparisonOps(),
      DivisionOps(),   TranscendentalOps(), UnaryOps(),
  };
}

}  // namespace savedmodel
