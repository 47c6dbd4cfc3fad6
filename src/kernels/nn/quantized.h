// Arithmetic on quantised values as TensorFlow's quantised ops do it: integers of type T stand for
// floats between a minimum and a maximum, which are inputs and outputs of each op.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "savedmodel/op.h"
#include "src/base/status_macros.h"

namespace savedmodel {

// The floats that the lowest and highest integers stand for.
struct QuantizedRange {
  float min = 0, max = 0;
};

// The range in inputs `i` (minimum) and `i + 1` (maximum), each of one element.
inline StatusOr<QuantizedRange> RangeInput(const OpContext& ctx, int i) {
  for (int k = i; k <= i + 1; ++k) {
    SM_CHECK_ARG(ctx.input(k).num_elements() == 1, "input ", k, " has shape ", ctx.input(k).shape(),
                 ", expected a scalar");
  }
  return QuantizedRange{ctx.in<float>(i)[0], ctx.in<float>(i + 1)[0]};
}

// Sets outputs 1 and 2, scalars.
inline void SetRangeOutput(OpContext& ctx, QuantizedRange range) {
  ctx.out<float>(1)[0] = range.min;
  ctx.out<float>(2)[0] = range.max;
}

// A double to int64, held inside it; NaN gives the lowest.
inline int64_t ToInt64(double x) {
  constexpr double kLimit = 9223372036854775808.0;
  if (x >= kLimit) return std::numeric_limits<int64_t>::max();
  return x >= -kLimit ? static_cast<int64_t>(x) : std::numeric_limits<int64_t>::min();
}

template <class T>
double StepsBetween() {
  return static_cast<double>(std::numeric_limits<T>::max()) - std::numeric_limits<T>::lowest();
}

template <class T>
float QuantizedToFloat(T x, QuantizedRange range) {
  if (range.min == range.max) return range.min;
  const double number = StepsBetween<T>() + 1;
  const double scale = (range.max - range.min) * (number / (number - 1.0)) / number;
  const float narrow = static_cast<float>(scale);
  const double least = std::round(range.min / narrow) * narrow;
  // TensorFlow's 32 bit integers lose what a float cannot hold.
  const double steps =
      static_cast<double>(static_cast<float>(x)) - std::numeric_limits<T>::lowest();
  return static_cast<float>(least + steps * scale);
}

// The integer that stands for `x`, though it may lie outside of T.
template <class T>
int64_t FloatToQuantizedUnclamped(float x, QuantizedRange range) {
  constexpr int64_t kLowest = std::numeric_limits<T>::lowest();
  if (range.min == range.max) return kLowest;
  const double number = StepsBetween<T>() + 1;
  const double scale = number / ((range.max - range.min) * (number / (number - 1.0)));
  const int64_t steps = ToInt64(std::round(x * scale) - std::round(range.min * scale));
  return static_cast<int64_t>(static_cast<uint64_t>(steps) + static_cast<uint64_t>(kLowest));
}

template <class T>
T FloatToQuantized(float x, QuantizedRange range) {
  const int64_t q = FloatToQuantizedUnclamped<T>(x, range);
  return static_cast<T>(
      std::clamp<int64_t>(q, std::numeric_limits<T>::lowest(), std::numeric_limits<T>::max()));
}

// From integers of type T1 in one range to those of T2 in another, one value at a time.
template <class T1, class T2>
T2 RequantizeOne(T1 x, QuantizedRange from, QuantizedRange to) {
  return FloatToQuantized<T2>(QuantizedToFloat(x, from), to);
}

// The same for many values, in single precision: TensorFlow's vector code rounds differently.
template <class T1, class T2>
class Requantizer {
 public:
  Requantizer(QuantizedRange from, QuantizedRange to)
      : in_scale_(static_cast<float>((from.max - from.min) / StepsBetween<T1>())),
        in_offset_(
            (from.max == from.min ? from.min : std::round(from.min / in_scale_) * in_scale_) -
            static_cast<float>(std::numeric_limits<T1>::lowest()) * in_scale_),
        out_scale_(to.max == to.min ? 0.0f
                                    : static_cast<float>(StepsBetween<T2>() / (to.max - to.min))),
        out_min_(to.min),
        out_steps_(std::round(to.min * out_scale_)) {}

  T2 operator()(T1 x) const {
    // The highest float that is an int32.
    constexpr float kHighest = 2.147483520e+09f;
    const float low = static_cast<float>(std::numeric_limits<T2>::lowest());
    const float high = std::min(static_cast<float>(std::numeric_limits<T2>::max()), kHighest);
    const float value = in_offset_ + static_cast<float>(x) * in_scale_;
    // From 32 bits to 8 TensorFlow rounds once.
    constexpr bool kOnce = std::is_same_v<T1, int32_t> && std::is_same_v<T2, uint8_t>;
    const float steps = kOnce ? std::round((value - out_min_) * out_scale_)
                              : std::round(value * out_scale_) - (out_steps_ - low);
    return static_cast<T2>(steps >= low ? std::min(steps, high) : low);
  }

 private:
  float in_scale_, in_offset_, out_scale_, out_min_, out_steps_;
};

// Sums and products in 32 bits wrap.
inline int32_t WrapAdd(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}
inline int32_t WrapMul(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) * static_cast<uint32_t>(b));
}

// The range of int32 products of values of types T1 and T2.
template <class T1, class T2>
QuantizedRange ProductRange(QuantizedRange a, QuantizedRange b) {
  const float step = static_cast<float>((a.max - a.min) / static_cast<float>(StepsBetween<T1>())) *
                     static_cast<float>((b.max - b.min) / static_cast<float>(StepsBetween<T2>()));
  return {step * static_cast<float>(std::numeric_limits<int32_t>::lowest()),
          step * static_cast<float>(std::numeric_limits<int32_t>::max())};
}

// A range in which sums of the two can be held, wider by 2^`bits`.
inline QuantizedRange SumRange(QuantizedRange a, QuantizedRange b, int bits) {
  const float most = std::max(std::max(a.max, -a.min), std::max(b.max, -b.min));
  const float limit = std::ldexp(most, bits);
  return {-limit, limit};
}

// Output 0 as input 0, and two scalars.
inline Status LikeInputWithRange(ShapeContext& ctx) {
  ctx.set_output(0, ctx.input(0));
  ctx.set_output(1, Shape());
  ctx.set_output(2, Shape());
  return Status();
}

}  // namespace savedmodel
