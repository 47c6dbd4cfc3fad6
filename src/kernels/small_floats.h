// Half and bfloat16 as floats and back, rounded to nearest, ties to even.
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "savedmodel/op.h"

namespace savedmodel {

// n numbers of `dtype`, kHalf or kBFloat16.
void WidenToFloats(DType dtype, const void* x, int64_t n, float* y);
void NarrowFloats(DType dtype, const float* x, int64_t n, void* y);

// Input 0, of such numbers, given to `loop` as floats, a block at a time. R is float, where the
// result becomes of the input's type, or bool.
template <class R>
void MapSmallFloats(OpContext& ctx, double cost,
                    absl::FunctionRef<void(const float* x, R* y, int64_t n)> loop);

// z from the elements of x and y that meet in it, likewise.
template <class R>
void ZipSmallFloats(OpContext& ctx, double cost, const Tensor& x, const Tensor& y, Tensor& z,
                    absl::FunctionRef<void(const float* x, int64_t x_step, const float* y,
                                           int64_t y_step, R* z, int64_t n)>
                        loop);

}  // namespace savedmodel
