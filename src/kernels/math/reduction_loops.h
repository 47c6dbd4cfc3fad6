// The loops of reductions, the same for all dtypes: what is particular to one is behind pointers.
#pragma once

#include "savedmodel/op.h"
#include "src/kernels/math/reduction.h"

namespace savedmodel {

// How elements of one dtype become accumulators, and those results.
struct Reducer {
  // Elements of a contiguous run that are combined one after another; longer runs are combined by
  // blocks, which keeps rounding errors of sums small.
  static constexpr int64_t kBlock = 2048;
  static constexpr int64_t kMostBytes = 16;  // of an accumulator

  int64_t element, accumulator;  // bytes
  ScalarOp op;  // of floats, what the compute core calls it; kNone where it has none
  void (*identity)(int64_t n, void* accumulators);
  // accumulators[i] = x[i], or combined with x[i].
  void (*load)(const void* x, int64_t n, void* accumulators);
  void (*add)(const void* x, int64_t n, void* accumulators);  // at most kBlock
  void (*combine)(const void* from, int64_t n, void* accumulators);
  // One accumulator of a run of at most kBlock elements.
  void (*block)(const void* x, int64_t n, void* accumulator);
  // The results of `count` such runs, `step` elements apart.
  void (*lines)(const void* x, int64_t step, int64_t count, int64_t n, void* y);
  // y[i] = the result of accumulators[i], in each of which are `inputs` elements.
  void (*finish)(const void* accumulators, int64_t n, int64_t inputs, void* y);
};

// y = the reduction of x; does not depend on the number of threads.
void Reduce(OpContext& ctx, const Reducer& reducer, const ReductionPlan& plan, const void* x,
            void* y);

}  // namespace savedmodel
