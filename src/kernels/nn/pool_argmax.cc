// Max pooling that tells where the maximum was, and gradients of pooling.
#include <algorithm>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/spatial.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

StatusOr<WindowAttrs> ReadAttrs(const Attrs& list) {
  SM_ASSIGN_OR_RETURN(WindowAttrs attrs, ReadWindowAttrs(list, 2));
  if (attrs.channel_window != 1 || attrs.channel_stride != 1) {
    return Unimplemented("pooling over the channel dimension");
  }
  return attrs;
}

// Calls fn(output pixel, first input pixel of the image, rows, columns) for each window, in order;
// rows and columns are the input positions inside the image.
template <class F>
void ForEachWindow(const WindowGeometry& g, F&& fn) {
  for (int64_t pixel = 0; pixel < g.batch * g.out_pixels(); ++pixel) {
    const int64_t left = pixel % g.out[2] * g.stride[2] - g.before[2];
    const int64_t top = pixel / g.out[2] % g.out[1] * g.stride[1] - g.before[1];
    const TapRange rows{std::max<int64_t>(0, top), std::min(g.in[1], top + g.window[1])};
    const TapRange columns{std::max<int64_t>(0, left), std::min(g.in[2], left + g.window[2])};
    fn(pixel, pixel / g.out_pixels() * g.in_pixels(), rows, columns);
  }
}

// The input pixel of the first maximum of channel c in a window; -1 for a window without pixels.
template <class T>
int64_t FirstMaximum(const WindowGeometry& g, const T* x, int64_t image, const TapRange& rows,
                     const TapRange& columns, int64_t c) {
  int64_t best = -1;
  for (int64_t h = rows.begin; h < rows.end; ++h) {
    for (int64_t w = columns.begin; w < columns.end; ++w) {
      const int64_t at = image + h * g.in[2] + w;
      if (best < 0 || x[best * g.channels + c] < x[at * g.channels + c]) best = at;
    }
  }
  return best;
}

Status WithArgmaxShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadAttrs(ctx.attrs()));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  const Shape& in = ctx.input(0);
  SM_ASSIGN_OR_RETURN(const Shape out, WindowOutputShape(attrs, in, in.known_rank() ? in[3] : -1));
  ctx.set_output(0, out);
  ctx.set_output(1, out);
  return Status();
}

StatusOr<KernelPtr> BuildWithArgmax(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadAttrs(build.attrs()));
  const bool with_batch = build.attrs().Bool("include_batch_in_index");
  return MakeKernel([attrs, with_batch](OpContext& ctx) -> Status {
    if (ctx.output(0).num_elements() == 0) return Status();
    SM_ASSIGN_OR_RETURN(const WindowGeometry g, ResolveWindow(attrs, ctx.input(0).shape()));
    int32_t* narrow = ctx.out<int32_t>(1);
    int64_t* wide = ctx.out<int64_t>(1);
    return VisitDType<kReals>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T* x = ctx.in<T>(0);
      T* y = ctx.out<T>(0);
      ForEachWindow(g, [&](int64_t pixel, int64_t image, TapRange rows, TapRange columns) {
        for (int64_t c = 0; c < g.channels; ++c) {
          const int64_t best = FirstMaximum(g, x, image, rows, columns, c);
          const int64_t at = pixel * g.channels + c;
          y[at] = best < 0 ? T(0) : x[best * g.channels + c];
          const int64_t index = best < 0 ? 0 : (best - (with_batch ? 0 : image)) * g.channels + c;
          if (wide != nullptr) {
            wide[at] = index;
          } else {
            narrow[at] = static_cast<int32_t>(index);
          }
        }
      });
      return Status();
    });
  });
}

