// Gradients of convolutions with respect to their input (transposed convolution) and filter.
#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/conv_transposed.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/spatial.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// Sizes of a convolution whose gradient is asked for.
struct Backprop {
  WindowGeometry g;
  int64_t depth = 0;  // of the filter: input channels of a group
  int64_t out_channels = 0;
};

// Checks that a convolution of `input` with `filter` has outputs of shape `gradient`.
StatusOr<Backprop> ResolveBackprop(const WindowAttrs& parsed, const Shape& input,
                                   const Shape& filter, const Shape& gradient, bool depthwise) {
  WindowAttrs attrs = parsed;
  for (int i = attrs.first(); i < 3; ++i) attrs.window[i] = filter[i - attrs.first()];
  SM_CHECK_ARG(filter.num_elements() > 0, "the filter must not be empty, found ", filter);
  SM_ASSIGN_OR_RETURN(const WindowGeometry g, ResolveWindow(attrs, input));
  Backprop b{g, filter[attrs.rank], filter[attrs.rank + 1]};
  if (depthwise) {
    SM_CHECK_ARG(b.depth == g.channels, "input ", input, " and filter ", filter,
                 " disagree on channels");
    b.out_channels *= b.depth;
  } else {
    SM_CHECK_ARG(b.depth > 0 && g.channels % b.depth == 0 && g.channels > 0 &&
                     b.out_channels % (g.channels / b.depth) == 0,
                 "input ", input, " and filter ", filter, " disagree on channels");
  }
  std::vector<int64_t> expected = input.ToVector();
  for (int i = attrs.first(); i < 3; ++i) expected[attrs.spatial_dim(i)] = g.out[i];
  expected[attrs.channel_dim()] = b.out_channels;
  SM_CHECK_ARG(gradient == Shape(expected), "out_backprop has shape ", gradient, ", expected ",
               Shape(expected), " for input ", input, " and filter ", filter);
  return b;
}

// The shape that integer input `i` holds, or whose spatial dimensions it holds (then batch and
// channels are the gradient's and the filter's). Not fully known while the value is not.
StatusOr<Shape> ShapeFromSizes(const ShapeContext& ctx, int i, const WindowAttrs& attrs) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 1));
  std::vector<int64_t> sizes;
  if (!ctx.IntValues(i, &sizes)) return Shape::UnknownOfRank(attrs.rank + 2);
  const Shape &filter = ctx.input(1), &gradient = ctx.input(2);
  if (static_cast<int>(sizes.size()) == attrs.rank && attrs.rank == 2) {
    const int64_t batch = gradient.known_rank() ? gradient[0] : -1;
    const int64_t channels = filter.known_rank() ? filter[attrs.rank] : -1;
    sizes = attrs.channels_first ? std::vector<int64_t>{batch, channels, sizes[0], sizes[1]}
                                 : std::vector<int64_t>{batch, sizes[0], sizes[1], channels};
    return Shape::Make(sizes);
  }
  SM_CHECK_ARG(static_cast<int>(sizes.size()) == attrs.rank + 2, "input_sizes has ", sizes.size(),
               " values, expected ", attrs.rank + 2);
  for (int64_t size : sizes) SM_CHECK_ARG(size >= 0, "input_sizes has a negative value ", size);
  return Shape::Make(sizes);
}

// ------------------------------------------------------------------------------ plain versions

