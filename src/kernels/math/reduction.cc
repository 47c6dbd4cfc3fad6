// Sum, Mean, Prod, Max, Min, All, Any, EuclideanNorm.
//
// A reducer is a struct with an accumulator type Acc and static functions: Identity, Load (element
// to accumulator), Combine, Finish (accumulator and number of elements to result).
#include "src/kernels/math/reduction.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "src/graph/op_signature.h"
#include "src/kernels/math/convert.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/integer_math.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

template <class T>
struct SumReducer {
  using Acc = ComputeType<T>;
  static constexpr ScalarOp kOp = ScalarOp::kAdd;
  static Acc Identity() { return Acc(0); }
  static Acc Load(const T& x) { return Acc(x); }
  static Acc Combine(const Acc& a, const Acc& b) { return WrapAdd(a, b); }
  static T Finish(const Acc& a, int64_t) { return T(a); }
};

// Integers are summed in 64 bits.
template <class T>
struct MeanReducer {
  using Acc = std::conditional_t<std::is_integral_v<T>,
                                 std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>,
                                 ComputeType<T>>;
  static constexpr ScalarOp kOp = ScalarOp::kAdd;
  static Acc Identity() { return Acc(0); }
  static Acc Load(const T& x) { return Acc(x); }
  static Acc Combine(const Acc& a, const Acc& b) { return WrapAdd(a, b); }
  static T Finish(const Acc& a, int64_t n) {
    if constexpr (std::is_integral_v<T>) {
      return n == 0 ? T(0) : static_cast<T>(a / static_cast<Acc>(n));
    } else if constexpr (kIsComplex<T>) {
      return a / static_cast<typename T::value_type>(n);
    } else {
      return T(a / static_cast<Acc>(n));
    }
  }
};

template <class T>
struct ProdReducer {
  using Acc = ComputeType<T>;
  static Acc Identity() { return Acc(1); }
  static Acc Load(const T& x) { return Acc(x); }
  static Acc Combine(const Acc& a, const Acc& b) { return WrapMul(a, b); }
  static T Finish(const Acc& a, int64_t) { return T(a); }
};

// NaN wherever an element is NaN.
template <class T>
struct MaxReducer {
  using Acc = ComputeType<T>;
  static constexpr ScalarOp kOp = ScalarOp::kMaximum;
  static Acc Identity() {
    using Limits = std::numeric_limits<Acc>;
    return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
  }
  static Acc Load(const T& x) { return Acc(x); }
  static Acc Combine(Acc a, Acc b) { return a < b || b != b ? b : a; }
  static T Finish(Acc a, int64_t) { return T(a); }
};

template <class T>
struct MinReducer {
  using Acc = ComputeType<T>;
  static constexpr ScalarOp kOp = ScalarOp::kMinimum;
  static Acc Identity() {
    using Limits = std::numeric_limits<Acc>;
    return Limits::has_infinity ? Limits::infinity() : Limits::max();
  }
  static Acc Load(const T& x) { return Acc(x); }
  static Acc Combine(Acc a, Acc b) { return b < a || b != b ? b : a; }
  static T Finish(Acc a, int64_t) { return T(a); }
};

template <class T>
struct EuclideanNormReducer {
  using Acc = ComputeType<T>;
  static Acc Identity() { return Acc(0); }
  static Acc Load(const T& x) {
    if constexpr (kIsComplex<T>) {
      return x * std::conj(x);
    } else {
      return WrapMul(Acc(x), Acc(x));
    }
  }
  static Acc Combine(const Acc& a, const Acc& b) { return WrapAdd(a, b); }
  static T Finish(const Acc& a, int64_t) {
    if constexpr (std::is_integral_v<T>) {
      return FloatToInteger<T>(std::sqrt(static_cast<double>(a)));
    } else {
      return T(std::sqrt(a));
    }
  }
};

template <class T>
struct AllReducer {
  using Acc = bool;
  static bool Identity() { return true; }
  static bool Load(bool x) { return x; }
  static bool Combine(bool a, bool b) { return a & b; }
  static bool Finish(bool a, int64_t) { return a; }
};

