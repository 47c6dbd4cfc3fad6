// Transposed convolutions of floats, channels last, through the compute core.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "src/kernels/isa/gemm.h"
#include "src/kernels/nn/spatial.h"

namespace savedmodel {

// A filter [window..., out_channels, in_channels], packed for the way that suits it: by phases, or
// as RunNarrow takes it.
class TransposedFilter {
 public:
  // `attrs` has the window of the filter.
  static StatusOr<TransposedFilter> Pack(const WindowAttrs& attrs, const Tensor& filter);

  // What a kernel with it says of itself.
  std::string DebugString() const;

  // The gradient, with respect to its input, of convolution `g` whose output has the gradient x;
  // then the epilogue.
  Status Run(OpContext& ctx, const WindowGeometry& g, const float* x, const Epilogue& epilogue,
             float* y) const;

 private:
  // Output pixels that the same taps of the window reach: along each dimension those with equal
  // (position + padding) modulo stride. Each phase is a product of its own, so that no work is
  // spent on the zeros that a stride puts between input pixels.
  struct Phase {
    std::array<int64_t, 3> at = {0, 0, 0};
    std::array<std::vector<int64_t>, 3> taps;  // the last first, which reaches the first pixels
    PackedMatrix matrix;                       // [taps * in_channels][out_channels]
  };
  // A phase as a convolution with strides of 1.
  struct Part;

  void FindPhases(const WindowAttrs& attrs);
  // Makes output rows [begin, end), which may be of several images. `products`: as many floats,
  // where a part needs them.
  void RunRows(OpContext& ctx, const std::vector<Part>& parts, int64_t begin, int64_t end,
               const Epilogue& epilogue, float* products, float* y) const;

  int64_t in_channels_ = 0, out_channels_ = 0;
  bool reaches_all_ = true;  // phases make up the whole output
  std::vector<Phase> phases_;
  std::optional<PackedMatrix> narrow_;  // where there are no phases
};

}  // namespace savedmodel
