// Convolutions over two or three spatial dimensions, with groups.
#include <algorithm>
#include <memory>
#include <type_traits>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/conv_float.h"
#include "src/kernels/nn/layers.h"
#include "src/kernels/nn/narrow_conv.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/spatial.h"
#include "src/kernels/nn/winograd.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// Checks a filter [spatial..., in_channels / groups, out_channels] against the input, and takes the
// window from it.
Status TakeFilter(const Shape& input, const Shape& filter, WindowAttrs* attrs) {
  for (int i = attrs->first(); i < 3; ++i) attrs->window[i] = filter[i - attrs->first()];
  const int64_t depth = filter[attrs->rank], out_channels = filter[attrs->rank + 1];
  if (filter.fully_known()) {
    SM_CHECK_ARG(filter.num_elements() > 0, "the filter must not be empty, found ", filter);
  }
  if (!input.known_rank()) return Status();
  const int64_t channels = input[attrs->channel_dim()];
  if (channels < 0 || depth < 0) return Status();
  SM_CHECK_ARG(channels > 0 && depth > 0 && channels % depth == 0, "input ", input, " has ",
               channels, " channels, expected a multiple of the filter's depth ", depth,
               " (filter ", filter, ")");
  SM_CHECK_ARG(out_channels < 0 || out_channels % (channels / depth) == 0, "filter ", filter,
               " has ", out_channels, " output channels, expected a multiple of the ",
               channels / depth, " groups");
  return Status();
}

// `shape` with its leading `batch_dims` dimensions as one.
Shape WithOneBatch(const Shape& shape, int batch_dims) {
  if (batch_dims == 1 || !shape.known_rank()) return shape;
  std::vector<int64_t> dims = {1};
  for (int i = 0; i < shape.rank(); ++i) {
    if (i >= batch_dims) {
      dims.push_back(shape[i]);
    } else {
      const bool known = dims[0] >= 0 && shape[i] >= 0;
      if (!known || __builtin_mul_overflow(dims[0], shape[i], &dims[0])) dims[0] = -1;
    }
  }
  return Shape(dims);
}

Status ShapeOfConv(ShapeContext& ctx, WindowAttrs attrs, int batch_dims) {
  const int rank = attrs.rank;
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, rank + 1 + batch_dims));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, rank + 2));
  const Shape in = WithOneBatch(ctx.input(0), batch_dims), &filter = ctx.input(1);
  if (!filter.known_rank() || !in.known_rank()) {
    ctx.set_output(0, Shape::UnknownOfRank(rank + 1 + batch_dims));
    return Status();
  }
  SM_RETURN_IF_ERROR(TakeFilter(in, filter, &attrs));
  SM_ASSIGN_OR_RETURN(Shape out, WindowOutputShape(attrs, in, filter[rank + 1]));
  if (batch_dims != 1) {
    std::vector<int64_t> dims = ctx.input(0).ToVector();
    std::copy_n(&out.dims()[1], rank + 1, &dims[batch_dims]);
    SM_ASSIGN_OR_RETURN(out, Shape::Make(dims));
  }
  ctx.set_output(0, std::move(out));
  return Status();
}

template <int rank>
Status ConvShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadWindowAttrs(ctx.attrs(), rank));
  return ShapeOfConv(ctx, attrs, 1);
}

// The sum over one output pixel's window, added to `y` (all output channels).
template <class T>
void ConvPixel(const WindowGeometry& g, const T* image, const T* filter, int64_t depth,
               int64_t out_channels, const std::array<int64_t, 3>& start, T* y) {
  std::array<TapRange, 3> taps;
  for (int i = 0; i < 3; ++i) taps[i] = TapsInside(start[i], g.window[i], g.dilation[i], g.in[i]);
  const int64_t per_group = out_channels / (g.channels / depth);
  for (int64_t kd = taps[0].begin; kd < taps[0].end; ++kd) {
    for (int64_t kh = taps[1].begin; kh < taps[1].end; ++kh) {
      for (int64_t kw = taps[2].begin; kw < taps[2].end; ++kw) {
        const int64_t d = start[0] + kd * g.dilation[0], h = start[1] + kh * g.dilation[1],
                      w = start[2] + kw * g.dilation[2];
        const T* x = image + ((d * g.in[1] + h) * g.in[2] + w) * g.channels;
        const T* f = filter + ((kd * g.window[1] + kh) * g.window[2] + kw) * depth * out_channels;
        for (int64_t c = 0; c < g.channels; ++c) {
          const T* row = f + c % depth * out_channels + c / depth * per_group;
          T* sums = y + c / depth * per_group;
          for (int64_t o = 0; o < per_group; ++o) sums[o] += x[c] * row[o];
        }
      }
    }
  }
}

