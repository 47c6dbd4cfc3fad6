// Batch normalisation: inference, training and gradients.
#include <cmath>
#include <limits>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

struct BatchNormAttrs {
  float epsilon = 0;
  float average_factor = 1;
  bool channels_first = false;
  bool training = false;
  int rank = 4;
};

BatchNormAttrs ReadAttrs(const Attrs& attrs) {
  const std::string& format = attrs.String("data_format");
  return {.epsilon = attrs.Float("epsilon"),
          .average_factor = attrs.Float("exponential_avg_factor"),
          .channels_first = format == "NCHW" || format == "NCDHW",
          .training = attrs.Bool("is_training"),
          .rank = static_cast<int>(format.size())};
}

int ChannelDim(const BatchNormAttrs& attrs, const Shape& x) {
  return attrs.channels_first ? 1 : x.rank() - 1;
}

// Merges the shape of input `i`, which has one value for each channel of x, into `channels`.
Status MergeChannels(ShapeContext& ctx, int i, const Shape& x, Shape* channels) {
  StatusOr<Shape> merged = channels->Merge(ctx.input(i));
  SM_CHECK_ARG(merged.ok(), "input ", i, " has shape ", ctx.input(i),
               ", expected one value for each channel of ", x);
  *channels = std::move(merged).value();
  return Status();
}

Status BatchNormShape(ShapeContext& ctx) {
  const BatchNormAttrs attrs = ReadAttrs(ctx.attrs());
  Shape x = ctx.input(0);
  // Rank 5 is accepted under the names of 4-dimensional formats, as TensorFlow does.
  if (x.known_rank() && x.rank() != attrs.rank && x.rank() != 5) {
    return InvalidArgument("input 0 has shape ", x, ", expected rank ", attrs.rank);
  }
  const int channel = ChannelDim(attrs, x);
  Shape channels = Shape({x.known_rank() ? x[channel] : -1});
  for (int i = 1; i < 5; ++i) {
    SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 1));
    // In training the running mean and variance may be left empty.
    if (i >= 3 && attrs.training && ctx.input(i).known_rank() && ctx.input(i)[0] <= 0) continue;
    SM_RETURN_IF_ERROR(MergeChannels(ctx, i, x, &channels));
  }
  if (x.known_rank()) x = x.WithDim(channel, channels[0]);
  ctx.set_output(0, x);
  for (int i = 1; i < 5; ++i) ctx.set_output(i, channels);
  if (ctx.num_outputs() > 5) ctx.set_output(5, Shape());
  return Status();
}

// x as [outer, channels, inner].
struct Layout {
  int64_t outer, channels, inner;
};

Layout LayoutOf(const BatchNormAttrs& attrs, const Shape& x) {
  const int channel = ChannelDim(attrs, x);
  return {x.Product(0, channel), x[channel], x.Product(channel + 1, x.rank())};
}

template <class T, class F>
void ForEachRun(const Layout& l, const T* x, F&& fn) {
  for (int64_t o = 0; o < l.outer; ++o) {
    for (int64_t c = 0; c < l.channels; ++c, x += l.inner) fn(c, x);
  }
}

// Mean and (biased) variance of each channel, in two passes.
template <class T>
void Moments(const Layout& l, const T* x, std::vector<double>* mean,
             std::vector<double>* variance) {
  const double count = static_cast<double>(l.outer * l.inner);
  mean->assign(l.channels, 0);
  variance->assign(l.channels, 0);
  ForEachRun(l, x, [&](int64_t c, const T* run) {
    for (int64_t i = 0; i < l.inner; ++i) (*mean)[c] += static_cast<double>(run[i]);
  });
  for (double& m : *mean) m /= count;
  ForEachRun(l, x, [&](int64_t c, const T* run) {
    for (int64_t i = 0; i < l.inner; ++i) {
      const double d = static_cast<double>(run[i]) - (*mean)[c];
      (*variance)[c] += d * d;
    }
  });
  for (double& v : *variance) v /= count;
}

// Element `c` of input `i`, which is float, or bfloat16 in V3.
float ChannelValue(const OpContext& ctx, int i, int64_t c) {
  if (const float* p = ctx.in<float>(i)) return p[c];
  return static_cast<float>(ctx.in<bfloat16>(i)[c]);
}

void SetChannelValue(OpContext& ctx, int i, int64_t c, double value) {
  if (float* p = ctx.out<float>(i)) {
    p[c] = static_cast<float>(value);
  } else {
    ctx.out<bfloat16>(i)[c] = bfloat16(value);
  }
}

