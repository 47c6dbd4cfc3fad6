#include "src/kernels/nn/nn_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> NnFamilies() {
  return {
      ActivationOps(), BatchNormOps(), BiasOps(), ConvOps(),
      DepthwiseOps(),  MatMulOps(),    PoolOps(), SoftmaxOps(),
  };
}

}  // namespace savedmodel
