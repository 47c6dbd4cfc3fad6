// Vectors of floats in GCC's vector extension, of the width of the level being compiled.
#pragma once

#include <cstdint>
#include <utility>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define SM_LANES 16
#elif defined(__AVX2__)
#define SM_LANES 8
#else
#define SM_LANES 4
#endif

namespace savedmodel {
namespace {

constexpr int kLanes = SM_LANES;
typedef float Vec __attribute__((vector_size(SM_LANES * 4)));
typedef int32_t IntVec __attribute__((vector_size(SM_LANES * 4)));
typedef float UnalignedVec __attribute__((vector_size(SM_LANES * 4), aligned(4)));

inline Vec Load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
inline void Store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }
typedef int32_t UnalignedIntVec __attribute__((vector_size(SM_LANES * 4), aligned(4)));
inline IntVec LoadWords(const int32_t* p) { return *reinterpret_cast<const UnalignedIntVec*>(p); }
inline void StoreWords(int32_t* p, IntVec v) { *reinterpret_cast<UnalignedIntVec*>(p) = v; }
// x - 0 is x for every x, and folds to a broadcast.
inline Vec Splat(float x) { return x - Vec{}; }
// Keeps a value that is used several times from being loaded as often.
inline __attribute__((always_inline)) void KeepInRegister([[maybe_unused]] Vec* v) {
#if defined(__SSE2__)
  asm("" : "+v"(*v));
#endif
}
// The first n lanes; the others 0. Nothing beyond them is read or written.
#if SM_LANES == 16
inline __mmask16 FirstLanes(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }
inline Vec LoadSome(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(FirstLanes(n), p); }
inline void StoreSome(float* p, Vec v, int64_t n) { _mm512_mask_storeu_ps(p, FirstLanes(n), v); }
#elif SM_LANES == 8
inline __m256i FirstLanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline Vec LoadSome(const float* p, int64_t n) { return _mm256_maskload_ps(p, FirstLanes(n)); }
inline void StoreSome(float* p, Vec v, int64_t n) { _mm256_maskstore_ps(p, FirstLanes(n), v); }
#else
inline Vec LoadSome(const float* p, int64_t n) {
  Vec v{};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
inline void StoreSome(float* p, Vec v, int64_t n) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}
#endif
// The first n lanes of v, the others x.
#if SM_LANES == 16
inline Vec FirstOf(Vec v, int64_t n, float x) {
  return _mm512_mask_blend_ps(FirstLanes(n), Splat(x), v);
}
#elif SM_LANES == 8
inline Vec FirstOf(Vec v, int64_t n, float x) {
  return _mm256_blendv_ps(Splat(x), v, _mm256_castsi256_ps(FirstLanes(n)));
}
#else
inline Vec FirstOf(Vec v, int64_t n, float x) {
  for (int64_t i = n; i < kLanes; ++i) v[i] = x;
  return v;
}
#endif
// -1 in the lanes of the first n that are true, 0 in the others.
inline IntVec LoadBools(const bool* p, int64_t n) {
  typedef int8_t Bytes __attribute__((vector_size(SM_LANES)));
  Bytes bytes{};
  __builtin_memcpy(&bytes, p, static_cast<size_t>(n));
  return -__builtin_convertvector(bytes, IntVec);
}
// Each lane exchanged for the one `kStep` before or after it.
template <int kStep, int... lane>
inline Vec SwapLanes(Vec v, std::integer_sequence<int, lane...>) {
  return __builtin_shufflevector(v, v, (lane ^ kStep)...);
}
// All lanes put together by `add`, which is given two halves at a time.
template <int kStep = kLanes / 2, class Add>
inline float Reduce(Vec v, Add&& add) {
  v = add(v, SwapLanes<kStep>(v, std::make_integer_sequence<int, kLanes>()));
  if constexpr (kStep > 1) {
    return Reduce<kStep / 2>(v, add);
  } else {
    return v[0];
  }
}
inline float Sum(Vec v) {
  return Reduce(v, [](Vec x, Vec y) { return x + y; });
}

}  // namespace
}  // namespace savedmodel
