#include "src/kernels/all_ops.h"

#include "src/kernels/array/array_ops.h"
#include "src/kernels/control/control_ops.h"
#include "src/kernels/image/image_ops.h"
#include "src/kernels/io/io_ops.h"
#include "src/kernels/math/math_ops.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/sparse/sparse_ops.h"
#include "src/kernels/state/state_ops.h"
#include "src/kernels/string/string_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> BuiltInFamilies() {
  std::vector<Span<const OpDef>> all;
  for (const auto& area :
       {MathFamilies(), ArrayFamilies(), NnFamilies(), ImageFamilies(), StringFamilies(),
        SparseFamilies(), StateFamilies(), ControlFamilies(), IoFamilies()}) {
    all.insert(all.end(), area.begin(), area.end());
  }
  return all;
}

const OpRegistry& BuiltInOps() {
  static const OpRegistry* const registry = new OpRegistry(BuiltInFamilies());
  return *registry;
}

}  // namespace savedmodel
