// Rows and columns exchanged.
#pragma once

#include "src/kernels/isa/level/gemm.h"

namespace savedmodel {
namespace {

// At most kLanes of each.
inline void TransposeBlock(const float* in, int64_t in_stride, int64_t rows, int64_t columns,
                           float* out, int64_t out_stride) {
  Vec block[kLanes];
  if (rows == kLanes && columns == kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) block[i] = Load(in + i * in_stride);
    ExchangeBlocks<kLanes / 2>(block);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) Store(out + i * out_stride, block[i]);
    return;
  }
  if constexpr (kLanes == 4) {  // has no loads and stores of some lanes
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) out[r * out_stride + c] = in[c * in_stride + r];
    }
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    block[i] = i < columns ? LoadSome(in + i * in_stride, rows) : Vec{};
  }
  ExchangeBlocks<kLanes / 2>(block);
  for (int64_t i = 0; i < rows; ++i) StoreSome(out + i * out_stride, block[i], columns);
}

void Transpose(const float* in, int64_t in_stride, int64_t rows, int64_t columns, float* out,
               int64_t out_stride) {
  // Floats of a cache line, which is written whole: where rows are 4 KiB apart, it would soon leave
  // the cache.
  constexpr int64_t kLine = 16;
  for (int64_t strip = 0; strip < columns; strip += kLine) {
    const int64_t end = columns - strip < kLine ? columns : strip + kLine;
    for (int64_t r = 0; r < rows; r += kLanes) {
      const int64_t some_rows = rows - r < kLanes ? rows - r : kLanes;
      for (int64_t c = strip; c < end; c += kLanes) {
        TransposeBlock(in + c * in_stride + r, in_stride, some_rows,
                       end - c < kLanes ? end - c : kLanes, out + r * out_stride + c, out_stride);
      }
    }
  }
}

}  // namespace
}  // namespace savedmodel
