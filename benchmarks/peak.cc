#include "benchmarks/peak.h"

#include <algorithm>
#include <ctime>
#include <map>
#include <string_view>

#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

typedef float Vec4 __attribute__((vector_size(16)));
typedef float Vec8 __attribute__((vector_size(32)));
typedef float Vec16 __attribute__((vector_size(64)));

volatile float sink;

// Runs `kAccumulators` independent chains of steps that are `width` multiply-adds each, enough to
// hide their latency, and gives operations per second of processor time. Instantiated inside a
// function with the target's flags.
template <class Vec, int kAccumulators, class Step>
inline __attribute__((always_inline)) double Chains(int64_t turns, int64_t width, Step&& step) {
  Vec sums[kAccumulators];
#pragma GCC unroll 24
  for (int i = 0; i < kAccumulators; ++i) sums[i] = Vec{} + static_cast<float>(i);
  const std::clock_t start = std::clock();
  for (int64_t t = 0; t < turns; ++t) {
#pragma GCC unroll 24
    for (int i = 0; i < kAccumulators; ++i) step(sums[i]);
  }
  const double took = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
#pragma GCC unroll 24
  for (int i = 1; i < kAccumulators; ++i) sums[0] += sums[i];
  sink = sums[0][0];
  return 2.0 * static_cast<double>(kAccumulators * width * turns) / took;
}

template <class Vec>
inline __attribute__((always_inline)) double FloatChains(int64_t turns) {
  const Vec x = Vec{} + 0.999999f, y = Vec{} + 1e-7f;
  return Chains<Vec, 12>(
      turns, sizeof(Vec) / sizeof(float), [&](Vec & sum) __attribute__((always_inline)) {
        sum = sum * x + y;
#if defined(__x86_64__)
        asm volatile("" : "+v"(sum));
#endif
      });
}

double PortableChains(int64_t turns) { return FloatChains<Vec4>(turns); }
#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) double Avx2Chains(int64_t turns) {
  return FloatChains<Vec8>(turns);
}
__attribute__((target("avx512f"))) double Avx512Chains(int64_t turns) {
  return FloatChains<Vec16>(turns);
}
// Of zeros: only the time counts.
__attribute__((target("avx2,avxvnni"))) double Avx2Int8Chains(int64_t turns) {
  const Vec8 x{};
  return Chains<Vec8, 12>(
      turns, 32, [&](Vec8 & sum) __attribute__((always_inline)) {
        asm volatile("%{vex%} vpdpbusd %1, %1, %0" : "+x"(sum) : "x"(x));
      });
}
__attribute__((target("avx512f,avx512vnni"))) double Avx512Int8Chains(int64_t turns) {
  const Vec16 x{};
  return Chains<Vec16, 24>(
      turns, 64, [&](Vec16 & sum) __attribute__((always_inline)) {
        asm volatile("vpdpbusd %1, %1, %0" : "+v"(sum) : "v"(x));
      });
}
__attribute__((target("avx512f,avx512bf16"))) double Avx512BFloat16Chains(int64_t turns) {
  const Vec16 x{};
  return Chains<Vec16, 24>(
      turns, 32, [&](Vec16 & sum) __attribute__((always_inline)) {
        asm volatile("vdpbf16ps %1, %1, %0" : "+v"(sum) : "v"(x));
      });
}
#endif

using ChainsOf = double (*)(int64_t turns);

ChainsOf ChainsFor(Precision precision) {
#if defined(__x86_64__)
  const std::string_view isa = Vectors().name;
  const bool is_reduced = Reduced(precision) != nullptr;
  if (isa == "avx2") return is_reduced ? Avx2Int8Chains : Avx2Chains;
  if (isa == "avx512") {
    return !is_reduced                     ? Avx512Chains
           : precision == Precision::kInt8 ? Avx512Int8Chains
                                           : Avx512BFloat16Chains;
  }
#endif
  return PortableChains;
}

}  // namespace

double PeakFlops(Precision precision) {
  static auto* const known = new std::map<ChainsOf, double>();
  const ChainsOf chains = ChainsFor(precision);
  double& peak = (*known)[chains];
  if (peak > 0) return peak;
  for (int i = 0; i < 20; ++i) peak = std::max(peak, chains(1000000));
  return peak;
}

}  // namespace savedmodel
