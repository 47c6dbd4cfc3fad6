// Windows: attributes, sizes, data formats.
#include "src/kernels/nn/spatial.h"

#include <vector>

#include "src/graph/shape_fns.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// Windows and images beyond this are refused, so that products of a few sizes cannot overflow.
constexpr int64_t kLargest = int64_t{1} << 31;

Status ExpectLength(Span<const int64_t> list, int rank, const char* what) {
  SM_CHECK_ARG(static_cast<int>(list.size()) == rank + 2, what, " has ", list.size(),
               " values, expected ", rank + 2);
  return Status();
}

Status ReadDilations(const Attrs& list, WindowAttrs* attrs) {
  const std::vector<int64_t>& dilations = list.Ints("dilations");
  SM_RETURN_IF_ERROR(ExpectLength(dilations, attrs->rank, "dilations"));
  SM_CHECK_ARG(dilations[0] == 1 && dilations[attrs->channel_dim()] == 1,
               "dilations of batch and channels must be 1, found ", dilations);
  for (int i = attrs->first(); i < 3; ++i) {
    attrs->dilation[i] = dilations[attrs->spatial_dim(i)];
    SM_CHECK_ARG(attrs->dilation[i] > 0 && attrs->dilation[i] < kLargest,
                 "dilations must be positive, found ", dilations);
  }
  return Status();
}

// Output size and leading padding of dimension `i`.
StatusOr<shape::WindowSize> OutputSize(const WindowAttrs& attrs, int i, int64_t input) {
  return shape::WindowOutput(input, attrs.window[i], attrs.dilation[i], attrs.stride[i],
                             attrs.padding, attrs.before[i], attrs.after[i]);
}

// Transposes [batch][rows][columns] to [batch][columns][rows], in blocks that fit the cache.
template <class T>
void TransposeMatrices(OpContext& ctx, const T* in, T* out, int64_t batch, int64_t rows,
                       int64_t columns) {
  constexpr int64_t kBlock = 16;
  const int64_t blocks = (rows + kBlock - 1) / kBlock;
  ctx.ParallelFor(batch * blocks, 1.0 * kBlock * columns, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t r0 = b % blocks * kBlock, r1 = std::min(rows, r0 + kBlock);
      const T* from = in + b / blocks * rows * columns;
      T* to = out + b / blocks * rows * columns;
      for (int64_t c = 0; c < columns; ++c) {
        for (int64_t r = r0; r < r1; ++r) to[c * rows + r] = from[r * columns + c];
      }
    }
  });
}

Status TransposeInto(OpContext& ctx, const Tensor& t, int64_t rows, int64_t columns, Tensor* out) {
  if (t.num_elements() == 0) return Status();
  return VisitByElementSize(t.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    TransposeMatrices(ctx, static_cast<const T*>(t.raw_data()),
                      static_cast<T*>(out->raw_mutable_data()), t.shape()[0], rows, columns);
    return Status();
  });
}

}  // namespace

Status SetWindow(Span<const int64_t> ksize, WindowAttrs* attrs) {
  SM_RETURN_IF_ERROR(ExpectLength(ksize, attrs->rank, "ksize"));
  for (int64_t k : ksize) {
    SM_CHECK_ARG(k > 0 && k < kLargest, "ksize must be positive, found ", k);
  }
  if (ksize[0] != 1) return Unimplemented("pooling over the batch dimension");
  attrs->channel_window = ksize[attrs->channel_dim()];
  for (int i = attrs->first(); i < 3; ++i) attrs->window[i] = ksize[attrs->spatial_dim(i)];
  return Status();
}

