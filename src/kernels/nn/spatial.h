// What convolutions and pooling share: windows that move over one to three spatial dimensions.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// Attributes of a windowed op. Spatial dimensions are depth, height, width; those that a 2-D op
// does not have are of size 1 throughout, so that 2-D ops run as 3-D ones.
struct WindowAttrs {
  int rank = 2;  // spatial dimensions of the tensors: 2 or 3
  bool channels_first = false;
  std::string padding;
  std::array<int64_t, 3> window = {1, 1, 1};  // pooling only; of a convolution, its filter says it
  std::array<int64_t, 3> stride = {1, 1, 1};
  std::array<int64_t, 3> dilation = {1, 1, 1};
  std::array<int64_t, 3> before = {0, 0, 0};  // of padding "EXPLICIT"
  std::array<int64_t, 3> after = {0, 0, 0};
  int64_t channel_window = 1;  // of pooling over channels
  int64_t channel_stride = 1;

  // Position of a dimension in a tensor's shape.
  int channel_dim() const { return channels_first ? 1 : rank + 1; }
  int spatial_dim(int i) const { return i - (3 - rank) + (channels_first ? 2 : 1); }
  // Spatial dimension i of 3 that the tensors have start here.
  int first() const { return 3 - rank; }
};

// Reads `strides`, `padding` and, where they are declared, `dilations`, `explicit_paddings`,
// `data_format` and `ksize`. INVALID_ARGUMENT for lengths and values that make no sense,
// UNIMPLEMENTED for windows over the batch.
StatusOr<WindowAttrs> ReadWindowAttrs(const Attrs& attrs, int rank);
// Fills `window`, `stride` and their channel parts from lists of rank + 2 in the data format.
Status SetWindow(Span<const int64_t> ksize, WindowAttrs* attrs);
Status SetStride(Span<const int64_t> strides, bool over_channels, WindowAttrs* attrs);
// Fills `before` and `after` from a list of 2 * (rank + 2) in the data format, which is empty
// unless padding is EXPLICIT.
Status SetExplicitPaddings(const std::vector<int64_t>& paddings, WindowAttrs* attrs);

// Sizes of one application: all tensors as [batch, depth, height, width, channels].
struct WindowGeometry {
  int64_t batch = 0;
  int64_t channels = 0;  // of the input
  std::array<int64_t, 3> in = {1, 1, 1};
  std::array<int64_t, 3> out = {1, 1, 1};
  std::array<int64_t, 3> window = {1, 1, 1};
  std::array<int64_t, 3> stride = {1, 1, 1};
  std::array<int64_t, 3> dilation = {1, 1, 1};
  std::array<int64_t, 3> before = {0, 0, 0};

  int64_t in_pixels() const { return in[0] * in[1] * in[2]; }
  int64_t out_pixels() const { return out[0] * out[1] * out[2]; }
  int64_t taps() const { return window[0] * window[1] * window[2]; }
};

// Geometry for a fully known input shape of the right rank, with attrs.window as the window.
StatusOr<WindowGeometry> ResolveWindow(const WindowAttrs& attrs, const Shape& input);
// The output shape under the data format, as far as `input` tells; `channels` may be -1.
StatusOr<Shape> WindowOutputShape(const WindowAttrs& attrs, const Shape& input, int64_t channels);

// Part [begin, end) of a window's taps that fall inside [0, size) when its first tap is at `start`.
struct TapRange {
  int64_t begin, end;
};
inline TapRange TapsInside(int64_t start, int64_t taps, int64_t dilation, int64_t size) {
  const int64_t begin = start >= 0 ? 0 : (-start + dilation - 1) / dilation;
  const int64_t end = start >= size ? 0 : (size - start + dilation - 1) / dilation;
  const int64_t last = end < taps ? end : taps;
  return {begin < last ? begin : last, last};
}

// `t`, with channels at dimension 1, with channels last; and the other way round, into `out`.
StatusOr<Tensor> ToChannelsLast(OpContext& ctx, const Tensor& t);
Status ToChannelsFirst(OpContext& ctx, const Tensor& t, Tensor* out);
// The shape with its channels moved last.
Shape ChannelsLastShape(const Shape& shape);

// A tensor with the elements of `t`, half or bfloat16, as float; and back into `out`.
StatusOr<Tensor> WidenToFloat(OpContext& ctx, const Tensor& t);
void NarrowFromFloat(OpContext& ctx, const float* from, Tensor* out);

// Runs `body(x, filter, y)` on two inputs and output 0 with x and y channels last and 16-bit floats
// widened to float: through copies where the op's tensors are not so already.
Status RunAsPlain(OpContext& ctx, bool channels_first, int x_input, int filter_input,
                  FunctionRef<Status(const Tensor&, const Tensor&, Tensor*)> body);

}  // namespace savedmodel
