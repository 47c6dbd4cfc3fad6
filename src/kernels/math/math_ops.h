// Elementwise functions, reductions, products, linear algebra, random numbers. Families of this
// folder.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

Span<const OpDef> ArithmeticOps();
Span<const OpDef> BitwiseOps();
Span<const OpDef> ComparisonOps();
Span<const OpDef> DivisionOps();
Span<const OpDef> TranscendentalOps();
Span<const OpDef> UnaryOps();

// Every family of this folder, listed in math_ops.cc.
std::vector<Span<const OpDef>> MathFamilies();

}  // namespace savedmodel
