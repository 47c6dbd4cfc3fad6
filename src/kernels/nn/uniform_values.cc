// Uniformly quantised values, element by element: from and to floats, to other scales, sums,
// limits.
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/broadcast.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/uniform.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

constexpr DTypeSet kSigned = Only(DType::kQInt8) | Only(DType::kQInt32);
constexpr DTypeSet kStored = kSigned | Only(DType::kQUInt8);

// Calls fn(channel, begin, end) for runs of elements that share an index of `axis`; all elements
// are of channel 0 where it is -1.
void ForEachChannel(const OpContext& ctx, const Shape& shape, int64_t axis,
                    FunctionRef<void(int64_t, int64_t, int64_t)> fn) {
  if (axis < 0) {
    ctx.ParallelFor(shape.num_elements(), 2,
                    [&](int64_t begin, int64_t end) { fn(0, begin, end); });
    return;
  }
  const int dim = static_cast<int>(axis);
  const int64_t inner = shape.Product(dim + 1, shape.rank());
  ctx.ParallelFor(shape.Product(0, dim + 1), 2.0 * static_cast<double>(inner),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t r = begin; r < end; ++r) {
                      fn(r % shape[dim], r * inner, (r + 1) * inner);
                    }
                  });
}

StatusOr<KernelPtr> BuildQuantize(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const UniformBounds bounds,
                      ReadBounds(build.attrs(), "quantization_min_val", "quantization_max_val"));
  const int64_t axis = build.attrs().Int("quantization_axis");
  return MakeKernel([bounds, axis](OpContext& ctx) -> Status {
    const Shape& shape = ctx.input(0).shape();
    SM_ASSIGN_OR_RETURN(const UniformScales scales, ReadUniformScales(ctx, 1, shape, axis));
    const float* x = ctx.in<float>(0);
    return VisitDType<kStored>(ctx.output_dtype(0), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      T* y = ctx.out<T>(0);
      ForEachChannel(ctx, shape, axis, [&](int64_t channel, int64_t begin, int64_t end) {
        const float inverse = 1.0f / scales.scale_at(channel);
        for (int64_t i = begin; i < end; ++i) {
          y[i] = static_cast<T>(UniformQuantized(x[i], inverse, scales.zero_at(channel), bounds));
        }
      });
      return Status();
    });
  });
}

StatusOr<KernelPtr> BuildDequantize(BuildContext& build) {
  const int64_t axis = build.attrs().Int("quantization_axis");
  return MakeKernel([axis](OpContext& ctx) -> Status {
    const Shape& shape = ctx.input(0).shape();
    SM_ASSIGN_OR_RETURN(const UniformScales scales, ReadUniformScales(ctx, 1, shape, axis));
    SM_RETURN_IF_ERROR(ExpectPositive(ctx, 1));
    float* y = ctx.out<float>(0);
    return VisitDType<kStored>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T* x = ctx.in<T>(0);
      ForEachChannel(ctx, shape, axis, [&](int64_t channel, int64_t begin, int64_t end) {
        const float scale = scales.scale_at(channel);
        for (int64_t i = begin; i < end; ++i) {
          y[i] =
              static_cast<float>(WrappingSub(StoredInteger(x[i]), scales.zero_at(channel))) * scale;
        }
      });
      return Status();
    });
  });
}

// -------------------------------------------------------------------------------- to other scales

// `x` of scales `from` in scales `to`, the zero points of which are left out.
template <class T>
Status Rescale(const OpContext& ctx, const T* x, const Shape& shape, const UniformScales& from,
               const UniformScales& to, FunctionRef<void(int64_t, int64_t, int32_t)> store) {
  const int64_t axis = from.axis >= 0 ? from.axis : to.axis;
  std::vector<FixedFactor> factors(axis < 0 ? 1 : shape[static_cast<int>(axis)]);
  for (size_t c = 0; c < factors.size(); ++c) {
    SM_ASSIGN_OR_RETURN(factors[c],
                        FixedFactor::Of(double{from.scale_at(c)} / double{to.scale_at(c)}));
  }
  ForEachChannel(ctx, shape, axis, [&](int64_t channel, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      store(i, channel, factors[channel](WrappingSub(StoredInteger(x[i]), from.zero_at(channel))));
    }
  });
  return Status();
}

