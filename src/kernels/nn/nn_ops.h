// Layers of neural networks and products of matrices. Families of this folder.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

Span<const OpDef> ActivationGradOps();
Span<const OpDef> ActivationOps();
Span<const OpDef> AttentionOps();
Span<const OpDef> BatchNormOps();
Span<const OpDef> BiasOps();
Span<const OpDef> ConvBackpropOps();
Span<const OpDef> ConvOfMirroredOps();
Span<const OpDef> ConvOps();
Span<const OpDef> CrossEntropyOps();
Span<const OpDef> CtcOps();
Span<const OpDef> DepthwiseBlockOps();
Span<const OpDef> DepthwiseOps();
Span<const OpDef> DilationOps();
Span<const OpDef> EinsumOps();
Span<const OpDef> FakeQuantOps();
Span<const OpDef> FractionalPoolOps();
Span<const OpDef> FusedOps();
Span<const OpDef> GatheredProductOps();
Span<const OpDef> LrnOps();
Span<const OpDef> MatMulOps();
Span<const OpDef> PoolArgmaxOps();
Span<const OpDef> PoolOps();
Span<const OpDef> QuantizeOps();
Span<const OpDef> QuantizedChannelOps();
Span<const OpDef> QuantizedFusedOps();
Span<const OpDef> QuantizedProductOps();
Span<const OpDef> QuantizedValueOps();
Span<const OpDef> RecognizedOps();
Span<const OpDef> RecurrentLoopOps();
Span<const OpDef> RecurrentOps();
Span<const OpDef> RnnOps();
Span<const OpDef> SoftmaxOps();
Span<const OpDef> SpectrogramOps();
Span<const OpDef> UniformProductOps();
Span<const OpDef> UniformValueOps();

// Every family of this folder, listed in nn_ops.cc.
std::vector<Span<const OpDef>> NnFamilies();

}  // namespace savedmodel