template <class T>
struct AnyReducer {
  using Acc = bool;
  static bool Identity() { return false; }
  static bool Load(bool x) { return x; }
  static bool Combine(bool a, bool b) { return a | b; }
  static bool Finish(bool a, int64_t) { return a; }
};

// Elements of a contiguous run that are combined one after another; longer runs are combined
// by blocks, which keeps rounding errors of sums small.
inline constexpr int64_t kBlock = 2048;

template <class R>
inline constexpr bool kIsSum = false;
template <class T>
inline constexpr bool kIsSum<SumReducer<T>> = true;
template <class T>
inline constexpr bool kIsSum<MeanReducer<T>> = true;

// A contiguous run of at most kBlock elements, in 16 interleaved chains that vectorise.
template <class R, class T>
typename R::Acc ReduceBlock(const T* x, int64_t n) {
  using Acc = typename R::Acc;
  constexpr int kLanes = 16;
  if constexpr (std::is_same_v<T, float> && kIsSum<R>) return Vectors().sum(x, n);
  Acc acc = R::Identity();
  int64_t i = 0;
  if (n >= 2 * kLanes) {
    Acc lanes[kLanes];
    for (int l = 0; l < kLanes; ++l) lanes[l] = R::Load(x[l]);
    for (i = kLanes; i + kLanes <= n; i += kLanes) {
      for (int l = 0; l < kLanes; ++l) lanes[l] = R::Combine(lanes[l], R::Load(x[i + l]));
    }
    for (int step = kLanes / 2; step > 0; step /= 2) {
      for (int l = 0; l < step; ++l) lanes[l] = R::Combine(lanes[l], lanes[l + step]);
    }
    acc = lanes[0];
  }
  for (; i < n; ++i) acc = R::Combine(acc, R::Load(x[i]));
  return acc;
}

// A contiguous run, halved down to blocks.
template <class R, class T>
typename R::Acc ReduceRun(const T* x, int64_t n) {
  if (n <= kBlock) return ReduceBlock<R>(x, n);
  const int64_t half_n = (n / 2 + kBlock - 1) / kBlock * kBlock;
  return R::Combine(ReduceRun<R>(x, half_n), ReduceRun<R>(x + half_n, n - half_n));
}

// All elements to one: long runs are cut at fixed places, so that threads do not change the result.
template <class R, class T>
typename R::Acc ReduceAll(OpContext& ctx, const T* x, int64_t n) {
  constexpr int64_t kPart = 32 * kBlock;
  const int64_t parts = (n + kPart - 1) / kPart;
  if (parts <= 1) return ReduceRun<R>(x, n);
  std::unique_ptr<typename R::Acc[]> results(new typename R::Acc[parts]);
  ctx.ParallelFor(parts, 0.4 * kPart, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      results[p] = ReduceRun<R>(x + p * kPart, std::min(kPart, n - p * kPart));
    }
  });
  typename R::Acc acc = results[0];
  for (int64_t p = 1; p < parts; ++p) acc = R::Combine(acc, results[p]);
  return acc;
}

// The innermost dimension is reduced: each output combines contiguous runs.
template <class R, class T>
void ReduceInner(OpContext& ctx, const ReductionPlan& plan, const T* x, T* y) {
  const int64_t run = plan.reduced.back().size;
  const ReductionPlan::Dims runs(plan.reduced.begin(), plan.reduced.end() - 1);
  if (plan.outputs == 1 && runs.empty()) {
    y[0] = R::Finish(ReduceAll<R>(ctx, x, run), plan.inputs);
    return;
  }
  ctx.ParallelFor(plan.outputs, 0.4 * plan.inputs, [&](int64_t begin, int64_t end) {
    T* out = y + begin;
    ForEachOffset(plan.kept, begin, end, [&](int64_t base) {
      typename R::Acc acc = R::Identity();
      ForEachOffset(runs, 0, plan.inputs / run, [&](int64_t offset) {
        acc = R::Combine(acc, ReduceRun<R>(x + base + offset, run));
      });
      *out++ = R::Finish(acc, plan.inputs);
    });
  });
}