template <class T>
void ConvDirect(OpContext& ctx, const WindowGeometry& g, const T* x, const T* filter, int64_t depth,
                int64_t out_channels, T* y) {
  const double cost = 0.2 * static_cast<double>(g.taps()) * depth * out_channels;
  ctx.ParallelFor(g.batch * g.out_pixels(), cost, [&](int64_t begin, int64_t end) {
    for (int64_t pixel = begin; pixel < end; ++pixel) {
      const int64_t ow = pixel % g.out[2], oh = pixel / g.out[2] % g.out[1],
                    od = pixel / g.out[2] / g.out[1] % g.out[0];
      T* sums = y + pixel * out_channels;
      std::fill_n(sums, out_channels, T(0));
      ConvPixel(g, x + pixel / g.out_pixels() * g.in_pixels() * g.channels, filter, depth,
                out_channels,
                {od * g.stride[0] - g.before[0], oh * g.stride[1] - g.before[1],
                 ow * g.stride[2] - g.before[2]},
                sums);
    }
  });
}

}  // namespace

Status RunPlainConv(OpContext& ctx, const WindowGeometry& g, const Tensor& x, const Tensor& filter,
                    Tensor* y) {
  const Shape& f = filter.shape();
  return VisitDType<Only(DType::kDouble) | Only(DType::kInt32)>(x.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    // Unsigned arithmetic wraps around, as TensorFlow's does.
    using A = std::conditional_t<std::is_same_v<T, int32_t>, uint32_t, T>;
    ConvDirect(ctx, g, static_cast<const A*>(x.raw_data()),
               static_cast<const A*>(filter.raw_data()), f[f.rank() - 2], f[f.rank() - 1],
               static_cast<A*>(y->raw_mutable_data()));
    return Status();
  });
}

