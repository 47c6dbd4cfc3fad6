#include "benchmarks/peak.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <map>

namespace savedmodel {
namespace {

typedef float Vec4 __attribute__((vector_size(16)));
typedef float Vec8 __attribute__((vector_size(32)));
typedef float Vec16 __attribute__((vector_size(64)));

volatile float sink;

// Runs `kAccumulators` independent chains of multiply-adds, enough to hide their latency, and gives
// floating-point operations per second of processor time. Instantiated inside a function with the
// target's flags.
template <class Vec>
inline __attribute__((always_inline)) double Chains(int64_t turns) {
  constexpr int kAccumulators = 12;
  Vec sums[kAccumulators];
#pragma GCC unroll 12
  for (int i = 0; i < kAccumulators; ++i) sums[i] = Vec{} + static_cast<float>(i);
  Vec x = Vec{} + 0.999999f, y = Vec{} + 1e-7f;
  const std::clock_t start = std::clock();
  for (int64_t t = 0; t < turns; ++t) {
#pragma GCC unroll 12
    for (int i = 0; i < kAccumulators; ++i) {
      sums[i] = sums[i] * x + y;
#if defined(__x86_64__)
      asm volatile("" : "+v"(sums[i]));
#endif
    }
  }
  const double took = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
#pragma GCC unroll 12
  for (int i = 1; i < kAccumulators; ++i) sums[0] += sums[i];
  sink = sums[0][0];
  return 2.0 * static_cast<double>(kAccumulators * sizeof(Vec) / sizeof(float)) *
         static_cast<double>(turns) / took;
}

double PortableChains(int64_t turns) { return Chains<Vec4>(turns); }
#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) double Avx2Chains(int64_t turns) { return Chains<Vec8>(turns); }
__attribute__((target("avx512f"))) double Avx512Chains(int64_t turns) {
  return Chains<Vec16>(turns);
}
#endif

}  // namespace

std::string IsaInUse() {
  if (const char* forced = std::getenv("SAVEDMODEL_ISA")) return forced;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
    return "avx512";
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2";
#endif
  return "portable";
}

double PeakFlops(const std::string& isa) {
  static auto* const known = new std::map<std::string, double>();
  double& peak = (*known)[isa];
  if (peak > 0) return peak;
  double (*chains)(int64_t) = PortableChains;
#if defined(__x86_64__)
  if (isa == "avx2") chains = Avx2Chains;
  if (isa == "avx512") chains = Avx512Chains;
#endif
  for (int i = 0; i < 20; ++i) peak = std::max(peak, chains(1000000));
  return peak;
}

}  // namespace savedmodel
