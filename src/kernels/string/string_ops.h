// Strings: split, join, regular expressions, Unicode, hashing. Families of this folder.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

Span<const OpDef> StringJoinOps();
Span<const OpDef> StringRegexOps();

// Every family of this folder, listed in string_ops.cc.
std::vector<Span<const OpDef>> StringFamilies();

}  // namespace savedmodel
