// Choice between elements of two tensors, and clipping.
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

// The condition is a scalar, a vector that chooses rows, or has the shape of the operands.
Status SelectShape(ShapeContext& ctx) {
  const Shape &condition = ctx.input(0), &t = ctx.input(1), &e = ctx.input(2);
  SM_CHECK_ARG(t.CompatibleWith(e), "inputs to choose from have different shapes: ", t, " and ", e);
  SM_ASSIGN_OR_RETURN(Shape out, t.Merge(e));
  if (condition.known_rank() && condition.rank() != 0 && out.known_rank()) {
    SM_CHECK_ARG(out.rank() > 0, "found a condition of shape ", condition,
                 " and scalars to choose from, expected at least vectors");
    const bool by_row = condition.rank() == 1;
    SM_CHECK_ARG(by_row ? condition.CompatibleWith(out.Slice(0, 1)) : condition.CompatibleWith(out),
                 "found a condition of shape ", condition, " for inputs of shape ", out,
                 ", expected a scalar, a vector of one element per row, or the inputs' shape");
  }
  ctx.set_output(0, std::move(out));
  return Status();
}

Status SelectV2Shape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(Shape values, shape::BroadcastShapes(ctx.input(1), ctx.input(2)));
  SM_ASSIGN_OR_RETURN(Shape out, shape::BroadcastShapes(ctx.input(0), values));
  ctx.set_output(0, std::move(out));
  return Status();
}

// y[i] = c[i] ? t(i) : e(i) of words, without a branch, so that it can be done in vectors.
template <class T, class Then, class Else>
void ChooseLoop(const bool* c, Then t, Else e, T* y, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const T mask = static_cast<T>(T{0} - static_cast<T>(c[i]));
    y[i] = static_cast<T>((t(i) & mask) | (e(i) & ~mask));
  }
}

// y[i] = c[i] ? t[i] : e[i], each advancing by its step of 0 or 1.
template <class T>
void SelectLoop(const bool* c, int64_t c_step, const T* t, int64_t t_step, const T* e,
                int64_t e_step, T* y, int64_t n) {
  if (c_step == 0) {
    const T* from = *c ? t : e;
    const int64_t step = *c ? t_step : e_step;
    for (int64_t i = 0; i < n; ++i) y[i] = from[i * step];
  } else if constexpr (std::is_same_v<T, uint32_t>) {
    // Floats only move.
    Vectors().select(c, reinterpret_cast<const float*>(t), t_step,
                     reinterpret_cast<const float*>(e), e_step, reinterpret_cast<float*>(y), n);
  } else if constexpr (std::is_unsigned_v<T>) {
    if (t_step == 1 && e_step == 1) {
      ChooseLoop(
          c, [t](int64_t i) { return t[i]; }, [e](int64_t i) { return e[i]; }, y, n);
    } else if (t_step == 1) {
      ChooseLoop(
          c, [t](int64_t i) { return t[i]; }, [e = *e](int64_t) { return e; }, y, n);
    } else if (e_step == 1) {
      ChooseLoop(
          c, [t = *t](int64_t) { return t; }, [e](int64_t i) { return e[i]; }, y, n);
    } else {
      ChooseLoop(
          c, [t = *t](int64_t) { return t; }, [e = *e](int64_t) { return e; }, y, n);
    }
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = c[i] ? t[i * t_step] : e[i * e_step];
  }
}

Status RunSelectV2(OpContext& ctx) {
  const Tensor& out = ctx.output(0);
  const BroadcastPlan plan = PlanBroadcast(
      {&ctx.input(0).shape(), &ctx.input(1).shape(), &ctx.input(2).shape()}, out.shape());
  return VisitByElementSize(out.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const bool* c = ctx.in<bool>(0);
    const T* t = static_cast<const T*>(ctx.input(1).raw_data());
    const T* e = static_cast<const T*>(ctx.input(2).raw_data());
    T* y = static_cast<T*>(ctx.output(0).raw_mutable_data());
    const auto& step = plan.inner.step;
    ctx.ParallelFor(out.num_elements(), 0.8, [&](int64_t begin, int64_t end) {
      ForEachRun(plan, begin, end, [&](int64_t at, const auto& from, int64_t count) {
        SelectLoop(c + from[0], step[0], t + from[1], step[1], e + from[2], step[2], y + at, count);
      });
    });
    return Status();
  });
}

Status RunSelect(OpContext& ctx) {
  const Tensor& out = ctx.output(0);
  const int64_t n = out.num_elements(), conditions = ctx.input(0).num_elements();
  if (n == 0) return Status();
  const int64_t row = n / conditions;  // elements that one condition decides
  return VisitByElementSize(out.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const bool* c = ctx.in<bool>(0);
    const T* t = static_cast<const T*>(ctx.input(1).raw_data());
    const T* e = static_cast<const T*>(ctx.input(2).raw_data());
    T* y = static_cast<T*>(ctx.output(0).raw_mutable_data());
    if (row == 1) {
      SelectLoop(c, 1, t, 1, e, 1, y, n);
    } else {
      for (int64_t i = 0; i < conditions; ++i) {
        std::copy_n((c[i] ? t : e) + i * row, row, y + i * row);
      }
    }
    return Status();
  });
}

// Each bound is a scalar or has the shape of the values.
Status ClipShape(ShapeContext& ctx) {
  const Shape& t = ctx.input(0);
  for (int i = 1; i <= 2; ++i) {
    const Shape& bound = ctx.input(i);
    SM_CHECK_ARG(!bound.known_rank() || bound.rank() == 0 || bound.CompatibleWith(t) ||
                     bound.num_elements() == 1,
                 "found a bound of shape ", bound, " for values of shape ", t,
                 ", expected a scalar or the values' shape");
  }
  ctx.set_output(0, t);
  return Status();
}

// The bound as an order: complex numbers compare by their real parts.
template <class T>
bool Below(const T& a, const T& b) {
  if constexpr (kIsComplex<T>) {
    return a.real() < b.real();
  } else {
    return a < b;
  }
}

Status RunClip(OpContext& ctx) {
  return VisitDType<kNumbers | kQuantized>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T *x = ctx.in<T>(0), *low = ctx.in<T>(1), *high = ctx.in<T>(2);
    T* y = ctx.out<T>(0);
    const int64_t low_step = ctx.input(1).num_elements() != 1;
    const int64_t high_step = ctx.input(2).num_elements() != 1;
    ctx.ParallelFor(ctx.input(0).num_elements(), 0.8, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T least = low[i * low_step], most = high[i * high_step];
        const T capped = Below(most, x[i]) ? most : x[i];
        y[i] = Below(capped, least) ? least : capped;
      }
    });
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature =
         "ClipByValue(t: T, clip_value_min: T, clip_value_max: T) -> (output: T); T: {float,"
         "double,int32,uint8,int16,int8,complex64,int64,qint8,quint8,qint32,bfloat16,qint16,"
         "quint16,uint16,complex128,half,uint32,uint64}",
     .shape = ClipShape,
     .build = BuildPlain<RunClip>,
     .in_place = InPlace::kInput0},
    {.signature = "Select(condition: bool, t: T, e: T) -> (output: T); T: type",
     .shape = SelectShape,
     .build = BuildPlain<RunSelect>},
    {.signature = "SelectV2(condition: bool, t: T, e: T) -> (output: T); T: type",
     .shape = SelectV2Shape,
     .build = BuildPlain<RunSelectV2>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SelectOps() { return kOps; }

}  // namespace savedmodel
