#include "src/kernels/nn/nn_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> NnFamilies() {
  return {
      ActivationGradOps(), ActivationOps(), BatchNormOps(), BiasOps(),   ConvOps(), DepthwiseOps(),
      DilationOps(),       EinsumOps(),     FakeQuantOps(), MatMulOps(), PoolOps(), SoftmaxOps(),
  };
}

}  // namespace savedmodel
