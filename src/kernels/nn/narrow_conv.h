// Convolutions and transposed convolutions with few output channels. Vectors of those would be
// mostly empty: here the columns of one product are the taps of all output channels, its rows the
// input pixels, and each output pixel then sums what has met there.
#pragma once

#include <array>

#include "src/kernels/isa/gemm.h"
#include "src/kernels/nn/spatial.h"

namespace savedmodel {

// Tap k of input position i adds to output position i * step + first + k * tap; {rows, columns}.
struct NarrowGeometry {
  // Of a convolution with strides of 1.
  static NarrowGeometry OfConv(const WindowGeometry& g, int64_t out_channels);
  // Of the transposed convolution that is the gradient of `g`, from `g.out` to `g.in`.
  static NarrowGeometry OfTransposed(const WindowGeometry& g, int64_t in_channels);

  int64_t batch = 0, in_channels = 0, out_channels = 0;
  std::array<int64_t, 2> in, out, window, step, first, tap;
};

// Whether a convolution in two dimensions is quicker this way; of a transposed one with any
// strides, of another with strides of 1.
bool SuitsNarrow(int64_t taps, int64_t in_channels, int64_t out_channels);

// Packs a filter whose element for a tap, an input and an output channel lies at the sum of the
// three times their strides. Output channels are multiplied by `scale` (null: 1).
StatusOr<PackedMatrix> PackNarrow(const float* filter, int64_t taps, int64_t tap_stride,
                                  int64_t in_channels, int64_t in_stride, int64_t out_channels,
                                  int64_t out_stride, const float* scale);

// y = the convolution, then the epilogue.
void RunNarrow(OpContext& ctx, const NarrowGeometry& g, const PackedMatrix& filter, const float* x,
               const Epilogue& epilogue, float* y);

}  // namespace savedmodel
