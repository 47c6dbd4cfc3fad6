#include "src/base/mapped_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <mutex>

namespace savedmodel {
namespace {

struct Mappings {
  std::mutex mutex;
  std::map<uintptr_t, uintptr_t> ends;  // by begin
};

Mappings& TheMappings() {
  static Mappings* const mappings = new Mappings();  // outlives every file that is mapped
  return *mappings;
}

}  // namespace

void AddMapping(const void* data, size_t bytes) {
  Mappings& mappings = TheMappings();
  std::lock_guard<std::mutex> lock(mappings.mutex);
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data);
  mappings.ends[begin] = begin + bytes;
}

void RemoveMapping(const void* data) {
  Mappings& mappings = TheMappings();
  std::lock_guard<std::mutex> lock(mappings.mutex);
  mappings.ends.erase(reinterpret_cast<uintptr_t>(data));
}

void ReleaseMappedPages(const void* data, size_t bytes) {
  // What the system may have mapped with one of the pages.
  constexpr uintptr_t kAround = 2 << 20;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data);
  Mappings& mappings = TheMappings();
  std::lock_guard<std::mutex> lock(mappings.mutex);
  auto it = mappings.ends.upper_bound(begin);
  if (it == mappings.ends.begin()) return;
  const auto [mapping_begin, mapping_end] = *std::prev(it);
  if (mapping_end < begin + bytes) return;
  const uintptr_t from = std::max(mapping_begin, begin / kAround * kAround);
  const uintptr_t to = std::min(mapping_end, (begin + bytes + kAround - 1) / kAround * kAround);
  madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
}

}  // namespace savedmodel
