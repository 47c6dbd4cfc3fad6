// Fresh memory in bulk.
#pragma once

#include <cstddef>

namespace savedmodel {

// For memory that is about to be filled: has the system give all its pages at once, of 2 MiB where
// it has those at hand, which takes a quarter to a hundredth of the time that they take to come one
// by one. Where the system must tidy up its memory for large ones first, this and all later calls
// do without. Changes no byte. Thread-safe.
void TakePages(void* memory, size_t bytes);

}  // namespace savedmodel
