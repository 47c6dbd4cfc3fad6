// Depthwise convolution: every channel has filters of its own.
#include <algorithm>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/conv_float.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/spatial.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

Status DepthwiseShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(WindowAttrs attrs, ReadWindowAttrs(ctx.attrs(), 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 4));
  const Shape &input = ctx.input(0), &filter = ctx.input(1);
  if (!filter.known_rank()) {
    ctx.set_output(0, Shape::UnknownOfRank(4));
    return Status();
  }
  attrs.window = {1, filter[0], filter[1]};
  int64_t channels = input.known_rank() ? input[attrs.channel_dim()] : -1;
  SM_CHECK_ARG(channels < 0 || filter[2] < 0 || channels == filter[2], "input ", input, " has ",
               channels, " channels, expected ", filter[2], " (filter ", filter, ")");
  if (channels < 0) channels = filter[2];
  int64_t out_channels = -1;
  if (channels >= 0 && filter[3] >= 0) {
    SM_CHECK_ARG(!__builtin_mul_overflow(channels, filter[3], &out_channels), "filter ", filter,
                 " has too many output channels");
  }
  SM_ASSIGN_OR_RETURN(Shape out, WindowOutputShape(attrs, input, out_channels));
  ctx.set_output(0, std::move(out));
  return Status();
}

// One output pixel: y[c * multiplier + m] = sum over taps of x[c] * filter[tap][c][m].
template <class T>
void DepthwisePixel(const WindowGeometry& g, const T* image, const T* filter, int64_t multiplier,
                    int64_t top, int64_t left, T* y) {
  const TapRange rows = TapsInside(top, g.window[1], g.dilation[1], g.in[1]);
  const TapRange columns = TapsInside(left, g.window[2], g.dilation[2], g.in[2]);
  const int64_t out_channels = g.channels * multiplier;
  std::fill_n(y, out_channels, T(0));
  for (int64_t kh = rows.begin; kh < rows.end; ++kh) {
    for (int64_t kw = columns.begin; kw < columns.end; ++kw) {
      const int64_t h = top + kh * g.dilation[1], w = left + kw * g.dilation[2];
      const T* x = image + (h * g.in[2] + w) * g.channels;
      const T* f = filter + (kh * g.window[2] + kw) * out_channels;
      if (multiplier == 1) {
        for (int64_t c = 0; c < out_channels; ++c) y[c] += x[c] * f[c];
        continue;
      }
      for (int64_t c = 0; c < g.channels; ++c) {
        for (int64_t m = 0; m < multiplier; ++m) {
          y[c * multiplier + m] += x[c] * f[c * multiplier + m];
        }
      }
    }
  }
}

template <class T>
void Depthwise(OpContext& ctx, const WindowGeometry& g, const T* x, const T* filter,
               int64_t multiplier, T* y) {
  const int64_t out_channels = g.channels * multiplier;
  const double cost = 0.3 * static_cast<double>(g.taps()) * out_channels * g.out[2];
  ctx.ParallelFor(g.batch * g.out[1], cost, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* image = x + row / g.out[1] * g.in_pixels() * g.channels;
      const int64_t top = row % g.out[1] * g.stride[1] - g.before[1];
      for (int64_t ow = 0; ow < g.out[2]; ++ow) {
        DepthwisePixel(g, image, filter, multiplier, top, ow * g.stride[2] - g.before[2],
                       y + (row * g.out[2] + ow) * out_channels);
      }
    }
  });
}

// Channels last, float or double.
Status RunPlain(OpContext& ctx, const WindowGeometry& g, const Tensor& x, const Tensor& filter,
                Tensor* y) {
  return VisitDType<kFloatDouble>(x.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    Depthwise(ctx, g, x.data<T>(), filter.data<T>(), filter.shape()[3],
              static_cast<T*>(y->raw_mutable_data()));
    return Status();
  });
}

Status RunDepthwise(OpContext& ctx, const WindowAttrs& parsed, Span<const EpilogueStep> steps) {
  if (ctx.output(0).num_elements() == 0) return Status();
  WindowAttrs attrs = parsed;
  const Shape& f = ctx.input(1).shape();
  attrs.window = {1, f[0], f[1]};
  SM_ASSIGN_OR_RETURN(const WindowGeometry g, ResolveWindow(attrs, ctx.input(0).shape()));
  Epilogue epilogue;
  SM_RETURN_IF_ERROR(epilogue.Resolve(ctx, steps, ctx.output(0).shape()));
  return RunAsPlain(ctx, attrs.channels_first, 0, 1,
                    [&](const Tensor& x, const Tensor& filter, Tensor* y) -> Status {
                      float* out = static_cast<float*>(y->raw_mutable_data());
                      if (x.dtype() == DType::kFloat && f[3] == 1) {
                        RunFloatDepthwise(ctx, g, filter.data<float>(), x.data<float>(), epilogue,
                                          out);
                        return Status();
                      }
                      SM_RETURN_IF_ERROR(RunPlain(ctx, g, x, filter, y));
                      if (x.dtype() == DType::kFloat) {
                        epilogue.ApplyTo(ctx, out, y->num_elements(), g.channels * f[3]);
                      }
                      return Status();
                    });
}

StatusOr<KernelPtr> BuildDepthwise(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadWindowAttrs(build.attrs(), 2));
  const std::vector<EpilogueStep> steps(build.epilogue().begin(), build.epilogue().end());
  return MakeKernel([attrs, steps](OpContext& ctx) { return RunDepthwise(ctx, attrs, steps); });
}

constexpr OpDef kOps[] = {
    {.signature = "DepthwiseConv2dNative(input: T, filter: T) -> (output: T); "
                  "T: {half,bfloat16,float,double}; strides: list(int); "
                  "padding: {'SAME','VALID','EXPLICIT'}; explicit_paddings: list(int) = []; "
                  "data_format: {'NHWC','NCHW'} = 'NHWC'; dilations: list(int) = [1, 1, 1, 1]",
     .shape = DepthwiseShape,
     .build = BuildDepthwise,
     .fusion = {.accepts_epilogue = true}},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> DepthwiseOps() { return kOps; }

}  // namespace savedmodel
