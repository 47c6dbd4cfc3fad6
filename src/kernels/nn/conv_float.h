// Convolutions of floats, channels last, through the compute core.
#pragma once

#include <memory>
#include <vector>

#include "savedmodel/op.h"
#include "src/kernels/isa/gemm.h"
#include "src/kernels/nn/spatial.h"

namespace savedmodel {

// A filter [window..., depth, out_channels] for one matrix per group.
struct FloatFilter {
  const float* data = nullptr;
  int64_t depth = 0, out_channels = 0, groups = 1;
  std::shared_ptr<const std::vector<PackedMatrix>> packed;  // null: `data` is used
  int winograd = 0;  // the m of F(m x m, 3 x 3) that `packed` is for; 0: direct
};

// Packs the filter where input `input` of the node is constant; null otherwise.
StatusOr<std::shared_ptr<const std::vector<PackedMatrix>>> PackFilter(BuildContext& build,
                                                                      int input, int64_t groups);

// y = conv(x, filter), then the epilogue.
Status RunFloatConv(OpContext& ctx, const WindowGeometry& g, const FloatFilter& filter,
                    const float* x, const Epilogue& epilogue, float* y);

// y = depthwise convolution of x with one filter per channel, then the epilogue.
void RunFloatDepthwise(OpContext& ctx, const WindowGeometry& g, const float* filter, const float* x,
                       const Epilogue& epilogue, float* y);

}  // namespace savedmodel
