// The one routine behind most ops that move elements: copying between strided views.
#pragma once

#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "savedmodel/op.h"

namespace savedmodel {

// One dimension of a move: its size, and how many elements apart neighbours lie on either side.
struct MoveDim {
  int64_t size;
  int64_t in;
  int64_t out;
};

using MoveDims = absl::InlinedVector<MoveDim, 6>;

// A move of a box of elements. Input strides may be zero (broadcast) or negative (reversal); every
// output element must be written at most once.
struct Move {
  MoveDims dims;          // outermost first
  int64_t in_offset = 0;  // of the first element, in elements
  int64_t out_offset = 0;
};

// Performs `move` from the elements `in` to `out` of `dtype`: runs of contiguous elements at a
// time, transposes in blocks, big moves on several threads.
void StridedCopy(const OpContext& ctx, DType dtype, const void* in, void* out, const Move& move);

// Copies `rows` rows of `bytes` bytes, which lie so many bytes apart, on this thread.
void CopyRows(const void* in, int64_t in_step, void* out, int64_t out_step, int64_t rows,
              int64_t bytes);
// Copies `n` consecutive elements on this thread.
void CopyElements(DType dtype, const void* in, int64_t in_offset, void* out, int64_t out_offset,
                  int64_t n);
// Sets `n` elements from `out_offset` on to the single element `value` points to.
void FillElements(const OpContext& ctx, DType dtype, const void* value, void* out, int64_t n);
// The address of element `i`.
inline void* Element(void* data, DType dtype, int64_t i) {
  return static_cast<char*>(data) + i * static_cast<int64_t>(DTypeSize(dtype));
}
// Sets `n` elements to zero, empty or null.
void ZeroElements(DType dtype, void* out, int64_t n);

}  // namespace savedmodel
