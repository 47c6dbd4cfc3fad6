#include "src/kernels/math/math_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> MathFamilies() {
  return {
      ArgReductionOps(), ArithmeticOps(),     BinaryFunctionOps(), BitwiseOps(),
      CastOps(),         CheckOps(),          ComparisonOps(),     ComplexOps(),
      CountingOps(),     CumulativeOps(),     DivisionOps(),       GradientOps(),
      RandomOps(),       RandomSamplingOps(), ReductionOps(),      SelectOps(),
      SumOfTensorsOps(), TranscendentalOps(), UnaryOps(),
  };
}

}  // namespace savedmodel
