// Bias along the channel dimension, and the gradient of that.
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// Of a value with channels at `channel`: elements before, of, and after that dimension.
struct Layout {
  int64_t outer = 1, channels = 1, inner = 1;
};

bool ChannelsFirst(const Attrs& attrs) { return attrs.String("data_format") == "NCHW"; }

Layout LayoutOf(const Shape& shape, bool channels_first) {
  const int channel = channels_first ? 1 : shape.rank() - 1;
  return {shape.Product(0, channel), shape[channel], shape.Product(channel + 1, shape.rank())};
}

Status BiasAddShape(ShapeContext& ctx) {
  const bool channels_first = ChannelsFirst(ctx.attrs());
  const Shape &value = ctx.input(0), &bias = ctx.input(1);
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, channels_first ? 3 : 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  ctx.set_output(0, value);
  if (!value.known_rank() || !bias.known_rank()) return Status();
  const int64_t channels = value[channels_first ? 1 : value.rank() - 1];
  SM_CHECK_ARG(channels == -1 || bias[0] == -1 || channels == bias[0], "found ", bias[0],
               " biases, expected as many as the value ", value, " has channels");
  return Status();
}

template <class T>
void AddBias(OpContext& ctx, const Layout& layout) {
  const T *x = ctx.in<T>(0), *bias = ctx.in<T>(1);
  T* y = ctx.out<T>(0);
  const int64_t channels = layout.channels, inner = layout.inner;
  if (inner == 1) {
    ctx.ParallelFor(layout.outer, 0.3 * channels, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        for (int64_t c = 0; c < channels; ++c)
          y[row * channels + c] = x[row * channels + c] + bias[c];
      }
    });
    return;
  }
  ctx.ParallelFor(layout.outer * channels, 0.3 * inner, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T b = bias[row % channels];
      for (int64_t i = row * inner; i < (row + 1) * inner; ++i) y[i] = x[i] + b;
    }
  });
}

StatusOr<KernelPtr> BuildBiasAdd(BuildContext& build) {
  const bool channels_first = ChannelsFirst(build.attrs());
  return MakeKernel([channels_first](OpContext& ctx) -> Status {
    if (ctx.input(0).num_elements() == 0) return Status();
    const Layout layout = LayoutOf(ctx.input(0).shape(), channels_first);
    return VisitDType<kNumbers>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      AddBias<typename decltype(tag)::type>(ctx, layout);
      return Status();
    });
  });
}

Status BiasAddGradShape(ShapeContext& ctx) {
  const bool channels_first = ChannelsFirst(ctx.attrs());
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, channels_first ? 3 : 2));
  const Shape& value = ctx.input(0);
  ctx.set_output(0, value.known_rank() ? Shape({value[channels_first ? 1 : value.rank() - 1]})
                                       : Shape::UnknownOfRank(1));
  return Status();
}

StatusOr<KernelPtr> BuildBiasAddGrad(BuildContext& build) {
  const bool channels_first = ChannelsFirst(build.attrs());
  return MakeKernel([channels_first](OpContext& ctx) -> Status {
    const Layout layout = LayoutOf(ctx.input(0).shape(), channels_first);
    return VisitDType<kNumbers>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      using Sum = std::conditional_t<sizeof(T) == 2 && !std::is_integral_v<T>, float, T>;
      const T* x = ctx.in<T>(0);
      std::vector<Sum> sums(layout.channels, Sum(0));
      for (int64_t o = 0; o < layout.outer; ++o) {
        for (int64_t c = 0; c < layout.channels; ++c) {
          for (int64_t i = 0; i < layout.inner; ++i) sums[c] += static_cast<Sum>(*x++);
        }
      }
      T* y = ctx.out<T>(0);
      for (int64_t c = 0; c < layout.channels; ++c) y[c] = T(sums[c]);
      return Status();
    });
  });
}

#define SM_BIAS_TYPES                                                            \
  "T: {float,double,int32,uint8,int16,int8,complex64,int64,qint8,quint8,qint32," \
  "bfloat16,qint16,quint16,uint16,complex128,half,uint32,uint64}"

constexpr OpDef kOps[] = {
    {.signature = "BiasAdd(value: T, bias: T) -> (output: T); " SM_BIAS_TYPES
                  "; data_format: {'NHWC','NCHW'} = 'NHWC'",
     .shape = BiasAddShape,
     .build = BuildBiasAdd,
     .fusion = {.scalar = ScalarOp::kAdd},
     .in_place = InPlace::kInput0},
    {.signature = "BiasAddGrad(out_backprop: T) -> (output: T); " SM_BIAS_TYPES
                  "; data_format: {'NHWC','NCHW'} = 'NHWC'",
     .shape = BiasAddGradShape,
     .build = BuildBiasAddGrad},
    {.signature = "BiasAddV1(value: T, bias: T) -> (output: T); " SM_BIAS_TYPES,
     .shape = BiasAddShape,
     .build = BuildBiasAdd,
     .fusion = {.scalar = ScalarOp::kAdd},
     .in_place = InPlace::kInput0},
};
#undef SM_BIAS_TYPES
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> BiasOps() { return kOps; }

}  // namespace savedmodel
