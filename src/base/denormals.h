// Denormal floats taken as zero, as TensorFlow's threads do.
#pragma once

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace savedmodel {

// While it lives, this thread reads and writes denormals as zero.
class FlushDenormals {
 public:
#if defined(__SSE__)
  FlushDenormals() : saved_(_mm_getcsr()) {
    constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
    if ((saved_ & (kFlushToZero | kDenormalsAreZero)) != (kFlushToZero | kDenormalsAreZero)) {
      _mm_setcsr(saved_ | kFlushToZero | kDenormalsAreZero);
    }
  }
  ~FlushDenormals() {
    if (_mm_getcsr() != saved_) _mm_setcsr(saved_);
  }

 private:
  unsigned saved_;
#else
  FlushDenormals() {}
#endif

 public:
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
};

}  // namespace savedmodel
