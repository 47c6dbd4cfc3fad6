// All ops of this library.
#pragma once

#include "src/graph/op_signature.h"

namespace savedmodel {

// The registry of built-in ops. Made on first use, never destroyed.
const OpRegistry& BuiltInOps();

// The built-in families, for registries that put custom ops before them.
std::vector<Span<const OpDef>> BuiltInFamilies();

}  // namespace savedmodel
