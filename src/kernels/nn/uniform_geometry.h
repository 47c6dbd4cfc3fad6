// The geometry of products of uniformly quantised tensors: convolutions over any number of
// dimensions, in any order, with groups of features or of the batch; and matrix products.
#pragma once

#include <string>
#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// One spatial dimension: sizes, strides of elements, and how the window moves.
struct UniformSpatial {
  int64_t in = 0, out = 0, window = 0;
  int64_t in_stride = 0, out_stride = 0, window_stride = 0;
  int64_t step = 1, before = 0;
  int64_t in_dilation = 1, window_dilation = 1;
};

// A convolution of lhs with rhs; a matrix product is one without spatial dimensions.
struct UniformProduct {
  int64_t batch = 0, channels = 0;  // of the output
  int64_t depth = 0;                // input channels of one group
  int64_t feature_groups = 1, batch_groups = 1;
  int64_t lhs_batch = 0, lhs_feature = 0;  // strides of elements
  int64_t rhs_in = 0, rhs_out = 0;
  int64_t out_batch = 0, out_feature = 0;
  std::vector<UniformSpatial> spatial;
  Shape out;

  int64_t positions() const {
    int64_t n = 1;
    for (const UniformSpatial& s : spatial) n *= s.out;
    return n;
  }
};

// Which dimensions are batch (or output channels), features (or input channels), and spatial.
struct UniformDimensions {
  int64_t batch = 0, feature = 1;
  std::vector<int64_t> spatial;
};

// Attributes of a convolution.
struct UniformConvAttrs {
  std::vector<int64_t> strides, in_dilation, window_dilation, paddings;
  std::string padding;
  int64_t feature_groups = 1, batch_groups = 1;
  UniformDimensions lhs, rhs, out;
  bool has_dimensions = false;
};

StatusOr<UniformConvAttrs> ReadUniformConvAttrs(const Attrs& list);

// Of fully known shapes. INVALID_ARGUMENT where they do not fit.
StatusOr<UniformProduct> MakeUniformConv(UniformConvAttrs attrs, const Shape& lhs,
                                         const Shape& rhs);
StatusOr<UniformProduct> MakeUniformDot(const Shape& lhs, const Shape& rhs);

}  // namespace savedmodel
