// Convolutions of images that are resized and mirrored at their edges first, as TensorFlow's tools
// write them into frozen graphs. What the windows cover is made as an image of its own.
//
// TensorFlow computes the first image of a batch only, and gives its result for all of them. Here
// each image gets its own.
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/image/resize.h"
#include "src/kernels/nn/conv_float.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

struct MirroredConv {
  bool resizes = false;  // input 1 is a size, and further inputs follow behind it
  ResizeMapping mapping;
  int64_t offset = 0;  // 1 when the edge itself is not repeated (REFLECT), else 0
  WindowAttrs window;
  PackedMatrices packed;

  int paddings() const { return resizes ? 2 : 1; }
  int filter() const { return paddings() + 1; }
};

StatusOr<MirroredConv> ReadAttrs(const Attrs& list) {
  MirroredConv conv;
  conv.resizes = list.Has("resize_align_corners");
  conv.mapping.align_corners = conv.resizes && list.Bool("resize_align_corners");
  conv.offset = list.String("mode") == "REFLECT" ? 1 : 0;
  SM_ASSIGN_OR_RETURN(conv.window, ReadWindowAttrs(list, 2));
  return conv;
}

// Rows or columns: sizes of the image, of what it is resized to and of what that is padded to; and
// the windows over it.
struct Axis {
  int64_t in = 0, resized = 0, padded = 0, before = 0;
  int64_t windows = 0, covered = 0;  // number of windows, and what they cover together
  int64_t start = 0;                 // position of the first window in the padded image
};

StatusOr<Axis> MakeAxis(const MirroredConv& conv, int dim, int64_t in, int64_t resized,
                        const std::vector<int64_t>& paddings, int64_t filter) {
  Axis axis{.in = in, .resized = resized, .before = paddings[2 * dim]};
  const int64_t after = paddings[2 * dim + 1], most = resized - conv.offset;
  SM_CHECK_ARG(axis.before >= 0 && after >= 0 && axis.before <= most && after <= most,
               "paddings of dimension ", dim, " are ", axis.before, " and ", after,
               ", expected from 0 to ", most);
  axis.padded = axis.before + resized + after;
  const int64_t stride = conv.window.stride[dim];
  SM_ASSIGN_OR_RETURN(const shape::WindowSize size,
                      shape::WindowOutput(axis.padded, filter, 1, stride, conv.window.padding));
  axis.windows = size.output;
  axis.covered = (size.output - 1) * stride + filter;
  // Windows that leave out part of the image are centred, as TensorFlow has it here.
  const int64_t outside = axis.covered - axis.padded;
  axis.start = -(conv.window.padding == "VALID" ? outside + 1 : outside) / 2;
  return axis;
}

// Rows and columns for shapes and values that are known.
Status MakeAxes(const MirroredConv& conv, const Shape& in, const Shape& filter,
                const std::vector<int64_t>& size, const Shape& paddings_shape,
                const std::vector<int64_t>& paddings, Axis* axes) {
  SM_CHECK_ARG(in.num_elements() > 0 && filter.num_elements() > 0, "input ", in, " or filter ",
               filter, " is empty");
  SM_CHECK_ARG(in[3] == filter[2], "input ", in, " has ", in[3], " channels, filter ", filter,
               " takes ", filter[2]);
  SM_CHECK_ARG((paddings_shape == Shape{4, 2}), "paddings have shape ", paddings_shape,
               ", expected [4,2]");
  SM_CHECK_ARG(paddings[0] == 0 && paddings[1] == 0 && paddings[6] == 0 && paddings[7] == 0,
               "paddings are ", paddings, ", expected none of batch and channels");
  for (int i = 0; i < 2; ++i) {
    SM_CHECK_ARG(!conv.resizes || (size.size() == 2 && size[i] > 0), "size is ", size,
                 ", expected a height and width above 0");
    SM_ASSIGN_OR_RETURN(axes[i], MakeAxis(conv, i + 1, in[i + 1],
                                          conv.resizes ? size[i] : in[i + 1], paddings, filter[i]));
    SM_CHECK_ARG(axes[i].windows > 0, "the output is empty");
  }
  return Status();
}

Status MirroredConvShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(const MirroredConv conv, ReadAttrs(ctx.attrs()));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(conv.filter(), 4));
  const Shape &in = ctx.input(0), &filter = ctx.input(conv.filter());
  std::vector<int64_t> size, paddings;
  const bool known = (!conv.resizes || ctx.IntValues(1, &size)) &&
                     ctx.IntValues(conv.paddings(), &paddings) && in.fully_known() &&
                     filter.fully_known();
  if (!known) {
    ctx.set_output(0, Shape::UnknownOfRank(4));
    return Status();
  }
  Axis axes[2];
  SM_RETURN_IF_ERROR(
      MakeAxes(conv, in, filter, size, ctx.value(conv.paddings())->shape(), paddings, axes));
  ctx.set_output(0, {in[0], axes[0].windows, axes[1].windows, filter[3]});
  return Status();
}

// Where the positions that the windows cover come from; `lower` is -1 for those outside of the
// padded image, which are zero.
std::vector<ResizePair> Sources(const MirroredConv& conv, const Axis& axis) {
  const float scale = conv.mapping.Scale(axis.in, axis.resized);
  std::vector<ResizePair> sources(axis.covered, {-1, -1, 0});
  for (int64_t i = 0; i < axis.covered; ++i) {
    const int64_t at = axis.start + i;
    if (at < 0 || at >= axis.padded) continue;
    int64_t position = at - axis.before;
    if (position < 0) position = conv.offset - 1 - position;
    if (position >= axis.resized) position = 2 * axis.resized - 1 - conv.offset - position;
    sources[i] = PairAt(conv.mapping, scale, axis.in, position);
  }
  return sources;
}