namespace {

// A node's attributes, fused steps and packed filter.
struct ConvNode {
  WindowAttrs attrs;
  int batch_dims = 1;
  std::vector<EpilogueStep> epilogue;
  PackedMatrices packed;
  WinogradTile winograd;
  bool narrow = false;
  int64_t joined = 1;      // groups, of `packed`
  bool is_scaled = false;  // input 2 is a factor for each output channel
};

Status RunConv(OpContext& ctx, const ConvNode& node) {
  if (ctx.output(0).num_elements() == 0) return Status();
  WindowAttrs attrs = node.attrs;
  const Shape shape = WithOneBatch(ctx.input(0).shape(), node.batch_dims);
  const Shape& f = ctx.input(1).shape();
  SM_RETURN_IF_ERROR(TakeFilter(shape, f, &attrs));
  SM_ASSIGN_OR_RETURN(const WindowGeometry g, ResolveWindow(attrs, shape));
  Epilogue epilogue;
  SM_RETURN_IF_ERROR(epilogue.Resolve(ctx, node.epilogue, ctx.output(0).shape()));
  return RunAsPlain(ctx, attrs.channels_first, 0, 1,
                    [&](const Tensor& x, const Tensor& filter, Tensor* y) -> Status {
                      if (x.dtype() != DType::kFloat) return RunPlainConv(ctx, g, x, filter, y);
                      const int64_t depth = f[f.rank() - 2];
                      const float* scale = node.is_scaled ? ctx.in<float>(2) : nullptr;
                      const FloatFilter weights{.data = filter.data<float>(),
                                                .scale = scale,
                                                .taps = g.taps(),
                                                .depth = depth,
                                                .out_channels = f[f.rank() - 1],
                                                .groups = g.channels / depth,
                                                .packed = node.packed,
                                                .winograd = node.winograd,
                                                .narrow = node.narrow,
                                                .joined = node.joined};
                      return RunFloatConv(ctx, g, weights, x.data<float>(), epilogue,
                                          static_cast<float*>(y->raw_mutable_data()));
                    });
}

// The constant filter [rows, columns, in, out], input 1 of the node, for RunNarrow.
StatusOr<PackedMatrices> PackNarrowFilter(BuildContext& build, const Tensor* scale) {
  const Tensor& filter = *build.constant_input(1);
  const Shape& f = filter.shape();
  SM_ASSIGN_OR_RETURN(const ColumnScale columns, ColumnScale::Of(filter, scale));
  return ShareMatrices(
      build, 1, "narrow convolution" + columns.key, [&]() -> StatusOr<std::vector<PackedMatrix>> {
        std::vector<PackedMatrix> packed(1);
        SM_ASSIGN_OR_RETURN(packed[0], PackNarrow(filter.data<float>(), f[0] * f[1], f[2] * f[3],
                                                  f[2], f[3], f[3], 1, columns.data));
        return packed;
      });
}

// Packs a constant filter for the way that suits the shapes, as far as they are known.
Status Pack(BuildContext& build, const Tensor& filter, int64_t groups, ConvNode* node) {
  const Tensor* scale = node->is_scaled ? build.constant_input(2) : nullptr;
  if (node->is_scaled && scale == nullptr) return Status();
  const Shape& f = filter.shape();
  node->narrow = filter.dtype() == DType::kFloat && f.rank() == 4 && groups == 1 &&
                 node->attrs.stride == std::array<int64_t, 3>{1, 1, 1} &&
                 SuitsNarrow(f[0] * f[1], f[2], f[3]);
  if (node->narrow) {
    SM_ASSIGN_OR_RETURN(node->packed, PackNarrowFilter(build, scale));
    return Status();
  }
  // Nothing depends on the batch.
  const Shape input = WithOneBatch(build.input_shape(0), node->batch_dims).WithDim(0, 1);
  if (filter.dtype() == DType::kFloat && input.fully_known() && input.num_elements() > 0) {
    WindowAttrs attrs = node->attrs;
    SM_RETURN_IF_ERROR(TakeFilter(input, f, &attrs));
    SM_ASSIGN_OR_RETURN(const WindowGeometry g, ResolveWindow(attrs, input));
    if (Vectors().all_finite(filter.data<float>(), filter.num_elements())) {
      node->winograd = FindWinogradTile(g, f[f.rank() - 1], groups);
      // Plain products of int8 are quicker; those of bfloat16 than all but the largest tiles'.
      const Precision precision = build.precision();
      const bool is_quicker = precision == Precision::kInt8 || node->winograd.frequencies() < 36;
      if (Reduced(precision) != nullptr && is_quicker) node->winograd = {};
    }
  }
  if (node->winograd) {
    SM_ASSIGN_OR_RETURN(node->packed, PackWinogradFilter(build, node->winograd, scale, groups));
  } else {
    SM_ASSIGN_OR_RETURN(node->packed, PackFilter(build, 1, scale, groups));
    if (node->packed != nullptr) {
      node->joined = groups / static_cast<int64_t>(node->packed->size());
    }
  }
  return Status();
}

StatusOr<KernelPtr> BuildNode(BuildContext& build, ConvNode node) {
  const int rank = node.attrs.rank;
  node.epilogue.assign(build.epilogue().begin(), build.epilogue().end());
  const Tensor* filter = build.constant_input(1);
  const Shape input = WithOneBatch(build.input_shape(0), node.batch_dims);
  // The number of groups, which packing depends on, follows from the input's channels.
  if (filter != nullptr && filter->shape().rank() == rank + 2 && input.rank() == rank + 2) {
    const int64_t channels = input[node.attrs.channel_dim()], depth = filter->shape()[rank];
    if (channels > 0 && depth > 0 && channels % depth == 0 &&
        filter->shape()[rank + 1] % (channels / depth) == 0) {
      SM_RETURN_IF_ERROR(Pack(build, *filter, channels / depth, &node));
    }
  }
  return MakeKernel([node](OpContext& ctx) { return RunConv(ctx, node); },
                    node.narrow     ? "sums of taps"
                    : node.winograd ? DebugString(node.winograd)
                                    : DebugString(node.packed));
}

template <int rank, bool is_scaled = false>
StatusOr<KernelPtr> BuildConv(BuildContext& build) {
  ConvNode node;
  node.is_scaled = is_scaled;
  SM_ASSIGN_OR_RETURN(node.attrs, ReadWindowAttrs(build.attrs(), rank));
  return BuildNode(build, std::move(node));
}

// Of Conv, which is for images of any number of spatial dimensions, the attributes as Conv2D's or
// Conv3D's.
StatusOr<ConvNode> ReadGeneric(const Attrs& list) {
  ConvNode node;
  if (list.Int("groups") != 1) return Unimplemented("a Conv of ", list.Int("groups"), " groups");
  const int64_t batch_dims = list.Int("batch_dims");
  SM_CHECK_ARG(batch_dims >= 0 && batch_dims < Shape::kMaxRank, "batch_dims is ", batch_dims);
  node.batch_dims = static_cast<int>(batch_dims);
  const size_t rank = list.Ints("strides").size() - 2;
  SM_CHECK_ARG(rank == 2 || rank == 3, "strides are ", list.Ints("strides"),
               ", expected those of 2 or 3 spatial dimensions, batch and channels");
  Attrs plain = list;
  if (list.Ints("dilations").empty()) plain.Set("dilations", std::vector<int64_t>(rank + 2, 1));
  plain.Set("data_format", std::string("NHWC"));
  if (list.String("data_format") == "CHANNELS_FIRST") {
    if (batch_dims != 1) return Unimplemented("CHANNELS_FIRST with batch_dims ", batch_dims);
    plain.Set("data_format", std::string("NCHW"));
  }
  SM_ASSIGN_OR_RETURN(node.attrs, ReadWindowAttrs(plain, static_cast<int>(rank)));
  return node;
}

Status GenericConvShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(const ConvNode node, ReadGeneric(ctx.attrs()));
  const Shape &in = ctx.input(0), &filter = ctx.input(1);
  SM_RETURN_IF_ERROR(ShapeOfConv(ctx, node.attrs, node.batch_dims));
  if (!in.known_rank() || !filter.known_rank()) return Status();
  const int64_t channels = in[node.attrs.channels_first ? 1 : in.rank() - 1];
  SM_CHECK_ARG(channels < 0 || filter[node.attrs.rank] < 0 || channels == filter[node.attrs.rank],
               "input ", in, " has ", channels, " channels, filter ", filter, " takes ",
               filter[node.attrs.rank]);
  return Status();
}

