// Integers that stand for floats, value = (integer - zero point) * scale, with scales and zero
// points as inputs of each op: of a whole tensor, or of each index of one axis.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "savedmodel/op.h"
#include "src/base/status_macros.h"

namespace savedmodel {

struct UniformScales {
  const float* scale = nullptr;
  const int32_t* zero = nullptr;
  int64_t axis = -1;  // -1: one scale for all

  float scale_at(int64_t channel) const { return scale[axis < 0 ? 0 : channel]; }
  int32_t zero_at(int64_t channel) const { return zero[axis < 0 ? 0 : channel]; }
};

// The scales in input `i` and zero points in input `i + 1` of a tensor of shape `data`.
inline StatusOr<UniformScales> ReadUniformScales(const OpContext& ctx, int i, const Shape& data,
                                                 int64_t axis) {
  const Shape &scales = ctx.input(i).shape(), &zeros = ctx.input(i + 1).shape();
  SM_CHECK_ARG(scales == zeros, "scales have shape ", scales, ", zero points ", zeros,
               ", expected one shape");
  SM_CHECK_ARG(axis >= -1 && axis < data.rank(), "the quantization axis of a tensor of shape ",
               data, " is ", axis, ", expected -1 or one of its dimensions");
  SM_CHECK_ARG(axis < 0 ? scales.rank() == 0
                        : scales.rank() == 1 && scales[0] == data[static_cast<int>(axis)],
               "scales have shape ", scales, ", tensor ", data, " is quantized along ", axis);
  return UniformScales{ctx.in<float>(i), ctx.in<int32_t>(i + 1), axis};
}

inline Status ExpectPositive(const OpContext& ctx, int i) {
  for (int64_t k = 0; k < ctx.input(i).num_elements(); ++k) {
    SM_CHECK_ARG(ctx.in<float>(i)[k] > 0, "input ", i, " holds scale ", ctx.in<float>(i)[k],
                 ", expected scales above 0");
  }
  return Status();
}

// The int32 attribute `name`.
inline StatusOr<int32_t> ReadInt32(const Attrs& attrs, std::string_view name) {
  const int64_t value = attrs.Int(name);
  SM_CHECK_ARG(value >= INT32_MIN && value <= INT32_MAX, name, " is ", value,
               ", expected an int32");
  return static_cast<int32_t>(value);
}

// The integers that results are held between.
struct UniformBounds {
  int32_t low = 0, high = 0;

  int32_t Clamp(int32_t x) const { return std::max(std::min(x, high), low); }
};
inline StatusOr<UniformBounds> ReadBounds(const Attrs& attrs, std::string_view low,
                                          std::string_view high) {
  UniformBounds bounds;
  SM_ASSIGN_OR_RETURN(bounds.low, ReadInt32(attrs, low));
  SM_ASSIGN_OR_RETURN(bounds.high, ReadInt32(attrs, high));
  return bounds;
}

// Arithmetic in 32 bits wraps.
inline int32_t WrappingAdd(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}
inline int32_t WrappingSub(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b));
}

// A stored integer as TensorFlow converts it: those of 32 bits go through float.
inline int32_t StoredInteger(int8_t x) { return x; }
inline int32_t StoredInteger(uint8_t x) { return x; }
inline int32_t StoredInteger(int32_t x) {
  const float rounded = static_cast<float>(x);
  return rounded < 2147483648.0f ? static_cast<int32_t>(rounded) : INT32_MIN;
}

// The integer that stands for `x`; what no int32 can hold is the lowest, as vector code has it.
inline int32_t UniformQuantized(float x, float inverse_scale, int32_t zero,
                                const UniformBounds& bounds) {
  const float steps = std::floor(x * inverse_scale + 0.5f);
  const bool fits = steps >= -2147483648.0f && steps < 2147483648.0f;
  return bounds.Clamp(WrappingAdd(fits ? static_cast<int32_t>(steps) : INT32_MIN, zero));
}

// A positive factor in fixed point: value / 2^(31 - shift).
struct FixedFactor {
  int32_t value = 0;
  int shift = 0;

  static StatusOr<FixedFactor> Of(double factor) {
    SM_CHECK_ARG(std::isfinite(factor) && factor > 0, "found the quotient of scales ", factor,
                 ", expected a finite one above 0");
    FixedFactor fixed;
    int64_t value = std::llround(std::frexp(factor, &fixed.shift) * 2147483648.0);
    if (value == int64_t{1} << 31) {
      value /= 2;
      ++fixed.shift;
    }
    if (fixed.shift < -31) return FixedFactor();
    if (fixed.shift > 30) return FixedFactor{INT32_MAX, 30};
    fixed.value = static_cast<int32_t>(value);
    return fixed;
  }

  // x * factor, halves rounded up, within int32.
  int32_t operator()(int32_t x) const {
    const int down = 31 - shift;
    const int64_t product = int64_t{x} * value + (int64_t{1} << (down - 1));
    return static_cast<int32_t>(std::clamp<int64_t>(product >> down, INT32_MIN, INT32_MAX));
  }
};

}  // namespace savedmodel