// Adds each window's gradient to the pixel that was its maximum.
template <class T>
void MaxPoolGradient(const WindowGeometry& g, const T* x, const T* gradient, T* out) {
  std::fill_n(out, g.batch * g.in_pixels() * g.channels, T(0));
  ForEachWindow(g, [&](int64_t pixel, int64_t image, TapRange rows, TapRange columns) {
    for (int64_t c = 0; c < g.channels; ++c) {
      const int64_t best = FirstMaximum(g, x, image, rows, columns, c);
      if (best >= 0) {
        T& sum = out[best * g.channels + c];
        sum = static_cast<T>(sum + gradient[pixel * g.channels + c]);
      }
    }
  });
}

template <class T>
void AvgPoolGradient(const WindowGeometry& g, const T* gradient, T* out) {
  std::fill_n(out, g.batch * g.in_pixels() * g.channels, T(0));
  ForEachWindow(g, [&](int64_t pixel, int64_t image, TapRange rows, TapRange columns) {
    const float count = static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
    for (int64_t h = rows.begin; h < rows.end; ++h) {
      for (int64_t w = columns.begin; w < columns.end; ++w) {
        T* to = out + (image + h * g.in[2] + w) * g.channels;
        for (int64_t c = 0; c < g.channels; ++c)
          to[c] += gradient[pixel * g.channels + c] / T(count);
      }
    }
  });
}

// Checks the gradient's shape, and runs `run(geometry, inputs..., output)` on tensors with channels
// last; `inputs` are indices of inputs of the data format.
template <class F>
Status RunGradient(OpContext& ctx, const WindowAttrs& attrs, const Shape& input, int gradient,
                   std::vector<int> inputs, F&& run) {
  SM_ASSIGN_OR_RETURN(const Shape expected,
                      WindowOutputShape(attrs, input, input[attrs.channel_dim()]));
  SM_CHECK_ARG(ctx.input(gradient).shape() == expected, "the gradient has shape ",
               ctx.input(gradient).shape(), ", expected ", expected);
  SM_ASSIGN_OR_RETURN(const WindowGeometry g, ResolveWindow(attrs, input));
  if (ctx.output(0).num_elements() == 0) return Status();
  std::vector<Tensor> tensors;
  for (int i : inputs) {
    tensors.push_back(ctx.input(i));
    if (attrs.channels_first) {
      SM_ASSIGN_OR_RETURN(tensors.back(), ToChannelsLast(ctx, ctx.input(i)));
    }
  }
  if (!attrs.channels_first) return run(g, tensors, &ctx.output(0));
  SM_ASSIGN_OR_RETURN(Tensor out, ctx.AllocateTemp(ctx.output_dtype(0), ChannelsLastShape(input)));
  SM_RETURN_IF_ERROR(run(g, tensors, &out));
  return ToChannelsFirst(ctx, out, &ctx.output(0));
}

Status RunMaxPoolGrad(OpContext& ctx, const WindowAttrs& attrs) {
  const Shape& input = ctx.input(0).shape();
  SM_ASSIGN_OR_RETURN(const Shape output,
                      WindowOutputShape(attrs, input, input[attrs.channel_dim()]));
  SM_CHECK_ARG(ctx.input(1).shape() == output, "orig_output has shape ", ctx.input(1).shape(),
               ", expected ", output);
  return RunGradient(ctx, attrs, input, 2, {0, 2},
                     [&](const WindowGeometry& g, const std::vector<Tensor>& in, Tensor* out) {
                       return VisitDType<kReals>(in[0].dtype(), [&](auto tag) -> Status {
                         using T = typename decltype(tag)::type;
                         MaxPoolGradient(g, in[0].data<T>(), in[1].data<T>(),
                                         static_cast<T*>(out->raw_mutable_data()));
                         return Status();
                       });
                     });
}

Status MaxPoolGradShape(ShapeContext& ctx) {
  for (int i = 0; i < 3; ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 4));
  ctx.set_output(0, ctx.input(0));
  return Status();
}

StatusOr<KernelPtr> BuildMaxPoolGrad(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadAttrs(build.attrs()));
  return MakeKernel([attrs](OpContext& ctx) { return RunMaxPoolGrad(ctx, attrs); });
}

