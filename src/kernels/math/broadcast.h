// Iteration over the elements of an output with up to four inputs broadcast to it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "savedmodel/shape.h"
#include "savedmodel/span.h"

namespace savedmodel {

// A loop nest over the output's elements in row-major order, with neighbouring dimensions merged
// wherever every input steps through them evenly. `step` is in elements, 0 where broadcast.
struct BroadcastPlan {
  static constexpr int kMaxInputs = 4;
  struct Dim {
    int64_t size = 1;
    std::array<int64_t, kMaxInputs> step = {};
  };
  std::vector<Dim> outer;  // outermost first
  Dim inner;               // every step 0 or 1
};

// Whether fully known `shape` broadcasts to `output`, of which some sizes may be unknown.
bool BroadcastsTo(const Shape& shape, const Shape& output);

// `inputs` have been checked to broadcast to `output`; all shapes are fully known.
BroadcastPlan PlanBroadcast(Span<const Shape* const> inputs, const Shape& output);

// Covers output elements [begin, end) by runs within the inner dimension, calling
// `fn(output_offset, input_offsets, count)` for each; input i continues with step inner.step[i].
template <class F>
void ForEachRun(const BroadcastPlan& plan, int64_t begin, int64_t end, F&& fn) {
  if (begin >= end) return;
  const BroadcastPlan::Dim& inner = plan.inner;
  std::array<int64_t, BroadcastPlan::kMaxInputs> row = {};
  std::vector<int64_t> index(plan.outer.size());
  int64_t rest = begin / inner.size;
  for (size_t d = plan.outer.size(); d-- > 0;) {
    index[d] = rest % plan.outer[d].size;
    rest /= plan.outer[d].size;
    for (size_t i = 0; i < row.size(); ++i) row[i] += index[d] * plan.outer[d].step[i];
  }
  int64_t column = begin % inner.size;
  while (true) {
    const int64_t count = std::min(inner.size - column, end - begin);
    std::array<int64_t, BroadcastPlan::kMaxInputs> offsets = row;
    for (size_t i = 0; i < row.size(); ++i) offsets[i] += column * inner.step[i];
    fn(begin, offsets, count);
    begin += count;
    if (begin >= end) return;
    column = 0;
    for (size_t d = plan.outer.size(); d-- > 0;) {
      const BroadcastPlan::Dim& dim = plan.outer[d];
      for (size_t i = 0; i < row.size(); ++i) row[i] += dim.step[i];
      if (++index[d] < dim.size) break;
      index[d] = 0;
      for (size_t i = 0; i < row.size(); ++i) row[i] -= dim.size * dim.step[i];
    }
  }
}

}  // namespace savedmodel
