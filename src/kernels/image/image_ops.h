// Images: resize, colour, codecs, boxes. Families of this folder.
#pragma once

#include <vector>

#include "savedmodel/op.h"

namespace savedmodel {

// Every family of this folder, listed in image_ops.cc.
std::vector<Span<const OpDef>> ImageFamilies();

}  // namespace savedmodel