// Calls fn(input pixel, tap, output pixel) for every tap of every window that is inside the input,
// for images [begin, end).
template <class F>
void ForEachTap(const WindowGeometry& g, int64_t begin, int64_t end, F&& fn) {
  for (int64_t pixel = begin * g.out_pixels(); pixel < end * g.out_pixels(); ++pixel) {
    const std::array<int64_t, 3> at = {pixel / g.out[2] / g.out[1] % g.out[0],
                                       pixel / g.out[2] % g.out[1], pixel % g.out[2]};
    std::array<int64_t, 3> start;
    std::array<TapRange, 3> taps;
    for (int i = 0; i < 3; ++i) {
      start[i] = at[i] * g.stride[i] - g.before[i];
      taps[i] = TapsInside(start[i], g.window[i], g.dilation[i], g.in[i]);
    }
    const int64_t image = pixel / g.out_pixels() * g.in[0];
    for (int64_t kd = taps[0].begin; kd < taps[0].end; ++kd) {
      for (int64_t kh = taps[1].begin; kh < taps[1].end; ++kh) {
        for (int64_t kw = taps[2].begin; kw < taps[2].end; ++kw) {
          const int64_t d = start[0] + kd * g.dilation[0], h = start[1] + kh * g.dilation[1],
                        w = start[2] + kw * g.dilation[2];
          fn(((image + d) * g.in[1] + h) * g.in[2] + w, (kd * g.window[1] + kh) * g.window[2] + kw,
             pixel);
        }
      }
    }
  }
}

template <class T>
void PlainInputGradient(OpContext& ctx, const Backprop& b, const T* gradient, const T* filter,
                        T* out) {
  const WindowGeometry& g = b.g;
  const int64_t image = g.in_pixels() * g.channels;
  const int64_t per_group = b.out_channels / (g.channels / b.depth);
  const double cost = 0.5 * static_cast<double>(g.out_pixels()) * g.taps() * b.depth *
                      static_cast<double>(b.out_channels);
  ctx.ParallelFor(g.batch, cost, [&](int64_t begin, int64_t end) {
    std::fill(out + begin * image, out + end * image, T(0));
    ForEachTap(g, begin, end, [&](int64_t in_pixel, int64_t tap, int64_t pixel) {
      T* to = out + in_pixel * g.channels;
      for (int64_t c = 0; c < g.channels; ++c) {
        const int64_t first = c / b.depth * per_group;
        const T* from = gradient + pixel * b.out_channels + first;
        const T* f = filter + (tap * b.depth + c % b.depth) * b.out_channels + first;
        T sum = T(0);
        for (int64_t o = 0; o < per_group; ++o) sum += from[o] * f[o];
        to[c] += sum;
      }
    });
  });
}

template <class T>
void PlainFilterGradient(const Backprop& b, const T* x, const T* gradient, T* out) {
  const WindowGeometry& g = b.g;
  const int64_t per_group = b.out_channels / (g.channels / b.depth);
  std::fill_n(out, g.taps() * b.depth * b.out_channels, T(0));
  ForEachTap(g, 0, g.batch, [&](int64_t in_pixel, int64_t tap, int64_t pixel) {
    for (int64_t c = 0; c < g.channels; ++c) {
      const int64_t first = c / b.depth * per_group;
      const T value = x[in_pixel * g.channels + c];
      const T* from = gradient + pixel * b.out_channels + first;
      T* to = out + (tap * b.depth + c % b.depth) * b.out_channels + first;
      for (int64_t o = 0; o < per_group; ++o) to[o] += value * from[o];
    }
  });
}

template <class T>
void DepthwiseInputGradient(const Backprop& b, const T* gradient, const T* filter, T* out) {
  const WindowGeometry& g = b.g;
  const int64_t multiplier = b.out_channels / g.channels;
  std::fill_n(out, g.batch * g.in_pixels() * g.channels, T(0));
  ForEachTap(g, 0, g.batch, [&](int64_t in_pixel, int64_t tap, int64_t pixel) {
    for (int64_t o = 0; o < b.out_channels; ++o) {
      out[in_pixel * g.channels + o / multiplier] +=
          gradient[pixel * b.out_channels + o] * filter[tap * b.out_channels + o];
    }
  });
}

template <class T>
void DepthwiseFilterGradient(const Backprop& b, const T* x, const T* gradient, T* out) {
  const WindowGeometry& g = b.g;
  const int64_t multiplier = b.out_channels / g.channels;
  std::fill_n(out, g.taps() * b.out_channels, T(0));
  ForEachTap(g, 0, g.batch, [&](int64_t in_pixel, int64_t tap, int64_t pixel) {
    for (int64_t o = 0; o < b.out_channels; ++o) {
      out[tap * b.out_channels + o] +=
          x[in_pixel * g.channels + o / multiplier] * gradient[pixel * b.out_channels + o];
    }
  });
}

