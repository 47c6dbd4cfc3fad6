// Convolutions of floats, channels last, through the compute core.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "savedmodel/op.h"
#include "src/kernels/isa/gemm.h"
#include "src/kernels/nn/spatial.h"

namespace savedmodel {

// A filter [window..., depth, out_channels] for one matrix per group.
struct FloatFilter {
  const float* data = nullptr;
  const float* scale = nullptr;  // of each output channel, what `packed` has in it; null: 1
  int64_t taps = 0;
  int64_t depth = 0, out_channels = 0, groups = 1;
  PackedMatrices packed;  // null: `data` is used
  WinogradTile winograd;  // that `packed` is for
  bool narrow = false;    // `packed` is PackNarrow's
  // Groups that a matrix of `packed` multiplies at once, with zeros for what is not of a column's
  // group: as many as its vectors have room for. Where x is finite.
  int64_t joined = 1;
};

// The scale of a filter's last dimension, if it has one.
struct ColumnScale {
  // Of a tensor that must fit the filter, or null.
  static StatusOr<ColumnScale> Of(const Tensor& filter, const Tensor* scale);

  const float* data = nullptr;  // null: 1
  std::string key;              // names the values
};

// How many groups of so many columns have `room`, so that one matrix multiplies them.
int64_t JoinedGroups(int64_t groups, int64_t columns, int64_t room);
// The rows [taps][joined][depth] and the columns of `joined` groups of a filter, the first of which
// is `group`, with zeros for what is not of a column's group.
std::vector<float> JoinGroups(const Tensor& filter, int64_t groups, int64_t joined, int64_t group);

// Packs the constant filter that is input `input` of the node, times `scale`: a matrix for each
// group, or for as many as are joined.
StatusOr<PackedMatrices> PackFilter(BuildContext& build, int input, const Tensor* scale,
                                    int64_t groups);

// y = conv(x, filter), then the epilogue.
Status RunFloatConv(OpContext& ctx, const WindowGeometry& g, const FloatFilter& filter,
                    const float* x, const Epilogue& epilogue, float* y);

// y = conv(x, filter) of double or int32.
Status RunPlainConv(OpContext& ctx, const WindowGeometry& g, const Tensor& x, const Tensor& filter,
                    Tensor* y);

}  // namespace savedmodel