// One row of an image from the two around it.
template <class T>
void FillRow(bool resizes, const T* top, const T* bottom, float down,
             const std::vector<ResizePair>& columns, int64_t channels, T* out) {
  for (const ResizePair& x : columns) {
    for (int64_t c = 0; c < channels; ++c) {
      T value = 0;
      if (x.lower >= 0) {
        const int64_t left = x.lower * channels + c, right = x.upper * channels + c;
        value = top[left];
        if (resizes) {
          const T upper = value + (top[right] - value) * static_cast<T>(x.weight);
          const T lower = bottom[left] + (bottom[right] - bottom[left]) * static_cast<T>(x.weight);
          value = upper + (lower - upper) * static_cast<T>(down);
        }
      }
      *out++ = value;
    }
  }
}

// The image that the windows cover, of float or double.
StatusOr<Tensor> CoveredImage(OpContext& ctx, const MirroredConv& conv, const Tensor& x,
                              const Axis* axes) {
  const int64_t batch = x.shape()[0], channels = x.shape()[3];
  const int64_t height = axes[0].covered, width = axes[1].covered;
  SM_ASSIGN_OR_RETURN(const Shape shape, Shape::Make({batch, height, width, channels}));
  SM_ASSIGN_OR_RETURN(Tensor image, ctx.AllocateTemp(x.dtype(), shape));
  const std::vector<ResizePair> ys = Sources(conv, axes[0]), xs = Sources(conv, axes[1]);
  SM_RETURN_IF_ERROR(VisitDType<kFloatDouble>(x.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const int64_t in_row = axes[1].in * channels, row = width * channels;
    const T* from = x.data<T>();
    T* to = image.mutable_data<T>();
    ctx.ParallelFor(batch * height, 2.0 * static_cast<double>(row),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t r = begin; r < end; ++r) {
                        const ResizePair& y = ys[r % height];
                        if (y.lower < 0) {
                          std::fill_n(to + r * row, row, T(0));
                          continue;
                        }
                        const T* rows = from + r / height * axes[0].in * in_row;
                        FillRow(conv.resizes, rows + y.lower * in_row, rows + y.upper * in_row,
                                y.weight, xs, channels, to + r * row);
                      }
                    });
    return Status();
  }));
  return image;
}

Status RunMirroredConv(OpContext& ctx, const MirroredConv& conv) {
  const Shape &in = ctx.input(0).shape(), &f = ctx.input(conv.filter()).shape();
  Axis axes[2];
  SM_RETURN_IF_ERROR(MakeAxes(conv, in, f, conv.resizes ? ctx.IntsInput(1) : std::vector<int64_t>(),
                              ctx.input(conv.paddings()).shape(), ctx.IntsInput(conv.paddings()),
                              axes));
  WindowGeometry g;
  g.batch = in[0];
  g.channels = in[3];
  for (int i = 0; i < 2; ++i) {
    g.in[i + 1] = axes[i].covered;
    g.out[i + 1] = axes[i].windows;
    g.window[i + 1] = f[i];
    g.stride[i + 1] = conv.window.stride[i + 1];
  }
  return RunAsPlain(ctx, false, 0, conv.filter(),
                    [&](const Tensor& x, const Tensor& filter, Tensor* y) -> Status {
                      SM_ASSIGN_OR_RETURN(const Tensor image, CoveredImage(ctx, conv, x, axes));
                      if (x.dtype() != DType::kFloat) {
                        return RunPlainConv(ctx, g, image, filter, y);
                      }
                      const FloatFilter weights{.data = filter.data<float>(),
                                                .taps = g.taps(),
                                                .depth = f[2],
                                                .out_channels = f[3],
                                                .packed = conv.packed};
                      return RunFloatConv(ctx, g, weights, image.data<float>(), Epilogue(),
                                          static_cast<float*>(y->raw_mutable_data()));
                    });
}

StatusOr<KernelPtr> BuildMirroredConv(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(MirroredConv conv, ReadAttrs(build.attrs()));
  const Tensor* filter = build.constant_input(conv.filter());
  if (filter != nullptr && filter->shape().rank() == 4 && filter->num_elements() > 0) {
    SM_ASSIGN_OR_RETURN(conv.packed, PackFilter(build, conv.filter(), nullptr, 1));
  }
  return MakeKernel([conv](OpContext& ctx) { return RunMirroredConv(ctx, conv); },
                    DebugString(conv.packed));
}

#define SM_MIRROR_ATTRS \
  "mode: {'REFLECT','SYMMETRIC'}; strides: list(int); padding: {'SAME','VALID'}"

constexpr OpDef kOps[] = {
    {.signature = "FusedPadConv2D(input: T, paddings: int32, filter: T) -> (output: T); "
                  "T: {half,bfloat16,float,double}; " SM_MIRROR_ATTRS,
     .shape = MirroredConvShape,
     .build = BuildMirroredConv},
    {.signature = "FusedResizeAndPadConv2D(input: T, size: int32, paddings: int32, filter: T) -> "
                  "(output: T); T: {half,float,double}; resize_align_corners: bool = "
                  "false; " SM_MIRROR_ATTRS,
     .shape = MirroredConvShape,
     .build = BuildMirroredConv},
};
#undef SM_MIRROR_ATTRS
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ConvOfMirroredOps() { return kOps; }

}  // namespace savedmodel
