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

StatusOr<WindowAttrs> ReadAttrs(const Attrs& list, int rank = 2) {
  SM_ASSIGN_OR_RETURN(WindowAttrs attrs, ReadWindowAttrs(list, rank));
  if (attrs.channel_window != 1 || attrs.channel_stride != 1) {
    return Unimplemented("pooling over the channel dimension");
  }
  return attrs;
}

// The input pixels of a window that are inside of its image.
struct Box {
  TapRange planes, rows, columns;

  int64_t num_pixels() const {
    return (planes.end - planes.begin) * (rows.end - rows.begin) * (columns.end - columns.begin);
  }
};

// Calls fn(output pixel, first input pixel of the image, box) for each window, in order.
template <class F>
void ForEachWindow(const WindowGeometry& g, F&& fn) {
  for (int64_t pixel = 0; pixel < g.batch * g.out_pixels(); ++pixel) {
    const int64_t place[] = {pixel / g.out[2] / g.out[1] % g.out[0], pixel / g.out[2] % g.out[1],
                             pixel % g.out[2]};
    TapRange ranges[3];
    for (int i = 0; i < 3; ++i) {
      const int64_t first = place[i] * g.stride[i] - g.before[i];
      ranges[i] = {std::max<int64_t>(0, first), std::min(g.in[i], first + g.window[i])};
    }
    fn(pixel, pixel / g.out_pixels() * g.in_pixels(), Box{ranges[0], ranges[1], ranges[2]});
  }
}

// Calls fn(input pixel) for those of a box, in order.
template <class F>
void ForEachPixel(const WindowGeometry& g, int64_t image, const Box& box, F&& fn) {
  for (int64_t d = box.planes.begin; d < box.planes.end; ++d) {
    for (int64_t h = box.rows.begin; h < box.rows.end; ++h) {
      for (int64_t w = box.columns.begin; w < box.columns.end; ++w) {
        fn(image + (d * g.in[1] + h) * g.in[2] + w);
      }
    }
  }
}

// The input pixel of the first maximum of channel c in a window; -1 for a window without pixels.
template <class T>
int64_t FirstMaximum(const WindowGeometry& g, const T* x, int64_t image, const Box& box,
                     int64_t c) {
  int64_t best = -1;
  ForEachPixel(g, image, box, [&](int64_t at) {
    if (best < 0 || x[best * g.channels + c] < x[at * g.channels + c]) best = at;
  });
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
      ForEachWindow(g, [&](int64_t pixel, int64_t image, const Box& box) {
        for (int64_t c = 0; c < g.channels; ++c) {
          const int64_t best = FirstMaximum(g, x, image, box, c);
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
  ForEachWindow(g, [&](int64_t pixel, int64_t image, const Box& box) {
    for (int64_t c = 0; c < g.channels; ++c) {
      const int64_t best = FirstMaximum(g, x, image, box, c);
      if (best >= 0) {
        T& sum = out[best * g.channels + c];
        sum = static_cast<T>(sum + gradient[pixel * g.channels + c]);
      }
    }
  });
}

// The same of volumes: to all pixels that have the largest value, which `y` says.
template <class T>
void MaxPool3dGradient(const WindowGeometry& g, const T* x, const T* y, const T* gradient, T* out) {
  std::fill_n(out, g.batch * g.in_pixels() * g.channels, T(0));
  ForEachWindow(g, [&](int64_t pixel, int64_t image, const Box& box) {
    const int64_t first = pixel * g.channels;
    ForEachPixel(g, image, box, [&](int64_t at) {
      for (int64_t c = 0; c < g.channels; ++c) {
        T& sum = out[at * g.channels + c];
        if (x[at * g.channels + c] == y[first + c]) sum = sum + gradient[first + c];
      }
    });
  });
}

template <class T>
void AvgPoolGradient(const WindowGeometry& g, const T* gradient, T* out) {
  std::fill_n(out, g.batch * g.in_pixels() * g.channels, T(0));
  ForEachWindow(g, [&](int64_t pixel, int64_t image, const Box& box) {
    const T count(static_cast<float>(box.num_pixels()));
    ForEachPixel(g, image, box, [&](int64_t at) {
      T* to = out + at * g.channels;
      for (int64_t c = 0; c < g.channels; ++c) to[c] += gradient[pixel * g.channels + c] / count;
    });
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

template <int rank>
Status RunMaxPoolGrad(OpContext& ctx, const WindowAttrs& attrs) {
  constexpr DTypeSet set = rank == 3 ? kSmallFloats | Only(DType::kFloat) : kReals;
  const Shape& input = ctx.input(0).shape();
  SM_ASSIGN_OR_RETURN(const Shape output,
                      WindowOutputShape(attrs, input, input[attrs.channel_dim()]));
  SM_CHECK_ARG(ctx.input(1).shape() == output, "orig_output has shape ", ctx.input(1).shape(),
               ", expected ", output);
  const std::vector<int> inputs = rank == 3 ? std::vector<int>{0, 1, 2} : std::vector<int>{0, 2};
  return RunGradient(ctx, attrs, input, 2, inputs,
                     [&](const WindowGeometry& g, const std::vector<Tensor>& in, Tensor* out) {
                       return VisitDType<set>(in[0].dtype(), [&](auto tag) -> Status {
                         using T = typename decltype(tag)::type;
                         const T *x = in[0].data<T>(), *gradient = in.back().data<T>();
                         T* const to = static_cast<T*>(out->raw_mutable_data());
                         if constexpr (rank == 3) {
                           MaxPool3dGradient(g, x, in[1].data<T>(), gradient, to);
                         } else {
                           MaxPoolGradient(g, x, gradient, to);
                         }
                         return Status();
                       });
                     });
}

template <int rank>
Status MaxPoolGradShape(ShapeContext& ctx) {
  for (int i = 0; i < 3; ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, rank + 2));
  ctx.set_output(0, ctx.input(0));
  return Status();
}

template <int rank>
StatusOr<KernelPtr> BuildMaxPoolGrad(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadAttrs(build.attrs(), rank));
  SM_CHECK_ARG(build.input_dtype(2) == build.input_dtype(0), "the gradient is ",
               build.input_dtype(2), " and orig_input ", build.input_dtype(0),
               ", expected the same");
  return MakeKernel([attrs](OpContext& ctx) { return RunMaxPoolGrad<rank>(ctx, attrs); });
}

StatusOr<KernelPtr> BuildMaxPoolGradV2(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadWindowAttrs(build.attrs(), 2));
  return MakeKernel([attrs](OpContext& ctx) -> Status {
    WindowAttrs complete = attrs;
    SM_RETURN_IF_ERROR(SetWindow(ctx.IntsInput(3), &complete));
    SM_RETURN_IF_ERROR(SetStride(ctx.IntsInput(4), false, &complete));
    return RunMaxPoolGrad<2>(ctx, complete);
  });
}

template <int rank>
Status AvgPoolGradShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, rank + 2));
  std::vector<int64_t> dims;
  if (!ctx.IntValues(0, &dims)) {
    ctx.set_output(0, Shape::UnknownOfRank(rank + 2));
    return Status();
  }
  SM_CHECK_ARG(dims.size() == rank + 2, "orig_input_shape has ", dims.size(), " values, expected ",
               rank + 2);
  for (int64_t dim : dims) SM_CHECK_ARG(dim >= 0, "orig_input_shape has a negative value ", dim);
  SM_ASSIGN_OR_RETURN(Shape out, Shape::Make(dims));
  ctx.set_output(0, std::move(out));
  return Status();
}

