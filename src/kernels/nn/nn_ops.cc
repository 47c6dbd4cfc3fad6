#include "src/kernels/nn/nn_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> NnFamilies() {
  return {
      ActivationGradOps(),
      ActivationOps(),
      AttentionOps(),
      BatchNormOps(),
      BiasOps(),
      ConvBackpropOps(),
      ConvOfMirroredOps(),
      ConvOps(),
      CrossEntropyOps(),
      CtcOps(),
      DepthwiseBlockOps(),
      DepthwiseOps(),
      DilationOps(),
      EinsumOps(),
      FakeQuantOps(),
      FractionalPoolOps(),
      FusedOps(),
      GatheredProductOps(),
      LrnOps(),
      MatMulOps(),
      PoolArgmaxOps(),
      PoolOps(),
      QuantizeOps(),
      QuantizedChannelOps(),
      QuantizedFusedOps(),
      QuantizedProductOps(),
      QuantizedValueOps(),
      RecognizedOps(),
      RecurrentLoopOps(),
      RecurrentOps(),
      RnnOps(),
      SoftmaxOps(),
      SpectrogramOps(),
      UniformProductOps(),
      UniformValueOps(),
  };
}

}  // namespace savedmodel