Status SetStride(Span<const int64_t> strides, bool over_channels, WindowAttrs* attrs) {
  SM_RETURN_IF_ERROR(ExpectLength(strides, attrs->rank, "strides"));
  for (int64_t s : strides) {
    SM_CHECK_ARG(s > 0 && s < kLargest, "strides must be positive, found ", s);
  }
  attrs->channel_stride = strides[attrs->channel_dim()];
  if (strides[0] != 1 || (!over_channels && attrs->channel_stride != 1)) {
    return over_channels ? Unimplemented("strides over the batch dimension")
                         : InvalidArgument("strides of batch and channels must be 1, found ",
                                           strides[0], " and ", attrs->channel_stride);
  }
  for (int i = attrs->first(); i < 3; ++i) attrs->stride[i] = strides[attrs->spatial_dim(i)];
  return Status();
}

Status SetExplicitPaddings(const std::vector<int64_t>& paddings, WindowAttrs* attrs) {
  if (attrs->padding != "EXPLICIT") {
    SM_CHECK_ARG(paddings.empty(), "explicit_paddings must be empty unless padding is EXPLICIT");
    return Status();
  }
  SM_CHECK_ARG(static_cast<int>(paddings.size()) == 2 * (attrs->rank + 2), "explicit_paddings has ",
               paddings.size(), " values, expected ", 2 * (attrs->rank + 2));
  const int channel = attrs->channel_dim();
  SM_CHECK_ARG(paddings[0] == 0 && paddings[1] == 0 && paddings[2 * channel] == 0 &&
                   paddings[2 * channel + 1] == 0,
               "explicit_paddings of batch and channels must be 0, found ", paddings);
  for (int i = attrs->first(); i < 3; ++i) {
    attrs->before[i] = paddings[2 * attrs->spatial_dim(i)];
    attrs->after[i] = paddings[2 * attrs->spatial_dim(i) + 1];
    SM_CHECK_ARG(attrs->before[i] >= 0 && attrs->after[i] >= 0 && attrs->before[i] < kLargest &&
                     attrs->after[i] < kLargest,
                 "explicit_paddings must not be negative, found ", paddings);
  }
  return Status();
}

StatusOr<WindowAttrs> ReadWindowAttrs(const Attrs& list, int rank) {
  WindowAttrs attrs;
  attrs.rank = rank;
  const std::string& format = list.String("data_format");
  attrs.channels_first = format == "NCHW" || format == "NCDHW";
  if (format == "NCHW_VECT_C") return Unimplemented("data_format NCHW_VECT_C");
  attrs.padding = list.String("padding");
  const bool pooling = list.Has("ksize");
  if (list.Has("strides")) {
    SM_RETURN_IF_ERROR(SetStride(list.Ints("strides"), pooling, &attrs));
  }
  if (list.Has("dilations")) SM_RETURN_IF_ERROR(ReadDilations(list, &attrs));
  SM_RETURN_IF_ERROR(SetExplicitPaddings(list.Ints("explicit_paddings"), &attrs));
  if (pooling) SM_RETURN_IF_ERROR(SetWindow(list.Ints("ksize"), &attrs));
  return attrs;
}

StatusOr<WindowGeometry> ResolveWindow(const WindowAttrs& attrs, const Shape& input) {
  WindowGeometry g;
  g.batch = input[0];
  g.channels = input[attrs.channel_dim()];
  g.window = attrs.window;
  g.stride = attrs.stride;
  g.dilation = attrs.dilation;
  for (int i = attrs.first(); i < 3; ++i) {
    g.in[i] = input[attrs.spatial_dim(i)];
    SM_ASSIGN_OR_RETURN(const shape::WindowSize size, OutputSize(attrs, i, g.in[i]));
    g.out[i] = size.output;
    g.before[i] = size.before;
  }
  return g;
}

StatusOr<Shape> WindowOutputShape(const WindowAttrs& attrs, const Shape& input, int64_t channels) {
  if (!input.known_rank()) return Shape::UnknownOfRank(attrs.rank + 2);
  std::vector<int64_t> dims = input.ToVector();
  dims[attrs.channel_dim()] = channels;
  for (int i = attrs.first(); i < 3; ++i) {
    int64_t& dim = dims[attrs.spatial_dim(i)];
    if (dim < 0 || attrs.window[i] < 0) {
      dim = -1;
      continue;
    }
    SM_ASSIGN_OR_RETURN(const shape::WindowSize size, OutputSize(attrs, i, dim));
    dim = size.output;
  }
  return Shape::Make(dims);
}