StatusOr<KernelPtr> BuildRequantize(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(
      const UniformBounds bounds,
      ReadBounds(build.attrs(), "output_quantization_min_val", "output_quantization_max_val"));
  const int64_t in_axis = build.attrs().Int("input_quantization_axis");
  const int64_t out_axis = build.attrs().Int("output_quantization_axis");
  SM_CHECK_ARG(in_axis < 0 || out_axis < 0 || in_axis == out_axis, "input is quantized along ",
               in_axis, ", output along ", out_axis, ", expected one axis");
  if (build.output_dtype(0) != DType::kQInt8) {
    return InvalidArgument("UniformRequantize to ", build.output_dtype(0));
  }
  return MakeKernel([bounds, in_axis, out_axis](OpContext& ctx) -> Status {
    const Shape& shape = ctx.input(0).shape();
    SM_ASSIGN_OR_RETURN(const UniformScales from, ReadUniformScales(ctx, 1, shape, in_axis));
    SM_ASSIGN_OR_RETURN(const UniformScales to, ReadUniformScales(ctx, 3, shape, out_axis));
    SM_RETURN_IF_ERROR(ExpectPositive(ctx, 1));
    SM_RETURN_IF_ERROR(ExpectPositive(ctx, 3));
    int8_t* y = ctx.out<int8_t>(0);
    return VisitDType<kSigned>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      return Rescale<T>(
          ctx, ctx.in<T>(0), shape, from, to, [&](int64_t i, int64_t channel, int32_t steps) {
            y[i] = static_cast<int8_t>(bounds.Clamp(WrappingAdd(steps, to.zero_at(channel))));
          });
    });
  });
}

// -------------------------------------------------------------------------------------------- sum

// Summand `i` with scales `from`, in the scales of the sum without their zero points.
StatusOr<std::vector<int32_t>> Summand(const OpContext& ctx, int i, const UniformScales& from,
                                       const UniformScales& to, const Shape& sum) {
  const Shape& shape = ctx.input(i).shape();
  if (from.axis >= 0 && to.axis >= 0) {
    SM_CHECK_ARG(shape.rank() - from.axis == sum.rank() - to.axis, "operand ", shape,
                 " is quantized along ", from.axis, ", result ", sum, " along ", to.axis);
  } else if (to.axis >= 0) {
    const int dim = static_cast<int>(to.axis);
    SM_CHECK_ARG(dim < shape.rank() && shape[dim] <= sum[dim], "result ", sum,
                 " is quantized along ", to.axis, ", operand ", shape, " does not have this axis");
  }
  std::vector<int32_t> out(shape.num_elements());
  SM_RETURN_IF_ERROR(
      Rescale<int32_t>(ctx, ctx.in<int32_t>(i), shape, from, to,
                       [&](int64_t k, int64_t, int32_t steps) { out[k] = StoredInteger(steps); }));
  return out;
}

StatusOr<KernelPtr> BuildAdd(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(
      const UniformBounds bounds,
      ReadBounds(build.attrs(), "output_quantization_min_val", "output_quantization_max_val"));
  const int64_t axes[] = {build.attrs().Int("lhs_quantization_axis"),
                          build.attrs().Int("rhs_quantization_axis"),
                          build.attrs().Int("output_quantization_axis")};
  return MakeKernel([=](OpContext& ctx) -> Status {
    const Shape& shape = ctx.output(0).shape();
    UniformScales scales[3];
    for (int i = 0; i < 3; ++i) {
      const Shape& of = i < 2 ? ctx.input(i).shape() : shape;
      SM_ASSIGN_OR_RETURN(scales[i], ReadUniformScales(ctx, 2 * i + 2, of, axes[i]));
      SM_RETURN_IF_ERROR(ExpectPositive(ctx, 2 * i + 2));
    }
    SM_ASSIGN_OR_RETURN(const auto x, Summand(ctx, 0, scales[0], scales[2], shape));
    SM_ASSIGN_OR_RETURN(const auto y, Summand(ctx, 1, scales[1], scales[2], shape));
    // Zero points are a third tensor to be broadcast.
    Shape zeros = Shape(std::vector<int64_t>(shape.rank(), 1));
    if (axes[2] >= 0) zeros = zeros.WithDim(static_cast<int>(axes[2]), shape[axes[2]]);
    const Shape* shapes[] = {&ctx.input(0).shape(), &ctx.input(1).shape(), &zeros};
    const BroadcastPlan plan = PlanBroadcast(shapes, shape);
    int32_t* out = ctx.out<int32_t>(0);
    ctx.ParallelFor(shape.num_elements(), 3, [&](int64_t begin, int64_t end) {
      ForEachRun(plan, begin, end, [&](int64_t to, const auto& from, int64_t n) {
        const auto& step = plan.inner.step;
        for (int64_t i = 0; i < n; ++i) {
          const int32_t sum = WrappingAdd(x[from[0] + i * step[0]], y[from[1] + i * step[1]]);
          out[to + i] = bounds.Clamp(WrappingAdd(sum, scales[2].zero[from[2] + i * step[2]]));
        }
      });
    });
    return Status();
  });
}

