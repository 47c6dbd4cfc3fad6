// What the resizing ops share: checks of sizes, and the mapping from output to input positions.
#pragma once

#include <algorithm>
#include <cmath>

#include "savedmodel/op.h"

namespace savedmodel {

// Images [batch, height, width, channels] and the size asked for.
struct ResizeDims {
  int64_t batch, in_height, in_width, channels, out_height, out_width;
};
StatusOr<ResizeDims> ReadResizeDims(const OpContext& ctx);

// Shape function: images of input 0 in the size that input 1 says; checks what is known.
Status ResizeShape(ShapeContext& ctx);

// How output positions map to input positions.
struct ResizeMapping {
  bool align_corners = false;
  bool half_pixel_centers = false;

  float Scale(int64_t in, int64_t out) const {
    return align_corners && out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1)
                                    : static_cast<float>(in) / static_cast<float>(out);
  }
  float Position(int64_t out, float scale) const {
    const float x = static_cast<float>(out);
    return half_pixel_centers ? (x + 0.5f) * scale - 0.5f : x * scale;
  }
};
// INVALID_ARGUMENT when both are asked for.
StatusOr<ResizeMapping> ReadResizeMapping(const Attrs& attrs);

// What an output position takes of the two input positions around it.
struct ResizePair {
  int64_t lower, upper;
  float weight;  // of `upper`
};
inline ResizePair PairAt(const ResizeMapping& mapping, float scale, int64_t in, int64_t position) {
  const float at = mapping.Position(position, scale), floor = std::floor(at);
  return {std::clamp<int64_t>(static_cast<int64_t>(floor), 0, in - 1),
          std::clamp<int64_t>(static_cast<int64_t>(std::ceil(at)), 0, in - 1), at - floor};
}

}  // namespace savedmodel