template <int rank>
StatusOr<KernelPtr> BuildAvgPoolGrad(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadAttrs(build.attrs(), rank));
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
    {.signature = "AvgPool3DGrad(orig_input_shape: int32, grad: T) -> (output: T); "
                  "ksize: list(int) >= 5; strides: list(int) >= 5; padding: {'SAME','VALID'}; "
                  "data_format: {'NDHWC','NCDHW'} = 'NDHWC'; T: {half,bfloat16,float,double}",
     .shape = AvgPoolGradShape<3>,
     .build = BuildAvgPoolGrad<3>},
    {.signature = "AvgPoolGrad(orig_input_shape: int32, grad: T) -> (output: T); "
                  "ksize: list(int) >= 4; strides: list(int) >= 4; padding: {'SAME','VALID'}; "
                  "data_format: {'NHWC','NCHW'} = 'NHWC'; T: {half,bfloat16,float,double}",
     .shape = AvgPoolGradShape<2>,
     .build = BuildAvgPoolGrad<2>},
    {.signature = "MaxPool3DGrad(orig_input: TInput, orig_output: TInput, grad: T) -> "
                  "(output: T); ksize: list(int) >= 5; strides: list(int) >= 5; "
                  "padding: {'SAME','VALID'}; data_format: {'NDHWC','NCDHW'} = 'NDHWC'; "
                  "T: {half,bfloat16,float} = float; TInput: {half,bfloat16,float} = float",
     .shape = MaxPoolGradShape<3>,
     .build = BuildMaxPoolGrad<3>},
    {.signature = "MaxPoolGrad(orig_input: T, orig_output: T, grad: T) -> (output: T); "
                  "ksize: list(int) >= 4; strides: list(int) >= 4; "
                  "padding: {'SAME','VALID','EXPLICIT'}; explicit_paddings: list(int) = []; "
                  "data_format: {'NHWC','NCHW'} = 'NHWC'; " SM_REAL_TYPES " = float",
     .shape = MaxPoolGradShape<2>,
     .build = BuildMaxPoolGrad<2>},
    {.signature = "MaxPoolGradV2(orig_input: T, orig_output: T, grad: T, ksize: int32, "
                  "strides: int32) -> (output: T); padding: {'SAME','VALID'}; "
                  "data_format: {'NHWC','NCHW'} = 'NHWC'; " SM_REAL_TYPES " = float",
     .shape = MaxPoolGradShape<2>,
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
