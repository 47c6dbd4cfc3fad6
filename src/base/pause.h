// A breath between two looks at what another thread is about to write.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace savedmodel {

inline void Pause() {
#if defined(__SSE2__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace savedmodel
