// Memory that begins with a cache line.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace savedmodel {

template <class T>
struct LineAllocator {
  using value_type = T;

  LineAllocator() = default;
  template <class U>
  LineAllocator(const LineAllocator<U>&) {}

  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kLine)); }
  void deallocate(T* p, size_t) { ::operator delete(p, kLine); }

  static constexpr std::align_val_t kLine{64};
};
template <class T, class U>
bool operator==(const LineAllocator<T>&, const LineAllocator<U>&) {
  return true;
}
template <class T, class U>
bool operator!=(const LineAllocator<T>&, const LineAllocator<U>&) {
  return false;
}

// For what kernels read and write in whole vectors: one that lies in two lines takes twice as long.
template <class T>
using AlignedVector = std::vector<T, LineAllocator<T>>;

}  // namespace savedmodel