Shape ChannelsLastShape(const Shape& shape) { return shape.WithRemoved(1).WithAppended(shape[1]); }

StatusOr<Tensor> ToChannelsLast(OpContext& ctx, const Tensor& t) {
  const Shape& shape = t.shape();
  SM_ASSIGN_OR_RETURN(Tensor out, ctx.AllocateTemp(t.dtype(), ChannelsLastShape(shape)));
  SM_RETURN_IF_ERROR(TransposeInto(ctx, t, shape[1], shape.Product(2, shape.rank()), &out));
  return out;
}

Status ToChannelsFirst(OpContext& ctx, const Tensor& t, Tensor* out) {
  const Shape& shape = t.shape();
  const int channel = shape.rank() - 1;
  return TransposeInto(ctx, t, shape.Product(1, channel), shape[channel], out);
}

StatusOr<Tensor> WidenToFloat(OpContext& ctx, const Tensor& t) {
  SM_ASSIGN_OR_RETURN(Tensor out, ctx.AllocateTemp(DType::kFloat, t.shape()));
  SM_RETURN_IF_ERROR(VisitDType<kSmallFloats>(t.dtype(), [&](auto tag) -> Status {
    const auto* from = t.data<typename decltype(tag)::type>();
    float* to = static_cast<float*>(out.raw_mutable_data());
    ctx.ParallelFor(t.num_elements(), 0.7, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = static_cast<float>(from[i]);
    });
    return Status();
  }));
  return out;
}

void NarrowFromFloat(OpContext& ctx, const float* from, Tensor* out) {
  const auto narrow = [&](auto* to) {
    using T = std::remove_pointer_t<decltype(to)>;
    ctx.ParallelFor(out->num_elements(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = T(from[i]);
    });
  };
  if (out->dtype() == DType::kHalf) {
    narrow(static_cast<half*>(out->raw_mutable_data()));
  } else {
    narrow(static_cast<bfloat16*>(out->raw_mutable_data()));
  }
}

Status RunAsPlain(OpContext& ctx, bool channels_first, int x_input, int filter_input,
                  FunctionRef<Status(const Tensor&, const Tensor&, Tensor*)> body) {
  const DType dtype = ctx.input(x_input).dtype();
  const bool small = dtype == DType::kHalf || dtype == DType::kBFloat16;
  if (!small && !channels_first)
    return body(ctx.input(x_input), ctx.input(filter_input), &ctx.output(0));
  Tensor x = ctx.input(x_input), filter = ctx.input(filter_input);
  if (channels_first) {
    SM_ASSIGN_OR_RETURN(x, ToChannelsLast(ctx, x));
  }
  if (small) {
    SM_ASSIGN_OR_RETURN(x, WidenToFloat(ctx, x));
    SM_ASSIGN_OR_RETURN(filter, WidenToFloat(ctx, filter));
  }
  Tensor& output = ctx.output(0);
  const Shape shape = channels_first ? ChannelsLastShape(output.shape()) : output.shape();
  SM_ASSIGN_OR_RETURN(Tensor y, ctx.AllocateTemp(x.dtype(), shape));
  SM_RETURN_IF_ERROR(body(x, filter, &y));
  if (!small) return ToChannelsFirst(ctx, y, &output);
  if (!channels_first) {
    NarrowFromFloat(ctx, y.data<float>(), &output);
    return Status();
  }
  SM_ASSIGN_OR_RETURN(Tensor narrow, ctx.AllocateTemp(dtype, shape));
  NarrowFromFloat(ctx, y.data<float>(), &narrow);
  return ToChannelsFirst(ctx, narrow, &output);
}

}  // namespace savedmodel