StatusOr<KernelPtr> BuildGeneric(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(ConvNode node, ReadGeneric(build.attrs()));
  return BuildNode(build, std::move(node));
}

}  // namespace

Status Conv2DShape(ShapeContext& ctx) { return ConvShape<2>(ctx); }
StatusOr<KernelPtr> BuildConv2D(BuildContext& build) { return BuildConv<2>(build); }

namespace {

Status ScaledConv2DShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 1));
  const Shape &filter = ctx.input(1), &scale = ctx.input(2);
  if (filter.fully_known() && filter.rank() == 4 && scale.fully_known()) {
    SM_CHECK_ARG(scale[0] == filter[3], "found a scale of shape ", scale, " for filter ", filter);
  }
  return ConvShape<2>(ctx);
}

constexpr OpDef kOps[] = {
    {.signature = "Conv(input: T, filter: T) -> (output: T); "
                  "T: {half,bfloat16,float,double,int32}; strides: list(int); "
                  "padding: {'SAME','VALID','EXPLICIT'}; explicit_paddings: list(int) = []; "
                  "data_format: {'CHANNELS_FIRST','CHANNELS_LAST'} = 'CHANNELS_LAST'; "
                  "dilations: list(int) = []; batch_dims: int = 1; groups: int = 1",
     .shape = GenericConvShape,
     .build = BuildGeneric,
     .fusion = {.accepts_epilogue = true}},
    {.signature = "Conv2D(input: T, filter: T) -> (output: T); "
                  "T: {half,bfloat16,float,double,int32}; strides: list(int); "
                  "use_cudnn_on_gpu: bool = true; padding: {'SAME','VALID','EXPLICIT'}; "
                  "explicit_paddings: list(int) = []; data_format: {'NHWC','NCHW'} = 'NHWC'; "
                  "dilations: list(int) = [1, 1, 1, 1]",
     .shape = Conv2DShape,
     .build = BuildConv2D,
     .fusion = {.accepts_epilogue = true},
     .per_example = true},
    {.signature = "Conv3D(input: T, filter: T) -> (output: T); T: {half,bfloat16,float,double}; "
                  "strides: list(int) >= 5; padding: {'SAME','VALID'}; "
                  "data_format: {'NDHWC','NCDHW'} = 'NDHWC'; "
                  "dilations: list(int) = [1, 1, 1, 1, 1]",
     .shape = ConvShape<3>,
     .build = BuildConv<3>,
     .fusion = {.accepts_epilogue = true},
     .per_example = true},
    {.signature = "_ScaledConv2D(input: float, filter: float, scale: float) -> (output: float); "
                  "strides: list(int); padding: {'SAME','VALID','EXPLICIT'}; "
                  "explicit_paddings: list(int) = []; data_format: {'NHWC','NCHW'} = 'NHWC'; "
                  "dilations: list(int) = [1, 1, 1, 1]",
     .shape = ScaledConv2DShape,
     .build = BuildConv<2, true>,
     .fusion = {.accepts_epilogue = true},
     .per_example = true},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ConvOps() { return kOps; }

}  // namespace savedmodel
