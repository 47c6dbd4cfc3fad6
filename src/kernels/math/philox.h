// Philox 4x32-10, the counter-based random generator, and draws from it in TensorFlow's order.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string>

#include "savedmodel/op.h"

namespace savedmodel {

// Gives four 32-bit words per step of a 128-bit counter under a 64-bit key.
class Philox {
 public:
  using Words = std::array<uint32_t, 4>;

  // The generator of ops with attributes seed and seed2.
  Philox(uint64_t seed, uint64_t seed2) : Philox(seed, 0, seed2) {}
  Philox(uint64_t key, uint64_t counter_low, uint64_t counter_high)
      : low_(counter_low), high_(counter_high), key_(key) {}

  void Skip(uint64_t steps) {
    low_ += steps;
    if (low_ < steps) ++high_;
  }
  Words Next() {
    const Words words = At(low_, high_);
    Skip(1);
    return words;
  }
  uint64_t key() const { return key_; }
  uint64_t counter_low() const { return low_; }
  uint64_t counter_high() const { return high_; }

 private:
  Words At(uint64_t low, uint64_t high) const {
    Words c = {static_cast<uint32_t>(low), static_cast<uint32_t>(low >> 32),
               static_cast<uint32_t>(high), static_cast<uint32_t>(high >> 32)};
    uint32_t k0 = static_cast<uint32_t>(key_), k1 = static_cast<uint32_t>(key_ >> 32);
    for (int round = 0; round < 10; ++round) {
      const uint64_t a = uint64_t{0xD2511F53} * c[0], b = uint64_t{0xCD9E8D57} * c[2];
      c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(b),
           static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(a)};
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    return c;
  }

  uint64_t low_;
  uint64_t high_;
  uint64_t key_;
};

// Single words of a generator.
class PhiloxWords {
 public:
  explicit PhiloxWords(const Philox& generator) : generator_(generator) {}
  uint32_t Next() {
    if (used_ == 4) {
      words_ = generator_.Next();
      used_ = 0;
    }
    return words_[used_++];
  }

 private:
  Philox generator_;
  Philox::Words words_ = {};
  size_t used_ = 4;
};

// Random bits as the mantissa of a number in [0, 1).
inline float UniformFloat(uint32_t word) {
  return internal::FloatFromBits(0x3f800000u | (word & 0x7fffffu)) - 1.0f;
}
inline double UniformDouble(uint32_t high, uint32_t low) {
  const uint64_t bits = (uint64_t{1023} << 52) | (uint64_t{high & 0xfffffu} << 32) | low;
  double x;
  std::memcpy(&x, &bits, sizeof(x));
  return x - 1.0;
}

// Two normal numbers from two uniform ones, by Box and Muller.
template <class T>
std::array<T, 2> NormalPair(T u1, T u2) {
  constexpr T kLeast = T(1.0e-7);
  if (u1 < kLeast) u1 = kLeast;
  const T angle = T(2 * M_PI) * u2;
  const T radius = std::sqrt(T(-2) * std::log(u1));
  return {std::sin(angle) * radius, std::cos(angle) * radius};
}

// Uniform and normal doubles for rejection samplers: drawn in pairs, the second first.
class PhiloxDoubles {
 public:
  explicit PhiloxDoubles(const Philox& generator) : generator_(generator) {}
  double Uniform() {
    if (uniforms_left_ == 0) {
      const Philox::Words w = generator_.Next();
      uniforms_ = {UniformDouble(w[0], w[1]), UniformDouble(w[2], w[3])};
      uniforms_left_ = 2;
    }
    return uniforms_[--uniforms_left_];
  }
  double Normal() {
    if (normals_left_ == 0) {
      const Philox::Words w = generator_.Next();
      normals_ = NormalPair(UniformDouble(w[0], w[1]), UniformDouble(w[2], w[3]));
      normals_left_ = 2;
    }
    return normals_[--normals_left_];
  }

 private:
  Philox generator_;
  std::array<double, 2> uniforms_ = {};
  std::array<double, 2> normals_ = {};
  int uniforms_left_ = 0;
  int normals_left_ = 0;
};

// Generators give each output element room for this many words.
inline constexpr uint64_t kReservedWords = 256;

// The generator that stateless ops derive from a seed tensor of two integers.
StatusOr<Philox> PhiloxFromSeed(const Tensor& seed);
// The generator of a key [1], a counter [2] and an algorithm id (scalar).
StatusOr<Philox> PhiloxFromKey(const Tensor& key, const Tensor& counter, const Tensor& algorithm);

// INVALID_ARGUMENT unless `algorithm` is Philox (1) or automatic (3).
Status CheckRandomAlgorithm(int64_t algorithm);

// The generator of a stateful random op, kept across runs under the node's name.
class StatefulPhilox {
 public:
  // From attributes seed and seed2; both 0 means seeds that nobody knows.
  explicit StatefulPhilox(const BuildContext& build);
  // The generator for `outputs` elements; later calls continue behind them.
  Philox Reserve(OpContext& ctx, uint64_t outputs) const {
    return ReserveWords(ctx, outputs * kReservedWords);
  }
  // The same for a number of 32-bit words.
  Philox ReserveWords(OpContext& ctx, uint64_t words) const;

 private:
  std::string key_;
  uint64_t seed_;
  uint64_t seed2_;
};

// Output 0 has the shape that the values of integer input 0 say.
Status RandomShape(ShapeContext& ctx);
// The same for another input.
Status RandomShapeFromInput(ShapeContext& ctx, int input);

enum class Distribution { kUniform, kNormal, kTruncatedNormal, kFullInt };

// Fills all of `out` from `generator`. Float types for the first three, integers for kFullInt.
Status FillRandom(OpContext& ctx, Distribution distribution, const Philox& generator, Tensor& out);
// Fills `out` with integers of [low, high), both scalars of out's dtype.
Status FillUniformInt(OpContext& ctx, const Philox& generator, const Tensor& low,
                      const Tensor& high, Tensor& out);

}  // namespace savedmodel