StatusOr<KernelPtr> BuildMaxPoolGradV2(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadWindowAttrs(build.attrs(), 2));
  return MakeKernel([attrs](OpContext& ctx) -> Status {
    WindowAttrs complete = attrs;
    SM_RETURN_IF_ERROR(SetWindow(ctx.IntsInput(3), &complete));
    SM_RETURN_IF_ERROR(SetStride(ctx.IntsInput(4), false, &complete));
    return RunMaxPoolGrad(ctx, complete);
  });
}

Status AvgPoolGradShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 4));
  std::vector<int64_t> dims;
  if (!ctx.IntValues(0, &dims)) {
    ctx.set_output(0, Shape::UnknownOfRank(4));
    return Status();
  }
  SM_CHECK_ARG(dims.size() == 4, "orig_input_shape has ", dims.size(), " values, expected 4");
  for (int64_t dim : dims) SM_CHECK_ARG(dim >= 0, "orig_input_shape has a negative value ", dim);
  SM_ASSIGN_OR_RETURN(Shape out, Shape::Make(dims));
  ctx.set_output(0, std::move(out));
  return Status();
}

StatusOr<KernelPtr> BuildAvgPoolGrad(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadAttrs(build.attrs()));
  return MakeKernel([attrs](OpContext& ctx) -> Status {
    const Shape input = ctx.output(0).shape();
    return RunGradient(ctx, attrs, input, 1, {1},
                       [&](const WindowGeometry& g, const std::vector<Tensor>& in, Tensor* out) {
                         return VisitDType<kFloats>(in[0].dtype(), [&](auto tag) -> Status {
                           using T = typename decltype(tag)::type;
                           AvgPoolGradient(g, in[0].data<T>(),
                                           static_cast<T*>(out->raw_mutable_data()));
                           return Status();
                         });
                       });
  });
}

#define SM_REAL_TYPES \
  "T: {float,double,int32,uint8,int16,int8,int64,bfloat16,uint16,half,uint32,uint64}"

constexpr OpDef kOps[] = {
    {.signature = "AvgPoolGrad(orig_input_shape: int32, grad: T) -> (output: T); "
                  "ksize: list(int) >= 4; strides: list(int) >= 4; padding: {'SAME','VALID'}; "
                  "data_format: {'NHWC','NCHW'} = 'NHWC'; T: {half,bfloat16,float,double}",
     .shape = AvgPoolGradShape,
     .build = BuildAvgPoolGrad},
    {.signature = "MaxPoolGrad(orig_input: T, orig_output: T, grad: T) -> (output: T); "
                  "ksize: list(int) >= 4; strides: list(int) >= 4; "
                  "padding: {'SAME','VALID','EXPLICIT'}; explicit_paddings: list(int) = []; "
                  "data_format: {'NHWC','NCHW'} = 'NHWC'; " SM_REAL_TYPES " = float",
     .shape = MaxPoolGradShape,
     .build = BuildMaxPoolGrad},
    {.signature = "MaxPoolGradV2(orig_input: T, orig_output: T, grad: T, ksize: int32, "
                  "strides: int32) -> (output: T); padding: {'SAME','VALID'}; "
                  "data_format: {'NHWC','NCHW'} = 'NHWC'; " SM_REAL_TYPES " = float",
     .shape = MaxPoolGradShape,
     .build = BuildMaxPoolGradV2},
    {.signature =
         "MaxPoolWithArgmax(input: T) -> (output: T, argmax: Targmax); "
         "ksize: list(int) >= 4; strides: list(int) >= 4; Targmax: {int32,int64} = "
         "int64; padding: {'SAME','VALID'}; include_batch_in_index: bool = false; " SM_REAL_TYPES,
     .shape = WithArgmaxShape,
     .build = BuildWithArgmax},
};
#undef SM_REAL_TYPES
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> PoolArgmaxOps() { return kOps; }

}  // namespace savedmodel