// y = x * scale[c] + shift[c]
template <class T>
void Normalize(OpContext& ctx, const Layout& l, const std::vector<float>& scale,
               const std::vector<float>& shift) {
  const T* x = ctx.in<T>(0);
  T* y = ctx.out<T>(0);
  if (l.inner == 1) {
    ctx.ParallelFor(l.outer, 0.4 * l.channels, [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        const int64_t at = o * l.channels;
        for (int64_t c = 0; c < l.channels; ++c) {
          y[at + c] = T(static_cast<float>(x[at + c]) * scale[c] + shift[c]);
        }
      }
    });
    return;
  }
  ctx.ParallelFor(l.outer * l.channels, 0.4 * l.inner, [&](int64_t begin, int64_t end) {
    for (int64_t run = begin; run < end; ++run) {
      const float a = scale[run % l.channels], b = shift[run % l.channels];
      for (int64_t i = run * l.inner; i < (run + 1) * l.inner; ++i) {
        y[i] = T(static_cast<float>(x[i]) * a + b);
      }
    }
  });
}

// Sets outputs 1 to 4 for training: running mean and variance, and the batch's own.
void SetTrainingOutputs(OpContext& ctx, const BatchNormAttrs& attrs, const Layout& l,
                        const std::vector<double>& mean, const std::vector<double>& variance) {
  const double count = static_cast<double>(l.outer * l.inner);
  const double bessel = count > 1 ? count / (count - 1) : 1;
  const double factor = attrs.average_factor;
  for (int64_t c = 0; c < l.channels; ++c) {
    double running_mean = mean[c], running_variance = variance[c] * bessel;
    if (attrs.average_factor != 1.0f) {
      running_mean = (1 - factor) * ChannelValue(ctx, 3, c) + factor * running_mean;
      running_variance = (1 - factor) * ChannelValue(ctx, 4, c) + factor * running_variance;
    }
    SetChannelValue(ctx, 1, c, running_mean);
    SetChannelValue(ctx, 2, c, running_variance);
    SetChannelValue(ctx, 3, c, mean[c]);
    SetChannelValue(ctx, 4, c, variance[c]);
  }
}

// Without any x there are no statistics.
void SetEmptyOutputs(OpContext& ctx, int64_t channels) {
  for (int64_t c = 0; c < channels; ++c) {
    for (int i = 1; i <= 2; ++i) SetChannelValue(ctx, i, c, std::nan(""));
    for (int i = 3; i <= 4; ++i) SetChannelValue(ctx, i, c, 0);
  }
}

template <class T>
Status RunTyped(OpContext& ctx, const BatchNormAttrs& attrs, const Layout& l) {
  std::vector<double> mean(l.channels), variance(l.channels);
  if (attrs.training) {
    Moments(l, ctx.in<T>(0), &mean, &variance);
    SetTrainingOutputs(ctx, attrs, l, mean, variance);
  } else {
    for (int64_t c = 0; c < l.channels; ++c) {
      mean[c] = ChannelValue(ctx, 3, c);
      variance[c] = ChannelValue(ctx, 4, c);
      for (int i = 1; i < 5; ++i) SetChannelValue(ctx, i, c, i % 2 == 1 ? mean[c] : variance[c]);
    }
  }
  std::vector<float> scale(l.channels), shift(l.channels);
  for (int64_t c = 0; c < l.channels; ++c) {
    const double s = ChannelValue(ctx, 1, c) / std::sqrt(variance[c] + attrs.epsilon);
    scale[c] = static_cast<float>(s);
    shift[c] = static_cast<float>(ChannelValue(ctx, 2, c) - mean[c] * s);
  }
  Normalize<T>(ctx, l, scale, shift);
  return Status();
}

StatusOr<KernelPtr> BuildBatchNorm(BuildContext& build) {
  const BatchNormAttrs attrs = ReadAttrs(build.attrs());
  return MakeKernel([attrs](OpContext& ctx) -> Status {
    const Shape& x = ctx.input(0).shape();
    const Layout l = LayoutOf(attrs, x);
    if (attrs.training && attrs.average_factor != 1.0f) {
      SM_CHECK_ARG(
          ctx.input(3).num_elements() == l.channels && ctx.input(4).num_elements() == l.channels,
          "a running average needs mean and variance of ", l.channels, " channels, found ",
          ctx.input(3).shape(), " and ", ctx.input(4).shape());
    }
    if (ctx.num_outputs() > 5) SetChannelValue(ctx, 5, 0, 0);
    if (x.num_elements() == 0) {
      SetEmptyOutputs(ctx, l.channels);
      return Status();
    }
    return VisitDType<kSmallFloats | Only(DType::kFloat)>(ctx.input(0).dtype(), [&](auto tag) {
      return RunTyped<typename decltype(tag)::type>(ctx, attrs, l);
    });
  });
}

