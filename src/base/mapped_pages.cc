#include "src/base/mapped_pages.h"

#include <sys/mman.h>
#include <unistd.h>

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
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;
  if (begin >= end) return;
  Mappings& mappings = TheMappings();
  std::lock_guard<std::mutex> lock(mappings.mutex);
  auto it = mappings.ends.upper_bound(begin);
  if (it == mappings.ends.begin() || std::prev(it)->second < end) return;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace savedmodel
