// Elementwise functions, reductions, products, linear algebra, random numbers. Families of this
// folder.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// Every family of this folder, listed in math_ops.cc.
std::vector<Span<const OpDef>> MathFamilies();

}  // namespace savedmodel
