// Reductions over any set of axes.
#pragma once

#include <vector>

#include "absl/container/inlined_vector.h"
#include "savedmodel/op.h"

namespace savedmodel {

// Shape function of ops with inputs (input, reduction_indices) and attribute keep_dims.
Status ReductionShape(ShapeContext& ctx);

// A reduction as two loop nests over the input: one over the output's elements, one over the
// elements that each output is made from. Sizes of 1 are left out and neighbours merged; steps are
// in elements; outermost first.
struct ReductionPlan {
  struct Dim {
    int64_t size;
    int64_t step;
  };
  using Dims = absl::InlinedVector<Dim, 4>;
  Dims kept, reduced;
  int64_t outputs = 1;  // product of the kept sizes
  int64_t inputs = 1;   // elements per output
};

// `axes` in [-rank, rank), checked by ReductionShape.
ReductionPlan PlanReduction(const Shape& shape, const std::vector<int64_t>& axes);

// Calls `fn(offset)` for indices [begin, end) of the nest `dims` in row-major order.
template <class F>
void ForEachOffset(const ReductionPlan::Dims& dims, int64_t begin, int64_t end, F&& fn) {
  if (begin >= end) return;
  absl::InlinedVector<int64_t, 4> index(dims.size());
  int64_t offset = 0, rest = begin;
  for (size_t d = dims.size(); d-- > 0;) {
    index[d] = rest % dims[d].size;
    rest /= dims[d].size;
    offset += index[d] * dims[d].step;
  }
  for (int64_t i = begin; i < end; ++i) {
    fn(offset);
    for (size_t d = dims.size(); d-- > 0;) {
      offset += dims[d].step;
      if (++index[d] < dims[d].size) break;
      offset -= dims[d].size * dims[d].step;
      index[d] = 0;
    }
  }
}

}  // namespace savedmodel
