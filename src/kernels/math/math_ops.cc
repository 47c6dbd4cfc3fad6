#include "src/kernels/math/math_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> MathFamilies() {
  return {
      ArgReductionOps(),
      ArithmeticOps(),
      BinaryFunctionOps(),
      BitwiseOps(),
      CandidateSamplingOps(),
      CastOps(),
      CheckOps(),
      ClusteringOps(),
      ComparisonOps(),
      ComplexOps(),
      CountingOps(),
      CumulativeOps(),
      DivisionOps(),
      FftOps(),
      FusedElementwiseOps(),
      GradientOps(),
      IncompleteGammaOps(),
      IsotonicOps(),
      LinalgFactorOps(),
      LinalgSolveOps(),
      LinalgSpectralOps(),
      LinalgSvdOps(),
      MatrixFunctionOps(),
      RandomOps(),
      RandomSamplingOps(),
      RandomTruncatedOps(),
      ReductionOps(),
      SelectOps(),
      SobolOps(),
      SpecialOps(),
      SumOfTensorsOps(),
      TranscendentalOps(),
      TridiagonalOps(),
      UnaryOps(),
  };
}

}  // namespace savedmodel
