// Fresh memory in bulk: one page at a time it takes longer to come than to be filled. All of these
// change no byte, and are thread-safe.
#pragma once

#include <cstddef>

#include "savedmodel/tensor.h"

namespace savedmodel {

// A tensor that begins with a large page if it takes one. Only what stays should: the allocator
// gives such memory back to the system when it is freed, where it would keep a plain block of the
// same size for the next.
StatusOr<Tensor> AllocateOnLargePages(DType dtype, const Shape& shape);

// For memory of which the first bytes are about to be filled: has the system give its pages at
// once.
void TakePages(void* memory, size_t bytes);

// For memory that is about to be filled: takes pages of 2 MiB as long as the system has them at
// hand, which takes a tenth of the time. Returns how many bytes, from the first, have their pages.
// Where the system must tidy up its memory for them, this and all later calls do without.
size_t TakeLargePages(void* memory, size_t bytes);

}  // namespace savedmodel
