#include "src/kernels/string/string_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> StringFamilies() {
  return {
      StringJoinOps(),
      StringRegexOps(),
  };
}

}  // namespace savedmodel
