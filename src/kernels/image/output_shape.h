// The output shape that ops on images with a `size` input share.
#pragma once

#include <string_view>

#include "savedmodel/op.h"

namespace savedmodel {

// Output 0 is [batch, height, width, depth] with height and width from input `size_input`, an
// integer tensor called `name` in errors; unknown while that is. `batch` and `depth` may be -1.
// INVALID_ARGUMENT unless the input holds a height and width above 0.
Status SetImageOutput(ShapeContext& ctx, int64_t batch, int64_t depth, int size_input,
                      std::string_view name);

}  // namespace savedmodel