// ------------------------------------------------------------------------------------ the ops

// Sums of halves are rounded at each step where TensorFlow's are: in two dimensions.
constexpr DTypeSet kPlainTypes = kFloatDouble | Only(DType::kInt32) | Only(DType::kHalf);

struct BackpropNode {
  WindowAttrs attrs;
  bool depthwise = false;
  std::vector<EpilogueStep> epilogue;              // of floats only
  std::shared_ptr<const TransposedFilter> packed;  // null: packed in each run
};

// Channels last, any of the plain types.
Status RunInputGradient(OpContext& ctx, const BackpropNode& node, const Backprop& b,
                        const Tensor& gradient, const Tensor& filter, Tensor* out) {
  Epilogue epilogue;
  SM_RETURN_IF_ERROR(epilogue.Resolve(ctx, node.epilogue, ctx.output(0).shape()));
  if (gradient.dtype() == DType::kFloat && !node.depthwise && b.depth == b.g.channels) {
    float* to = static_cast<float*>(out->raw_mutable_data());
    const float* from = gradient.data<float>();
    if (node.packed != nullptr) return node.packed->Run(ctx, b.g, from, epilogue, to);
    WindowAttrs attrs = node.attrs;
    attrs.window = b.g.window;
    SM_ASSIGN_OR_RETURN(const TransposedFilter packed, TransposedFilter::Pack(attrs, filter));
    return packed.Run(ctx, b.g, from, epilogue, to);
  }
  SM_RETURN_IF_ERROR(VisitDType<kPlainTypes>(gradient.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    using A = std::conditional_t<std::is_same_v<T, int32_t>, uint32_t, T>;
    const A* from = static_cast<const A*>(gradient.raw_data());
    const A* f = static_cast<const A*>(filter.raw_data());
    A* to = static_cast<A*>(out->raw_mutable_data());
    if (node.depthwise) {
      DepthwiseInputGradient(b, from, f, to);
    } else {
      PlainInputGradient(ctx, b, from, f, to);
    }
    return Status();
  }));
  if (gradient.dtype() == DType::kFloat) {
    epilogue.ApplyTo(ctx, static_cast<float*>(out->raw_mutable_data()), out->num_elements(),
                     b.g.channels);
  }
  return Status();
}

StatusOr<KernelPtr> BuildInputGradient(BuildContext& build, int rank, bool depthwise) {
  BackpropNode node{.depthwise = depthwise};
  SM_ASSIGN_OR_RETURN(node.attrs, ReadWindowAttrs(build.attrs(), rank));
  node.epilogue.assign(build.epilogue().begin(), build.epilogue().end());
  const Tensor* filter = build.constant_input(1);
  if (filter != nullptr && filter->dtype() == DType::kFloat && !depthwise &&
      filter->shape().rank() == rank + 2 && filter->num_elements() > 0) {
    WindowAttrs attrs = node.attrs;
    std::string kind = "transposed convolution";
    for (int i = attrs.first(); i < 3; ++i) {
      attrs.window[i] = filter->shape()[i - attrs.first()];
      kind += StrCat(" ", attrs.stride[i], "/", attrs.dilation[i]);
    }
    SM_ASSIGN_OR_RETURN(const std::shared_ptr<const void> packed,
                        build.Packed(*filter, kind, [&]() -> StatusOr<std::shared_ptr<const void>> {
                          SM_ASSIGN_OR_RETURN(TransposedFilter made,
                                              TransposedFilter::Pack(attrs, *filter));
                          return std::shared_ptr<const void>(
                              std::make_shared<const TransposedFilter>(std::move(made)));
                        }));
    node.packed = std::static_pointer_cast<const TransposedFilter>(packed);
  }
  const std::string description = node.packed == nullptr ? "" : node.packed->DebugString();
  const auto run = [node](OpContext& ctx) -> Status {
    if (ctx.output(0).num_elements() == 0) return Status();
    SM_ASSIGN_OR_RETURN(const Backprop b,
                        ResolveBackprop(node.attrs, ctx.output(0).shape(), ctx.input(1).shape(),
                                        ctx.input(2).shape(), node.depthwise));
    if (ctx.input(2).dtype() == DType::kHalf && node.attrs.rank == 2 &&
        !node.attrs.channels_first) {
      return RunInputGradient(ctx, node, b, ctx.input(2), ctx.input(1), &ctx.output(0));
    }
    return RunAsPlain(ctx, node.attrs.channels_first, 2, 1,
                      [&](const Tensor& gradient, const Tensor& filter, Tensor* out) {
                        return RunInputGradient(ctx, node, b, gradient, filter, out);
                      });
  };
  return MakeKernel(run, description);
}

