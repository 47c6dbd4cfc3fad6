#include "src/kernels/math/reduction_loops.h"

#include <algorithm>
#include <vector>

#include "src/kernels/isa/vector_code.h"

namespace savedmodel {
namespace {

struct alignas(Reducer::kMostBytes) Accumulator {
  char bytes[Reducer::kMostBytes];
};

class Loops {
 public:
  Loops(OpContext& ctx, const Reducer& reducer, const ReductionPlan& plan, const void* x, void* y)
      : ctx_(ctx),
        r_(reducer),
        plan_(plan),
        x_(static_cast<const char*>(x)),
        y_(static_cast<char*>(y)) {}

  void Run() {
    if (plan_.outputs == 0) return;
    if (plan_.inputs <= 1) return Convert();
    // Partial results; there are as many times fewer than inputs.
    constexpr int64_t kMostPartial = 1 << 20;
    const int64_t run = plan_.reduced.back().step == 1 ? plan_.reduced.back().size : 1;
    constexpr int64_t kShortRun = 256;
    if (r_.op != ScalarOp::kNone && plan_.reduced.size() == (run > 1 ? 2u : 1u) &&
        run <= kShortRun && plan_.outputs <= kMostPartial / run) {
      return Rows(run);
    }
    if (run > 1) return Inner();
    Outer();
  }

 private:
  const void* At(int64_t element) const { return x_ + element * r_.element; }
  void* Result(int64_t element) const { return y_ + element * r_.element; }

  // No more than one element for each output.
  void Convert() const {
    constexpr int64_t kPart = 256;
    Accumulator part[kPart];
    for (int64_t i = 0; i < plan_.outputs; i += kPart) {
      const int64_t n = std::min(kPart, plan_.outputs - i);
      if (plan_.inputs == 0) {
        r_.identity(n, part);
      } else {
        r_.load(At(i), n, part);
      }
      r_.finish(part, n, plan_.inputs, Result(i));
    }
  }

  // A contiguous run, halved down to blocks.
  void ReduceRun(int64_t begin, int64_t n, void* accumulator) const {
    if (n <= Reducer::kBlock) return r_.block(At(begin), n, accumulator);
    constexpr int64_t kBlock = Reducer::kBlock;
    const int64_t half = (n / 2 + kBlock - 1) / kBlock * kBlock;
    Accumulator rest;
    ReduceRun(begin, half, accumulator);
    ReduceRun(begin + half, n - half, &rest);
    r_.combine(&rest, 1, accumulator);
  }

  // All elements to one: long runs are cut at fixed places, so that threads do not change the
  // result.
  void All(int64_t n) {
    constexpr int64_t kPart = 32 * Reducer::kBlock;
    const int64_t parts = (n + kPart - 1) / kPart;
    std::vector<Accumulator> results(static_cast<size_t>(parts));
    ctx_.ParallelFor(parts, 0.4 * kPart, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) {
        ReduceRun(p * kPart, std::min(kPart, n - p * kPart), &results[p]);
      }
    });
    for (int64_t p = 1; p < parts; ++p) r_.combine(&results[p], 1, &results[0]);
    r_.finish(&results[0], 1, plan_.inputs, y_);
  }

  // The innermost dimension is reduced: each output combines contiguous runs.
  void Inner() {
    const int64_t run = plan_.reduced.back().size;
    const ReductionPlan::Dims runs(plan_.reduced.begin(), plan_.reduced.end() - 1);
    if (plan_.outputs == 1 && runs.empty()) return All(run);
    if (runs.empty() && run <= Reducer::kBlock) return Lines(run);
    ctx_.ParallelFor(plan_.outputs, 0.4 * plan_.inputs, [&](int64_t begin, int64_t end) {
      int64_t out = begin;
      ForEachOffset(plan_.kept, begin, end, [&](int64_t base) {
        Accumulator all, one;
        r_.identity(1, &all);
        ForEachOffset(runs, 0, plan_.inputs / run, [&](int64_t offset) {
          ReduceRun(base + offset, run, &one);
          r_.combine(&one, 1, &all);
        });
        r_.finish(&all, 1, plan_.inputs, Result(out++));
      });
    });
  }

