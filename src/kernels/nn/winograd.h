// Convolutions with fewer multiplications than they have: Winograd's F(m x m, 3 x 3) makes tiles of
// m x m outputs from (m + 2)^2 products instead of 9 m^2, F(2 x 2, 5 x 5) from 36 instead of 100,
// and in one dimension F(m, r) m outputs of windows of r from m + r - 1 instead of m r. Windows of
// several planes of a volume have the sums over these in the products.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/kernels/isa/gemm.h"
#include "src/kernels/nn/spatial.h"

namespace savedmodel {

// The tile that suits a convolution, whatever its batch, or none where the direct way is better.
WinogradTile FindWinogradTile(const WindowGeometry& g, int64_t out_channels, int64_t groups);
// How many groups of so many output channels tiles multiply at once.
int64_t WinogradGroups(int64_t groups, int64_t columns);
// As in "Winograd's F(4x4, 3x3)".
std::string DebugString(const WinogradTile& tile);

// Whether no number is infinite or NaN: one that is would spread over the tiles that it is in,
// where the definition keeps it to the outputs whose windows hold it.
bool AllFinite(OpContext& ctx, const float* x, int64_t n);

// One packed matrix for each of the frequencies of a filter [planes][window...][in][out] times a
// scale of its output channels (null: 1).
StatusOr<std::vector<PackedMatrix>> TransformWinogradFilter(const WinogradTile& tile,
                                                            int64_t planes, const float* filter,
                                                            const float* scale, int64_t in,
                                                            int64_t out);

// The same of the constant filter that is input 1 of the node; null when it is not constant. Where
// it has groups, each frequency has a matrix for as many as are joined.
StatusOr<PackedMatrices> PackWinogradFilter(BuildContext& build, const WinogradTile& tile,
                                            const Tensor* scale, int64_t groups);

// y = conv(x, filter), then the epilogue.
void RunWinograd(OpContext& ctx, const WindowGeometry& g, const WinogradTile& tile,
                 const std::vector<PackedMatrix>& filter, int64_t out_channels, const float* x,
                 const Epilogue& epilogue, float* y);

}  // namespace savedmodel