// The innermost dimension is kept: rows are combined element by element, in strips that stay in
// the cache, through partial results so that rounding errors of sums stay small.
template <class R, class T>
void ReduceOuter(OpContext& ctx, const ReductionPlan& plan, const T* x, T* y) {
  using Acc = typename R::Acc;
  constexpr int64_t kStrip = 256;
  constexpr int64_t kRows = 128;  // rows per partial result
  const int64_t width = plan.kept.back().size;
  const int64_t strips = (width + kStrip - 1) / kStrip;
  const ReductionPlan::Dims outer(plan.kept.begin(), plan.kept.end() - 1);
  const double cost = 0.4 * static_cast<double>(plan.inputs) * std::min(width, kStrip);
  ctx.ParallelFor(plan.outputs / width * strips, cost, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t column = unit % strips * kStrip, row = unit / strips;
      const int64_t n = std::min(kStrip, width - column);
      ForEachOffset(outer, row, row + 1, [&](int64_t base) {
        Acc total[kStrip], partial[kStrip];
        std::fill_n(total, n, R::Identity());
        for (int64_t r = 0; r < plan.inputs; r += kRows) {
          std::fill_n(partial, n, R::Identity());
          ForEachOffset(plan.reduced, r, std::min(r + kRows, plan.inputs), [&](int64_t offset) {
            const T* from = x + base + offset + column;
            for (int64_t i = 0; i < n; ++i) partial[i] = R::Combine(partial[i], R::Load(from[i]));
          });
          for (int64_t i = 0; i < n; ++i) total[i] = R::Combine(total[i], partial[i]);
        }
        T* out = y + row * width + column;
        for (int64_t i = 0; i < n; ++i) out[i] = R::Finish(total[i], plan.inputs);
      });
    }
  });
}

// Floats of rows that are evenly apart put together, column by column: in the compute core, through
// partial results of a fixed number of rows.
template <class R>
void ReduceRows(OpContext& ctx, const ReductionPlan& plan, const float* x, float* y) {
  constexpr int64_t kRows = 128;
  const int64_t width = plan.kept.back().size, step = plan.reduced[0].step;
  const int64_t parts = (plan.inputs + kRows - 1) / kRows, outer = plan.outputs / width;
  const ReductionPlan::Dims outer_dims(plan.kept.begin(), plan.kept.end() - 1);
  std::vector<float> results(static_cast<size_t>(plan.outputs * parts), R::Identity());
  ctx.ParallelFor(outer * parts, 0.05 * kRows * static_cast<double>(width),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t job = begin; job < end; ++job) {
                      const int64_t row = job % parts * kRows, at = job / parts;
                      ForEachOffset(outer_dims, at, at + 1, [&](int64_t base) {
                        Vectors().combine_rows(R::kOp, x + base + row * step, step,
                                               std::min(kRows, plan.inputs - row), width,
                                               &results[job * width]);
                      });
                    }
                  });
  for (int64_t at = 0; at < outer; ++at) {
    float* total = &results[at * parts * width];
    Vectors().combine_rows(R::kOp, total + width, width, parts - 1, width, total);
    for (int64_t i = 0; i < width; ++i) y[at * width + i] = R::Finish(total[i], plan.inputs);
  }
}

