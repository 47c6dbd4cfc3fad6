// What ops that pick rows of a table have in common.
#pragma once

#include <algorithm>
#include <cstdint>

namespace savedmodel {

// Most rows that `_GatherSum` adds up: the sums of more need partial sums, so that errors stay
// small.
inline constexpr int64_t kMostGathered = 128;

// Begins to bring a row into the cache. Those of a large table lie anywhere, and the way of one
// takes as long as several copies.
inline void FetchRow(const void* table, int64_t row, int64_t bytes) {
  constexpr int64_t kLine = 64, kMostBytes = 512;  // the rest follows by itself
  const char* from = static_cast<const char*>(table) + row * bytes;
  for (int64_t at = 0; at < std::min(bytes, kMostBytes); at += kLine) __builtin_prefetch(from + at);
}

}  // namespace savedmodel