// ----------------------------------------------------------------------------------------- limits

StatusOr<KernelPtr> BuildClip(BuildContext& build) {
  const int64_t axis = build.attrs().Int("quantization_axis");
  return MakeKernel([axis](OpContext& ctx) -> Status {
    const Shape& shape = ctx.input(0).shape();
    SM_RETURN_IF_ERROR(ReadUniformScales(ctx, 3, shape, axis).status());
    for (int i : {1, 2}) {
      SM_CHECK_ARG(ctx.input(i).shape() == ctx.input(3).shape(), "input ", i, " has shape ",
                   ctx.input(i).shape(), ", scales have ", ctx.input(3).shape());
    }
    const int32_t* x = ctx.in<int32_t>(0);
    int32_t* y = ctx.out<int32_t>(0);
    ForEachChannel(ctx, shape, axis, [&](int64_t channel, int64_t begin, int64_t end) {
      const int32_t low = ctx.in<int32_t>(1)[channel], high = ctx.in<int32_t>(2)[channel];
      for (int64_t i = begin; i < end; ++i) y[i] = std::min(std::max(x[i], low), high);
    });
    return Status();
  });
}

#define SM_QUANTIZED_BY(what)                                                  \
  what "quantization_axis: int = -1; " what "quantization_min_val: int; " what \
       "quantization_max_val: int"

constexpr OpDef kOps[] = {
    {.signature = "UniformDequantize(input: Tin, scales: float, zero_points: int32) -> "
                  "(output: Tout); Tin: {qint8,quint8,qint32}; Tout: {float}; " SM_QUANTIZED_BY(""),
     .shape = shape::SameAsInput0,
     .build = BuildDequantize},
    {.signature = "UniformQuantize(input: Tin, scales: float, zero_points: int32) -> "
                  "(output: Tout); Tin: {float}; Tout: {qint8,quint8,qint32}; " SM_QUANTIZED_BY(""),
     .shape = shape::SameAsInput0,
     .build = BuildQuantize},
    {.signature = "UniformQuantizedAdd(lhs: T, rhs: T, lhs_scales: float, lhs_zero_points: int32, "
                  "rhs_scales: float, rhs_zero_points: int32, output_scales: float, "
                  "output_zero_points: int32) -> (output: T); T: {qint32}; " SM_QUANTIZED_BY(
                      "lhs_") "; " SM_QUANTIZED_BY("rhs_") "; " SM_QUANTIZED_BY("output_"),
     .shape = shape::Broadcast,
     .build = BuildAdd},
    {.signature = "UniformQuantizedClipByValue(operand: T, min: T, max: T, scales: float, "
                  "zero_points: int32) -> (output: T); T: {qint32}; " SM_QUANTIZED_BY(""),
     .shape = shape::SameAsInput0,
     .build = BuildClip},
    {.signature = "UniformRequantize(input: Tin, input_scales: float, input_zero_points: int32, "
                  "output_scales: float, output_zero_points: int32) -> (output: Tout); "
                  "Tin: {qint8,qint32}; Tout: {qint8,qint32}; " SM_QUANTIZED_BY(
                      "input_") "; " SM_QUANTIZED_BY("output_"),
     .shape = shape::SameAsInput0,
     .build = BuildRequantize},
};
#undef SM_QUANTIZED_BY
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> UniformValueOps() { return kOps; }

}  // namespace savedmodel
