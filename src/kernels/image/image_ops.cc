#include "src/kernels/image/image_ops.h"

namespace savedmodel {

std::vector<Span<const OpDef>> ImageFamilies() {
  return {AudioOps(), ColourOps(),     CropOps(),   GlimpseOps(),   ImageCodecOps(),
          NmsOps(),   ProjectiveOps(), ResizeOps(), SampleBoxOps(), ScaleAndTranslateOps()};
}

}  // namespace savedmodel
