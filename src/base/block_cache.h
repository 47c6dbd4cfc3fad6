// Memory of tensors: blocks that a thread freed, kept for its next tensors. Loops and graphs with
// shapes that depend on data make the same ones over and over, and calls with other shapes ones
// that are nearly of their size. Pages of large ones, which the allocator may give back to the
// system, take longer to come again than most ops take to fill them.
#pragma once

#include <cstddef>

namespace savedmodel {

// Blocks begin with a cache line, and their sizes are multiples of one.
constexpr size_t kBlockAlignment = 64;

// A block of at least `*size` bytes, and its size in `*size`; null when memory is short.
void* TakeBlock(size_t* size);
// Frees a block of `size` bytes that TakeBlock gave to any thread.
void GiveBlock(void* memory, size_t size);

}  // namespace savedmodel