template <int rank, bool depthwise>
StatusOr<KernelPtr> BuildInput(BuildContext& build) {
  return BuildInputGradient(build, rank, depthwise);
}

template <int rank, bool depthwise>
Status InputShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadWindowAttrs(ctx.attrs(), rank));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, rank + 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, rank + 2));
  SM_ASSIGN_OR_RETURN(Shape out, ShapeFromSizes(ctx, 0, attrs));
  if (out.fully_known() && ctx.input(1).fully_known() && ctx.input(2).fully_known()) {
    SM_RETURN_IF_ERROR(ResolveBackprop(attrs, out, ctx.input(1), ctx.input(2), depthwise).status());
  }
  ctx.set_output(0, std::move(out));
  return Status();
}

// Conv3DBackpropInput: input 0 has the shape itself.
Status InputShapeOf(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 5));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 5));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 5));
  ctx.set_output(0, ctx.input(0));
  return Status();
}

template <int rank>
Status FilterShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, rank + 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, rank + 2));
  std::vector<int64_t> sizes;
  if (!ctx.IntValues(1, &sizes)) {
    ctx.set_output(0, Shape::UnknownOfRank(rank + 2));
    return Status();
  }
  SM_CHECK_ARG(static_cast<int>(sizes.size()) == rank + 2, "filter_sizes has ", sizes.size(),
               " values, expected ", rank + 2);
  for (int64_t size : sizes) SM_CHECK_ARG(size >= 0, "filter_sizes has a negative value ", size);
  SM_ASSIGN_OR_RETURN(Shape out, Shape::Make(sizes));
  ctx.set_output(0, std::move(out));
  return Status();
}

// Channels last, half, float or double.
Status RunFilterGradient(bool depthwise, const Backprop& b, const Tensor& x, const Tensor& gradient,
                         Tensor* out) {
  return VisitDType<kFloatDouble | Only(DType::kHalf)>(x.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* to = static_cast<T*>(out->raw_mutable_data());
    if (depthwise) {
      DepthwiseFilterGradient(b, x.data<T>(), gradient.data<T>(), to);
    } else {
      PlainFilterGradient(b, x.data<T>(), gradient.data<T>(), to);
    }
    return Status();
  });
}

