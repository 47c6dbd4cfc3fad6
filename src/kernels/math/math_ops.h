// Elementwise functions, reductions, products, linear algebra, random numbers. Families of this
// folder.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

Span<const OpDef> ArgReductionOps();
Span<const OpDef> ArithmeticOps();
Span<const OpDef> BinaryFunctionOps();
Span<const OpDef> BitwiseOps();
Span<const OpDef> CandidateSamplingOps();
Span<const OpDef> CastOps();
Span<const OpDef> CheckOps();
Span<const OpDef> ClusteringOps();
Span<const OpDef> ComparisonOps();
Span<const OpDef> ComplexOps();
Span<const OpDef> CountingOps();
Span<const OpDef> CumulativeOps();
Span<const OpDef> DivisionOps();
Span<const OpDef> FftOps();
Span<const OpDef> FusedElementwiseOps();
Span<const OpDef> GradientOps();
Span<const OpDef> IncompleteGammaOps();
Span<const OpDef> IsotonicOps();
Span<const OpDef> LinalgFactorOps();
Span<const OpDef> LinalgSolveOps();
Span<const OpDef> LinalgSpectralOps();
Span<const OpDef> LinalgSvdOps();
Span<const OpDef> MatrixFunctionOps();
Span<const OpDef> RandomOps();
Span<const OpDef> RandomSamplingOps();
Span<const OpDef> RandomTruncatedOps();
Span<const OpDef> ReductionOps();
Span<const OpDef> SelectOps();
Span<const OpDef> SobolOps();
Span<const OpDef> SpecialOps();
Span<const OpDef> SumOfTensorsOps();
Span<const OpDef> TranscendentalOps();
Span<const OpDef> TridiagonalOps();
Span<const OpDef> UnaryOps();

// Every family of this folder, listed in math_ops.cc.
std::vector<Span<const OpDef>> MathFamilies();

}  // namespace savedmodel
