// Images: resize, colour, codecs, boxes. Families of this folder.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// Every family of this folder, listed in image_ops.cc.
std::vector<Span<const OpDef>> ImageFamilies();

Span<const OpDef> AudioOps();
Span<const OpDef> ColourOps();
Span<const OpDef> CropOps();
Span<const OpDef> GlimpseOps();
Span<const OpDef> ImageCodecOps();
Span<const OpDef> NmsOps();
Span<const OpDef> ProjectiveOps();
Span<const OpDef> ResizeOps();
Span<const OpDef> SampleBoxOps();
Span<const OpDef> ScaleAndTranslateOps();

}  // namespace savedmodel
