// Floats from half and to half.
#pragma once

#include "src/kernels/isa/level/vectors.h"

namespace savedmodel {
namespace {

typedef uint16_t HalfBits __attribute__((vector_size(SM_LANES * 2), aligned(2)));

void WidenHalf(const uint16_t* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const HalfBits bits = *reinterpret_cast<const HalfBits*>(x + i);
#if SM_LANES == 16
    Store(y + i, _mm512_cvtph_ps(reinterpret_cast<__m256i>(bits)));
#else
    const IntVec h = __builtin_convertvector(bits, IntVec);
    const IntVec mantissa = h & 0x3ff, magnitude = h & 0x7fff;
    const Vec subnormal = __builtin_convertvector(mantissa, Vec) * 5.9604644775390625e-8f;
    IntVec v = (magnitude << 13) + (112 << 23);
    v = magnitude < 0x400 ? reinterpret_cast<IntVec>(subnormal) : v;
    v = magnitude >= 0x7c00 ? v + (112 << 23) : v;
    Store(y + i, reinterpret_cast<Vec>(v | ((h & 0x8000) << 16)));
#endif
  }
}

void NarrowHalf(const float* x, int64_t n, uint16_t* y) {
  for (int64_t i = 0; i < n; i += kLanes) {
#if SM_LANES == 16
    const __m256i bits = _mm512_cvtps_ph(Load(x + i), _MM_FROUND_TO_NEAREST_INT);
    *reinterpret_cast<HalfBits*>(y + i) = reinterpret_cast<HalfBits>(bits);
#else
    const IntVec u = reinterpret_cast<IntVec>(Load(x + i));
    const IntVec magnitude = u & 0x7fffffff;
    // The addition rounds what becomes subnormal.
    const Vec shifted = reinterpret_cast<Vec>(magnitude) + 0.5f;
    const IntVec odd = (magnitude >> 13) & 1;
    IntVec h = (magnitude + 0xfff + odd - (112 << 23)) >> 13;
    h = magnitude < 0x38800000 ? reinterpret_cast<IntVec>(shifted) - 0x3f000000 : h;
    h = magnitude >= 0x477ff000 ? IntVec{} + 0x7c00 : h;
    h = magnitude > 0x7f800000 ? IntVec{} + 0x7e00 : h;
    *reinterpret_cast<HalfBits*>(y + i) =
        __builtin_convertvector(h | ((u >> 16) & 0x8000), HalfBits);
#endif
  }
}

}  // namespace
}  // namespace savedmodel