// Of y_backprop, x, scale and the mean and variance that the op normalised with.
Status BatchNormGradShape(ShapeContext& ctx) {
  const BatchNormAttrs attrs = ReadAttrs(ctx.attrs());
  StatusOr<Shape> x = ctx.input(0).Merge(ctx.input(1));
  SM_CHECK_ARG(x.ok(), "y_backprop has shape ", ctx.input(0), " and x ", ctx.input(1));
  SM_CHECK_ARG(!x->known_rank() || x->rank() == attrs.rank || x->rank() == 5, "x has shape ", *x,
               ", expected rank ", attrs.rank);
  const int channel = ChannelDim(attrs, *x);
  Shape channels = Shape({x->known_rank() ? (*x)[channel] : -1});
  for (int i = 2; i < 5; ++i) SM_RETURN_IF_ERROR(MergeChannels(ctx, i, *x, &channels));
  ctx.set_output(0, x->known_rank() ? x->WithDim(channel, channels[0]) : *x);
  for (int i = 1; i < 3; ++i) ctx.set_output(i, channels);
  for (int i = 3; i < 5; ++i) ctx.set_output(i, Shape({0}));  // reserved
  return Status();
}

template <class T>
Status RunGradient(OpContext& ctx, const BatchNormAttrs& attrs, const Layout& l) {
  const T *dy = ctx.in<T>(0), *x = ctx.in<T>(1);
  T* const dx = ctx.out<T>(0);
  std::vector<double> sum(l.channels), sum_of_products(l.channels);  // of dy; with x - mean
  ForEachRun(l, dy, [&](int64_t c, const T* run) {
    const double mean = ChannelValue(ctx, 3, c);
    for (int64_t i = 0; i < l.inner; ++i) {
      sum[c] += static_cast<double>(run[i]);
      sum_of_products[c] +=
          static_cast<double>(run[i]) * (static_cast<double>(x[run - dy + i]) - mean);
    }
  });
  // dx = scale * (dy - dy_mean - (x - mean) * slope)
  struct Channel {
    float mean, scale, dy_mean = 0, slope = 0;
  };
  std::vector<Channel> channels(l.channels);
  const double count = static_cast<double>(l.outer * l.inner);
  for (int64_t c = 0; c < l.channels; ++c) {
    const double variance = static_cast<double>(ChannelValue(ctx, 4, c)) + attrs.epsilon;
    SetChannelValue(ctx, 1, c, sum_of_products[c] / std::sqrt(variance));
    SetChannelValue(ctx, 2, c, sum[c]);
    channels[c] = {.mean = ChannelValue(ctx, 3, c),
                   .scale = static_cast<float>(ChannelValue(ctx, 2, c) / std::sqrt(variance))};
    if (!attrs.training) continue;  // the statistics do not depend on x
    channels[c].dy_mean = static_cast<float>(sum[c] / count);
    channels[c].slope = static_cast<float>(sum_of_products[c] / count / variance);
  }
  ctx.ParallelFor(
      l.outer, static_cast<double>(l.channels * l.inner), [&](int64_t begin, int64_t end) {
        int64_t at = begin * l.channels * l.inner;
        for (int64_t run = begin * l.channels; run < end * l.channels; ++run) {
          const Channel& c = channels[run % l.channels];
          for (int64_t i = 0; i < l.inner; ++i, ++at) {
            const float centered = static_cast<float>(x[at]) - c.mean;
            dx[at] = T(c.scale * (static_cast<float>(dy[at]) - c.dy_mean - centered * c.slope));
          }
        }
      });
  return Status();
}

StatusOr<KernelPtr> BuildBatchNormGrad(BuildContext& build) {
  const BatchNormAttrs attrs = ReadAttrs(build.attrs());
  return MakeKernel([attrs](OpContext& ctx) -> Status {
    const Layout l = LayoutOf(attrs, ctx.input(1).shape());
    return VisitDType<kSmallFloats | Only(DType::kFloat)>(ctx.input(0).dtype(), [&](auto tag) {
      return RunGradient<typename decltype(tag)::type>(ctx, attrs, l);
    });
  });
}

// The op that came before FusedBatchNorm: y = (t - m) / sqrt(v + epsilon) [* gamma] + beta.
Status GlobalNormShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  Shape channels({ctx.input(0).known_rank() ? ctx.input(0)[3] : -1});
  for (int i = 1; i < 5; ++i) {
    SM_CHECK_ARG(channels.CompatibleWith(ctx.input(i)), "input ", i, " has shape ", ctx.input(i),
                 ", expected one value for each channel of ", ctx.input(0));
  }
  ctx.set_output(0, ctx.input(0));
  return Status();
}

