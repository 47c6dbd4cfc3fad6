// Layers of neural networks. Families of this folder.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

Span<const OpDef> ActivationOps();

// Every family of this folder, listed in nn_ops.cc.
std::vector<Span<const OpDef>> NnFamilies();

}  // namespace savedmodel