  // One short run for each output, evenly apart along the innermost dimension that is kept.
  void Lines(int64_t run) {
    const ReductionPlan::Dim line = plan_.kept.back();
    const ReductionPlan::Dims outer(plan_.kept.begin(), plan_.kept.end() - 1);
    ctx_.ParallelFor(plan_.outputs, 0.4 * plan_.inputs, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end;) {
        const int64_t first = at % line.size, n = std::min(line.size - first, end - at);
        ForEachOffset(outer, at / line.size, at / line.size + 1, [&](int64_t base) {
          r_.lines(At(base + first * line.step), line.step, n, run, Result(at));
        });
        at += n;
      }
    });
  }

  // The innermost dimension is kept: rows are combined element by element, in strips that stay in
  // the cache, through partial results so that rounding errors of sums stay small.
  void Outer() {
    constexpr int64_t kStrip = 256;
    constexpr int64_t kRows = 128;  // rows per partial result
    const int64_t width = plan_.kept.back().size;
    const int64_t strips = (width + kStrip - 1) / kStrip;
    const ReductionPlan::Dims outer(plan_.kept.begin(), plan_.kept.end() - 1);
    const double cost = 0.4 * static_cast<double>(plan_.inputs) * std::min(width, kStrip);
    ctx_.ParallelFor(plan_.outputs / width * strips, cost, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t column = unit % strips * kStrip, row = unit / strips;
        const int64_t n = std::min(kStrip, width - column);
        ForEachOffset(outer, row, row + 1, [&](int64_t base) {
          Accumulator total[kStrip], partial[kStrip];
          r_.identity(n, total);
          for (int64_t i = 0; i < plan_.inputs; i += kRows) {
            r_.identity(n, partial);
            ForEachOffset(plan_.reduced, i, std::min(i + kRows, plan_.inputs),
                          [&](int64_t offset) { r_.add(At(base + offset + column), n, partial); });
            r_.combine(partial, n, total);
          }
          r_.finish(total, n, plan_.inputs, Result(row * width + column));
        });
      }
    });
  }

  // Floats of rows that are evenly apart put together, column by column: in the compute core,
  // through partial results of a fixed number of rows. Then each output's `run` columns.
  void Rows(int64_t run) {
    constexpr int64_t kRows = 128;
    const ReductionPlan::Dim rows = plan_.reduced[0];
    const int64_t columns = plan_.kept.back().size, width = columns * run;
    const int64_t parts = (rows.size + kRows - 1) / kRows, outer = plan_.outputs / columns;
    const ReductionPlan::Dims outer_dims(plan_.kept.begin(), plan_.kept.end() - 1);
    const float* x = reinterpret_cast<const float*>(x_);
    std::vector<float> results(static_cast<size_t>(outer * parts * width));
    r_.identity(outer * parts * width, results.data());
    ctx_.ParallelFor(outer * parts, 0.05 * kRows * static_cast<double>(width),
                     [&](int64_t begin, int64_t end) {
                       for (int64_t job = begin; job < end; ++job) {
                         const int64_t row = job % parts * kRows, at = job / parts;
                         ForEachOffset(outer_dims, at, at + 1, [&](int64_t base) {
                           Vectors().combine_rows(r_.op, x + base + row * rows.step, rows.step,
                                                  std::min(kRows, rows.size - row), width,
                                                  &results[job * width]);
                         });
                       }
                     });
    for (int64_t at = 0; at < outer; ++at) {
      float* total = &results[at * parts * width];
      Vectors().combine_rows(r_.op, total + width, width, parts - 1, width, total);
      for (int64_t j = 0; run > 1 && j < columns; ++j) r_.block(total + j * run, run, total + j);
      r_.finish(total, columns, plan_.inputs, Result(at * columns));
    }
  }

  OpContext& ctx_;
  const Reducer& r_;
  const ReductionPlan& plan_;
  const char* const x_;
  char* const y_;
};

}  // namespace

void Reduce(OpContext& ctx, const Reducer& reducer, const ReductionPlan& plan, const void* x,
            void* y) {
  Loops(ctx, reducer, plan, x, y).Run();
}

}  // namespace savedmodel