StatusOr<KernelPtr> BuildGlobalNorm(BuildContext& build) {
  const float epsilon = build.attrs().Float("variance_epsilon");
  const bool scale_after = build.attrs().Bool("scale_after_normalization");
  return MakeKernel([epsilon, scale_after](OpContext& ctx) -> Status {
    const Shape& shape = ctx.input(0).shape();
    return VisitDType<kFloats>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T* t = ctx.in<T>(0);
      T* y = ctx.out<T>(0);
      for (int64_t i = 0; i < shape.num_elements(); ++i) {
        const int64_t c = i % shape[3];
        T scale = T(1.0 / std::sqrt(static_cast<double>(ctx.in<T>(2)[c]) + epsilon));
        if (scale_after) scale *= ctx.in<T>(4)[c];
        y[i] = (t[i] - ctx.in<T>(1)[c]) * scale + ctx.in<T>(3)[c];
      }
      return Status();
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature = "BatchNormWithGlobalNormalization(t: T, m: T, v: T, beta: T, gamma: T) -> "
                  "(result: T); T: {float,double,int32,uint8,int16,int8,complex64,int64,qint8,"
                  "quint8,qint32,bfloat16,qint16,quint16,uint16,complex128,half,uint32,uint64}; "
                  "variance_epsilon: float; scale_after_normalization: bool",
     .shape = GlobalNormShape,
     .build = BuildGlobalNorm,
     .in_place = InPlace::kInput0},
    {.signature = "FusedBatchNorm(x: T, scale: T, offset: T, mean: T, variance: T) -> (y: T, "
                  "batch_mean: T, batch_variance: T, reserve_space_1: T, reserve_space_2: T); "
                  "T: {float}; epsilon: float = 0.0001; exponential_avg_factor: float = 1.0; "
                  "data_format: {'NHWC','NCHW'} = 'NHWC'; is_training: bool = true",
     .shape = BatchNormShape,
     .build = BuildBatchNorm,
     .in_place = InPlace::kInput0},
    {.signature = "FusedBatchNormGrad(y_backprop: T, x: T, scale: T, reserve_space_1: T, "
                  "reserve_space_2: T) -> (x_backprop: T, scale_backprop: T, offset_backprop: T, "
                  "reserve_space_3: T, reserve_space_4: T); T: {float}; epsilon: float = 0.0001; "
                  "data_format: {'NHWC','NCHW'} = 'NHWC'; is_training: bool = true",
     .shape = BatchNormGradShape,
     .build = BuildBatchNormGrad},
    {.signature = "FusedBatchNormGradV2(y_backprop: T, x: T, scale: float, reserve_space_1: U, "
                  "reserve_space_2: U) -> (x_backprop: T, scale_backprop: U, offset_backprop: U, "
                  "reserve_space_3: U, reserve_space_4: U); T: {half,bfloat16,float}; U: {float}; "
                  "epsilon: float = 0.0001; data_format: {'NHWC','NCHW'} = 'NHWC'; "
                  "is_training: bool = true",
     .shape = BatchNormGradShape,
     .build = BuildBatchNormGrad},
    {.signature = "FusedBatchNormGradV3(y_backprop: T, x: T, scale: float, reserve_space_1: U, "
                  "reserve_space_2: U, reserve_space_3: U) -> (x_backprop: T, scale_backprop: U, "
                  "offset_backprop: U, reserve_space_4: U, reserve_space_5: U); "
                  "T: {half,bfloat16,float}; U: {float}; epsilon: float = 0.0001; "
                  "data_format: {'NHWC','NCHW','NDHWC','NCDHW'} = 'NHWC'; is_training: bool = true",
     .shape = BatchNormGradShape,
     .build = BuildBatchNormGrad},
    {.signature = "FusedBatchNormV2(x: T, scale: U, offset: U, mean: U, variance: U) -> (y: T, "
                  "batch_mean: U, batch_variance: U, reserve_space_1: U, reserve_space_2: U); "
                  "T: {half,bfloat16,float}; U: {float}; epsilon: float = 0.0001; "
                  "exponential_avg_factor: float = 1.0; data_format: {'NHWC','NCHW'} = 'NHWC'; "
                  "is_training: bool = true",
     .shape = BatchNormShape,
     .build = BuildBatchNorm,
     .in_place = InPlace::kInput0},
    {.signature = "FusedBatchNormV3(x: T, scale: U, offset: U, mean: U, variance: U) -> (y: T, "
                  "batch_mean: U, batch_variance: U, reserve_space_1: U, reserve_space_2: U, "
                  "reserve_space_3: U); T: {half,bfloat16,float}; U: {bfloat16,float}; "
                  "epsilon: float = 0.0001; exponential_avg_factor: float = 1.0; "
                  "data_format: {'NHWC','NCHW','NDHWC','NCDHW'} = 'NHWC'; is_training: bool = true",
     .shape = BatchNormShape,
     .build = BuildBatchNorm,
     .in_place = InPlace::kInput0},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> BatchNormOps() { return kOps; }

}  // namespace savedmodel
