#include "src/kernels/string/string_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> StringFamilies() {
  return {
      StringConvertOps(), StringHashOps(),  StringJoinOps(), StringReduceJoinOps(),
      StringRegexOps(),   StringSplitOps(), StringTextOps(), UnicodeOps(),
  };
}

}  // namespace savedmodel
