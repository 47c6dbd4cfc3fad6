// Memory in pages of the larger kind, where the system has them at hand.
#pragma once

#include <cstddef>

namespace savedmodel {

// For memory that is about to be filled: asks for pages of 2 MiB, of which it takes a hundredth of
// the time to come by the first bytes. Overwrites some. Where the system must tidy up its memory
// for one first, this and all later calls do without. Thread-safe.
void TakeLargePages(void* memory, size_t bytes);

}  // namespace savedmodel