template <int rank, bool depthwise>
StatusOr<KernelPtr> BuildFilter(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadWindowAttrs(build.attrs(), rank));
  return MakeKernel([attrs](OpContext& ctx) -> Status {
    if (ctx.output(0).num_elements() == 0) return Status();
    SM_ASSIGN_OR_RETURN(const Backprop b,
                        ResolveBackprop(attrs, ctx.input(0).shape(), ctx.output(0).shape(),
                                        ctx.input(2).shape(), depthwise));
    Tensor x = ctx.input(0), gradient = ctx.input(2);
    if (attrs.channels_first) {
      SM_ASSIGN_OR_RETURN(x, ToChannelsLast(ctx, x));
      SM_ASSIGN_OR_RETURN(gradient, ToChannelsLast(ctx, gradient));
    }
    if (x.dtype() != DType::kBFloat16) {
      return RunFilterGradient(depthwise, b, x, gradient, &ctx.output(0));
    }
    SM_ASSIGN_OR_RETURN(x, WidenToFloat(ctx, x));
    SM_ASSIGN_OR_RETURN(gradient, WidenToFloat(ctx, gradient));
    SM_ASSIGN_OR_RETURN(Tensor wide, ctx.AllocateTemp(DType::kFloat, ctx.output(0).shape()));
    SM_RETURN_IF_ERROR(RunFilterGradient(depthwise, b, x, gradient, &wide));
    NarrowFromFloat(ctx, wide.data<float>(), &ctx.output(0));
    return Status();
  });
}

#define SM_2D                                                                  \
  "strides: list(int); padding: {'SAME','VALID','EXPLICIT'}; "                 \
  "explicit_paddings: list(int) = []; data_format: {'NHWC','NCHW'} = 'NHWC'; " \
  "dilations: list(int) = [1, 1, 1, 1]"
#define SM_3D                                            \
  "strides: list(int) >= 5; padding: {'SAME','VALID'}; " \
  "data_format: {'NDHWC','NCDHW'} = 'NDHWC'; dilations: list(int) = [1, 1, 1, 1, 1]"

constexpr OpDef kOps[] = {
    {.signature =
         "Conv2DBackpropFilter(input: T, filter_sizes: int32, out_backprop: T) -> "
         "(output: T); T: {half,bfloat16,float,double}; use_cudnn_on_gpu: bool = true; " SM_2D,
     .shape = FilterShape<2>,
     .build = BuildFilter<2, false>},
    {.signature = "Conv2DBackpropInput(input_sizes: int32, filter: T, out_backprop: T) -> "
                  "(output: T); T: {half,bfloat16,float,double,int32}; "
                  "use_cudnn_on_gpu: bool = true; " SM_2D,
     .shape = InputShape<2, false>,
     .build = BuildInput<2, false>,
     .fusion = {.accepts_epilogue = true},
     .per_example = true},
    {.signature = "Conv3DBackpropFilterV2(input: T, filter_sizes: int32, out_backprop: T) -> "
                  "(output: T); T: {half,bfloat16,float,double}; " SM_3D,
     .shape = FilterShape<3>,
     .build = BuildFilter<3, false>},
    {.signature = "Conv3DBackpropInput(input: T, filter: T, out_backprop: T) -> (output: T); "
                  "T: {half,float,double}; strides: list(int) >= 5; padding: {'SAME','VALID'}; "
                  "dilations: list(int) = [1, 1, 1, 1, 1]",
     .shape = InputShapeOf,
     .build = BuildInput<3, false>,
     .fusion = {.accepts_epilogue = true}},
    {.signature =
         "Conv3DBackpropInputV2(input_sizes: Tshape, filter: T, out_backprop: T) -> "
         "(output: T); T: {half,bfloat16,float,double}; Tshape: {int32,int64} = int32; " SM_3D,
     .shape = InputShape<3, false>,
     .build = BuildInput<3, false>,
     .fusion = {.accepts_epilogue = true},
     .per_example = true},
    {.signature = "DepthwiseConv2dNativeBackpropFilter(input: T, filter_sizes: int32, "
                  "out_backprop: T) -> (output: T); T: {half,bfloat16,float,double}; " SM_2D,
     .shape = FilterShape<2>,
     .build = BuildFilter<2, true>},
    {.signature = "DepthwiseConv2dNativeBackpropInput(input_sizes: int32, filter: T, "
                  "out_backprop: T) -> (output: T); T: {half,bfloat16,float,double}; " SM_2D,
     .shape = InputShape<2, true>,
     .build = BuildInput<2, true>},
};
#undef SM_2D
#undef SM_3D
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ConvBackpropOps() { return kOps; }

}  // namespace savedmodel
