#include "src/kernels/image/resize_cubic.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace savedmodel {
namespace {

typedef float Four __attribute__((vector_size(16)));

Four LoadFour(const float* p) {
  Four v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// Cubic convolution sampled at 1/1024 steps, as TensorFlow's table.
class CubicTable {
 public:
  explicit CubicTable(double a) : values_(2 * (kSize + 1)) {
    for (int i = 0; i <= kSize; ++i) {
      float x = static_cast<float>(i * 1.0 / kSize);
      values_[2 * i] = static_cast<float>(((a + 2) * x - (a + 3)) * x * x + 1);
      x += 1.0f;
      values_[2 * i + 1] = static_cast<float>(((a * x - 5 * a) * x + 8 * a) * x - 4 * a);
    }
  }
  void Weights(float delta, float* weight) const {
    const int64_t at = std::lrint(delta * kSize);
    weight[0] = values_[2 * at + 1];
    weight[1] = values_[2 * at];
    weight[2] = values_[2 * (kSize - at)];
    weight[3] = values_[2 * (kSize - at) + 1];
  }

 private:
  static constexpr int kSize = 1 << 10;
  std::vector<float> values_;
};

template <class Channels>
void Resample(const float* row, const std::vector<Cubic>& xs, Channels channels, float* out) {
  size_t i = 0;
  // The last vector may reach into the next pixels, which are written later.
  for (; i + 4 < xs.size(); ++i, out += channels) {
    const Cubic& x = xs[i];
    for (int64_t k = 0; k < channels; k += 4) {
      const auto at = [&](int j) { return LoadFour(row + x.at[j] * channels + k); };
      const Four sum =
          at(0) * x.weight[0] + at(1) * x.weight[1] + at(2) * x.weight[2] + at(3) * x.weight[3];
      std::memcpy(out + k, &sum, sizeof sum);
    }
  }
  for (; i < xs.size(); ++i, out += channels) {
    const Cubic& x = xs[i];
    for (int64_t k = 0; k < channels; ++k) {
      const auto at = [&](int j) { return row[x.at[j] * channels + k]; };
      out[k] =
          at(0) * x.weight[0] + at(1) * x.weight[1] + at(2) * x.weight[2] + at(3) * x.weight[3];
    }
  }
}

}  // namespace

// With half-pixel centres, positions outside weigh nothing and the others are scaled up for them.
std::vector<Cubic> Cubics(const ResizeMapping& mapping, int64_t in, int64_t out) {
  const bool keys = mapping.half_pixel_centers;
  const CubicTable table(keys ? -0.5 : -0.75);
  const float scale = mapping.Scale(in, out);
  std::vector<Cubic> cubics(out);
  for (int64_t i = 0; i < out; ++i) {
    const float at = mapping.Position(i, scale), floor = std::floor(at);
    Cubic& cubic = cubics[i];
    table.Weights(at - floor, cubic.weight);
    float sum = 0;
    for (int k = 0; k < 4; ++k) {
      const int64_t position = static_cast<int64_t>(floor) - 1 + k;
      cubic.at[k] = std::clamp<int64_t>(position, 0, in - 1);
      if (keys && cubic.at[k] != position) cubic.weight[k] = 0;
      sum += cubic.weight[k];
    }
    if (keys && std::abs(sum) >= 1000 * std::numeric_limits<float>::min()) {
      for (float& w : cubic.weight) w *= 1.0f / sum;
    }
  }
  return cubics;
}

void ResampleCubic(const float* row, const std::vector<Cubic>& xs, int64_t channels, float* out) {
  if (channels == 3) return Resample(row, xs, std::integral_constant<int64_t, 3>(), out);
  Resample(row, xs, channels, out);
}

}  // namespace savedmodel
