// Strings: split, join, regular expressions, Unicode, hashing. Families of this folder.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

Span<const OpDef> StringConvertOps();
Span<const OpDef> StringHashOps();
Span<const OpDef> StringJoinOps();
Span<const OpDef> StringReduceJoinOps();
Span<const OpDef> StringRegexOps();
Span<const OpDef> StringSplitOps();
Span<const OpDef> StringTextOps();
Span<const OpDef> UnicodeOps();

// Every family of this folder, listed in string_ops.cc.
std::vector<Span<const OpDef>> StringFamilies();

}  // namespace savedmodel