template <DTypeSet set, template <class> class Reducer>
Status RunReduction(OpContext& ctx) {
  const ReductionPlan plan = PlanReduction(ctx.input(0).shape(), ctx.IntsInput(1));
  return VisitDType<set>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    using R = Reducer<T>;
    const T* x = ctx.in<T>(0);
    T* y = ctx.out<T>(0);
    if (plan.outputs == 0) return Status();
    if (plan.inputs <= 1) {
      for (int64_t i = 0; i < plan.outputs; ++i) {
        y[i] = R::Finish(plan.inputs == 0 ? R::Identity() : R::Load(x[i]), plan.inputs);
      }
    } else if (plan.reduced.back().step == 1) {
      ReduceInner<R>(ctx, plan, x, y);
    } else {
      if constexpr (std::is_same_v<T, float> && requires { R::kOp; }) {
        // Partial results; there are as many times fewer than inputs.
        constexpr int64_t kMostPartial = 1 << 20;
        if (plan.reduced.size() == 1 && plan.kept.back().step == 1 &&
            plan.outputs <= kMostPartial) {
          ReduceRows<R>(ctx, plan, x, y);
          return Status();
        }
      }
      ReduceOuter<R>(ctx, plan, x, y);
    }
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "All(input: bool, reduction_indices: Tidx) -> (output: bool); keep_dims: bool = "
                  "false; Tidx: {int32,int64} = int32",
     .shape = ReductionShape,
     .build = BuildPlain<(RunReduction<Only(DType::kBool), AllReducer>)>},
    {.signature = "Any(input: bool, reduction_indices: Tidx) -> (output: bool); keep_dims: bool = "
                  "false; Tidx: {int32,int64} = int32",
     .shape = ReductionShape,
     .build = BuildPlain<(RunReduction<Only(DType::kBool), AnyReducer>)>},
    {.signature =
         "EuclideanNorm(input: T, reduction_indices: Tidx) -> (output: T); keep_dims: bool = "
         "false; T: {float,double,int32,uint8,int16,int8,complex64,int64,qint8,quint8,qint32,"
         "bfloat16,qint16,quint16,uint16,complex128,half,uint32,uint64}; Tidx: {int32,int64} = "
         "int32",
     .shape = ReductionShape,
     .build = BuildPlain<(RunReduction<kNumbers, EuclideanNormReducer>)>},
    {.signature =
         "Max(input: T, reduction_indices: Tidx) -> (output: T); keep_dims: bool = false; T: "
         "{float,double,int32,uint8,int16,int8,int64,bfloat16,uint16,half,uint32,uint64,qint8,"
         "quint8,qint32,qint16,quint16}; Tidx: {int32,int64} = int32",
     .shape = ReductionShape,
     .build = BuildPlain<(RunReduction<kReals, MaxReducer>)>},
    {.signature =
         "Mean(input: T, reduction_indices: Tidx) -> (output: T); keep_dims: bool = false; T: "
         "{float,double,int32,uint8,int16,int8,complex64,int64,qint8,quint8,qint32,bfloat16,"
         "qint16,quint16,uint16,complex128,half,uint32,uint64}; Tidx: {int32,int64} = int32",
     .shape = ReductionShape,
     .build = BuildPlain<(RunReduction<kNumbers, MeanReducer>)>},
    {.signature =
         "Min(input: T, reduction_indices: Tidx) -> (output: T); keep_dims: bool = false; T: "
         "{float,double,int32,uint8,int16,int8,int64,bfloat16,uint16,half,uint32,uint64,qint8,"
         "quint8,qint32,qint16,quint16}; Tidx: {int32,int64} = int32",
     .shape = ReductionShape,
     .build = BuildPlain<(RunReduction<kReals, MinReducer>)>},
    {.signature =
         "Prod(input: T, reduction_indices: Tidx) -> (output: T); keep_dims: bool = false; T: "
         "{float,double,int32,uint8,int16,int8,complex64,int64,qint8,quint8,qint32,bfloat16,"
         "qint16,quint16,uint16,complex128,half,uint32,uint64}; Tidx: {int32,int64} = int32",
     .shape = ReductionShape,
     .build = BuildPlain<(RunReduction<kNumbers, ProdReducer>)>},
    {.signature =
         "Sum(input: T, reduction_indices: Tidx) -> (output: T); keep_dims: bool = false; T: "
         "{float,double,int32,uint8,int16,int8,complex64,int64,qint8,quint8,qint32,bfloat16,"
         "qint16,quint16,uint16,complex128,half,uint32,uint64}; Tidx: {int32,int64} = int32",
     .shape = ReductionShape,
     .build = BuildPlain<(RunReduction<kNumbers, SumReducer>)>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ReductionOps() { return kOps; }

}  // namespace savedmodel
