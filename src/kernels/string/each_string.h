// The loop of ops that map strings one by one.
#pragma once

#include <string>

#include "savedmodel/op.h"

namespace savedmodel {

// out[i] = fn(in[i]) for input 0 and output 0, where `cost` is a rough number of nanoseconds.
template <class Out, class Fn>
void EachString(OpContext& ctx, double cost, Fn fn) {
  const std::string* in = ctx.in<std::string>(0);
  Out* out = ctx.out<Out>(0);
  ctx.ParallelFor(ctx.input(0).num_elements(), cost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = fn(in[i]);
  });
}

inline bool IsAsciiSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

inline std::string_view StripAsciiSpace(std::string_view s) {
  while (!s.empty() && IsAsciiSpace(s.front())) s.remove_prefix(1);
  while (!s.empty() && IsAsciiSpace(s.back())) s.remove_suffix(1);
  return s;
}

// True for the second and later bytes of a UTF-8 character.
inline bool IsUtf8Trail(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

}  // namespace savedmodel
