// Convolutions of 3 x 3 windows with fewer multiplications than they have: Winograd's F(m x m, 3 x
// 3) makes tiles of m x m outputs from (m + 2)^2 products instead of 9 m^2.
#pragma once

#include <memory>
#include <vector>

#include "src/kernels/isa/gemm.h"
#include "src/kernels/nn/spatial.h"

namespace savedmodel {

// The m that suits a convolution, or 0 where the direct way is better.
int WinogradTile(const WindowGeometry& g, int64_t out_channels, int64_t groups);

// Whether no number is infinite or NaN: one that is would spread over the tiles that it is in,
// where the definition keeps it to the outputs whose windows hold it.
bool AllFinite(OpContext& ctx, const float* x, int64_t n);

// One packed matrix for each of the (m + 2)^2 frequencies of a filter [3][3][in][out] times a scale
// of its output channels (null: 1).
StatusOr<std::vector<PackedMatrix>> TransformWinogradFilter(const float* filter, const float* scale,
                                                            int64_t in, int64_t out, int m);

// The same of the constant filter [..., 3, 3, in, out], input 1 of the node; null when it is not
// constant.
StatusOr<PackedMatrices> PackWinogradFilter(BuildContext& build, const Tensor* scale, int m);

// y = conv(x, filter), then the epilogue.
void RunWinograd(OpContext& ctx, const WindowGeometry& g, int m,
                 const std::vector<PackedMatrix>& filter, int64_t out_channels, const float* x,
                 const Epilogue& epilogue, float* y);

}  // namespace savedmodel
