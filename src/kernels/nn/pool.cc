// Max and average pooling over two or three spatial dimensions, and max pooling over channels.
#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "src/base/aligned_vector.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/quantized.h"
#include "src/kernels/nn/spatial.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

// A pooling function: accumulates in Sum, starting from First; a NaN never becomes the maximum.
struct Max {
  template <class T>
  using Sum = T;
  template <class T>
  static T First() {
    if constexpr (std::is_same_v<T, half>) return half::FromBits(0xfc00);
    if constexpr (std::is_same_v<T, bfloat16>) return bfloat16::FromBits(0xff80);
    return std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                                : std::numeric_limits<T>::lowest();
  }
  template <class S, class T>
  static S Add(S sum, T x) {
    return x > sum ? x : sum;
  }
  template <class T, class S>
  static T Finish(S sum, int64_t) {
    return sum;
  }
};

// With zeros around what it is of.
struct ZeroPaddedMax : Max {};

struct Average {
  template <class T>
  using Sum = std::conditional_t<std::is_same_v<T, double>, double, float>;
  template <class T>
  static T First() {
    return T(0);
  }
  template <class S, class T>
  static S Add(S sum, T x) {
    return sum + static_cast<S>(x);
  }
  template <class T, class S>
  static T Finish(S sum, int64_t count) {
    return T(sum / static_cast<S>(count));
  }
};

// As Average, in whole numbers: sums are cut, not rounded.
struct WholeAverage {
  template <class T>
  using Sum = int32_t;
  template <class T>
  static T First() {
    return T(0);
  }
  template <class T>
  static int32_t Add(int32_t sum, T x) {
    return sum + x;
  }
  template <class T>
  static T Finish(int32_t sum, int64_t count) {
    return static_cast<T>(sum / static_cast<int32_t>(count));
  }
};

// One output pixel, all channels, in blocks that stay in registers or the first cache level.
template <class Pool, class T>
void PoolPixel(const WindowGeometry& g, const T* image, const std::array<int64_t, 3>& start, T* y) {
  using Sum = typename Pool::template Sum<T>;
  constexpr int64_t kBlock = 64;
  std::array<TapRange, 3> taps;
  int64_t count = 1;
  for (int i = 0; i < 3; ++i) {
    taps[i] = TapsInside(start[i], g.window[i], 1, g.in[i]);
    count *= taps[i].end - taps[i].begin;
  }
  for (int64_t c0 = 0; c0 < g.channels; c0 += kBlock) {
    const int64_t block = std::min(kBlock, g.channels - c0);
    Sum sums[kBlock];
    std::fill_n(sums, block, Pool::template First<Sum>());
    for (int64_t d = start[0] + taps[0].begin; d < start[0] + taps[0].end; ++d) {
      for (int64_t h = start[1] + taps[1].begin; h < start[1] + taps[1].end; ++h) {
        const T* row = image + ((d * g.in[1] + h) * g.in[2] + start[2]) * g.channels + c0;
        for (int64_t w = taps[2].begin; w < taps[2].end; ++w) {
          const T* x = row + w * g.channels;
          for (int64_t c = 0; c < block; ++c) sums[c] = Pool::Add(sums[c], x[c]);
        }
      }
    }
    for (int64_t c = 0; c < block; ++c) y[c0 + c] = Pool::template Finish<T>(sums[c], count);
  }
}

// Rows of output pixels of floats, in the compute core.
template <class Pool>
class FloatRows {
 public:
  FloatRows(const WindowGeometry& g, const float* x) : g_(g), x_(x) {
    if (kHasZeros) zeros_.assign(std::max<int64_t>(g.in[2], 1) * g.channels, 0.0f);
    const int64_t s = g.stride[2], before = g.before[2];
    inside_.begin = std::min((before + s - 1) / s, g.out[2]);
    const int64_t last = g.in[2] + before - g.window[2];
    inside_.end = std::max(inside_.begin, last < 0 ? 0 : std::min(last / s + 1, g.out[2]));
  }

  // Output row `row`, counted over images and depth.
  void Run(int64_t row, float* y) {
    FindRows(row);
    const auto height = static_cast<int64_t>(rows_.size());
    const float share = 1 / static_cast<float>(height);
    // Windows that overlap much have the sums of their columns in common.
    const int64_t in_width = g_.in[2], out_width = g_.out[2];
    if (height > 1 &&
        in_width * (height + 1) + out_width * g_.window[2] < out_width * height * g_.window[2]) {
      columns_.resize(in_width * g_.channels);
      Call({.taps = rows_.data(),
            .num_taps = height,
            .channels = in_width * g_.channels,
            .y = columns_.data()});
      rows_.assign(1, columns_.data());
    }
    for (int64_t i = 0; i < inside_.begin; ++i) Pixels(i, i + 1, share, y);
    if (inside_.begin < inside_.end) Pixels(inside_.begin, inside_.end, share, y);
    for (int64_t i = inside_.end; i < out_width; ++i) Pixels(i, i + 1, share, y);
  }

 private:
  static constexpr bool kHasZeros = std::is_same_v<Pool, ZeroPaddedMax>;

  // The input rows that the windows of an output row have inside, and once that of zeros if they
  // have others.
  void FindRows(int64_t row) {
    const int64_t top = row % g_.out[1] * g_.stride[1] - g_.before[1];
    const int64_t front = row / g_.out[1] % g_.out[0] * g_.stride[0] - g_.before[0];
    const int64_t image = row / g_.out[1] / g_.out[0];
    const TapRange depth = TapsInside(front, g_.window[0], 1, g_.in[0]);
    const TapRange height = TapsInside(top, g_.window[1], 1, g_.in[1]);
    rows_.clear();
    for (int64_t d = front + depth.begin; d < front + depth.end; ++d) {
      for (int64_t h = top + height.begin; h < top + height.end; ++h) {
        rows_.push_back(x_ + ((image * g_.in[0] + d) * g_.in[1] + h) * g_.in[2] * g_.channels);
      }
    }
    if (kHasZeros && height.end - height.begin < g_.window[1]) rows_.push_back(zeros_.data());
  }

  // Output pixels [begin, end), all of whose windows have the same columns inside.
  void Pixels(int64_t begin, int64_t end, float share, float* y) {
    const int64_t left = begin * g_.stride[2] - g_.before[2];
    const TapRange columns = TapsInside(left, g_.window[2], 1, g_.in[2]);
    taps_.clear();
    for (const float* row : rows_) {
      for (int64_t w = left + columns.begin; w < left + columns.end; ++w) {
        taps_.push_back(row + w * g_.channels);
      }
    }
    if (kHasZeros && columns.end - columns.begin < g_.window[2]) taps_.push_back(zeros_.data());
    const bool is_one_run = g_.stride[2] == 1;
    Call({.taps = taps_.data(),
          .num_taps = static_cast<int64_t>(taps_.size()),
          .channels = is_one_run ? (end - begin) * g_.channels : g_.channels,
          .pixels = is_one_run ? 1 : end - begin,
          .step = g_.stride[2] * g_.channels,
          .scale = share / static_cast<float>(columns.end - columns.begin),
          .y = y + begin * g_.channels});
  }

  static void Call(const PoolArgs& args) {
    (std::is_base_of_v<Max, Pool> ? Vectors().pool_maximum : Vectors().pool_sum)(args);
  }

  const WindowGeometry& g_;
  const float* const x_;
  TapRange inside_{};  // output columns whose windows are inside
  std::vector<const float*> rows_, taps_;
  AlignedVector<float> columns_;  // of the windows, put together
  AlignedVector<float> zeros_;    // a row
};

template <class Pool, class T>
void PoolSpatial(OpContext& ctx, const WindowGeometry& g, const T* x, T* y) {
  const double cost = 0.3 * static_cast<double>(g.channels) * g.taps() * g.out[2];
  ctx.ParallelFor(g.batch * g.out[0] * g.out[1], cost, [&](int64_t begin, int64_t end) {
    const int64_t out_row = g.out[2] * g.channels;
    if constexpr (std::is_same_v<T, float>) {
      FloatRows<Pool> rows(g, x);
      for (int64_t row = begin; row < end; ++row) rows.Run(row, y + row * out_row);
    } else {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t oh = row % g.out[1], od = row / g.out[1] % g.out[0];
        const T* image = x + row / g.out[1] / g.out[0] * g.in_pixels() * g.channels;
        for (int64_t ow = 0; ow < g.out[2]; ++ow) {
          const std::array<int64_t, 3> start = {od * g.stride[0] - g.before[0],
                                                oh * g.stride[1] - g.before[1],
                                                ow * g.stride[2] - g.before[2]};
          PoolPixel<Pool>(g, image, start, y + row * out_row + ow * g.channels);
        }
      }
    }
  });
}

// Maximum of each `window` neighbouring channels.
template <class T>
void PoolChannels(const T* x, int64_t n, int64_t window, T* y) {
  for (int64_t i = 0; i < n; ++i) {
    T best = Max::First<T>();
    for (int64_t c = 0; c < window; ++c) best = Max::Add(best, x[i * window + c]);
    y[i] = best;
  }
}

template <class Pool, DTypeSet set>
Status RunNhwc(OpContext& ctx, const WindowAttrs& attrs, const Shape& shape, const Tensor& in,
               Tensor* out) {
  return VisitDType<set>(in.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* x = in.data<T>();
    T* y = static_cast<T*>(out->raw_mutable_data());
    if (std::is_same_v<Pool, Max> && attrs.channel_window > 1) {
      PoolChannels(x, out->num_elements(), attrs.channel_window, y);
      return Status();
    }
    SM_ASSIGN_OR_RETURN(const WindowGeometry g, ResolveWindow(attrs, shape));
    PoolSpatial<Pool>(ctx, g, x, y);
    return Status();
  });
}

template <class Pool, DTypeSet set>
Status RunPool(OpContext& ctx, const WindowAttrs& attrs) {
  if (ctx.output(0).num_elements() == 0) return Status();
  const Shape& shape = ctx.input(0).shape();
  if (!attrs.channels_first) {
    return RunNhwc<Pool, set>(ctx, attrs, shape, ctx.input(0), &ctx.output(0));
  }
  SM_ASSIGN_OR_RETURN(const Tensor in, ToChannelsLast(ctx, ctx.input(0)));
  SM_ASSIGN_OR_RETURN(Tensor out,
                      ctx.AllocateTemp(in.dtype(), ChannelsLastShape(ctx.output(0).shape())));
  SM_RETURN_IF_ERROR((RunNhwc<Pool, set>(ctx, attrs, shape, in, &out)));
  return ToChannelsFirst(ctx, out, &ctx.output(0));
}

// Attributes of a pooling op, which takes a window over channels or does not.
StatusOr<WindowAttrs> ReadAttrs(const Attrs& list, int rank, bool pool_channels) {
  SM_ASSIGN_OR_RETURN(WindowAttrs attrs, ReadWindowAttrs(list, rank));
  if (!pool_channels && (attrs.channel_window != 1 || attrs.channel_stride != 1)) {
    return Unimplemented("pooling over the channel dimension");
  }
  return attrs;
}

Status PoolShape(ShapeContext& ctx, const WindowAttrs& attrs) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, attrs.rank + 2));
  const Shape& in = ctx.input(0);
  int64_t channels = in.known_rank() ? in[attrs.channel_dim()] : -1;
  if (attrs.channel_window > 1 || attrs.channel_stride > 1) {
    for (int i = 0; i < 3; ++i) {
      if (attrs.window[i] != 1 || attrs.stride[i] != 1) {
        return Unimplemented("pooling over channels together with spatial dimensions");
      }
    }
    if (attrs.channel_window != attrs.channel_stride) {
      return Unimplemented("pooling over channels with a window of ", attrs.channel_window,
                           " and a stride of ", attrs.channel_stride, "; expected them equal");
    }
    if (channels >= 0 && channels % attrs.channel_window != 0) {
      return Unimplemented("pooling ", channels, " channels with a window of ",
                           attrs.channel_window, ", which does not divide them");
    }
    if (channels >= 0) channels /= attrs.channel_window;
  }
  SM_ASSIGN_OR_RETURN(Shape out, WindowOutputShape(attrs, in, channels));
  ctx.set_output(0, std::move(out));
  return Status();
}

template <int rank, bool pool_channels>
Status StaticShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadAttrs(ctx.attrs(), rank, pool_channels));
  return PoolShape(ctx, attrs);
}

template <class Pool, int rank, bool pool_channels, DTypeSet set>
StatusOr<KernelPtr> Build(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadAttrs(build.attrs(), rank, pool_channels));
  return MakeKernel([attrs](OpContext& ctx) { return RunPool<Pool, set>(ctx, attrs); });
}

// Pooling of quantised values, whose range (inputs 1 and 2) stays.
Status QuantizedPoolShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR((StaticShape<2, false>(ctx)));
  ctx.set_output(1, Shape());
  ctx.set_output(2, Shape());
  return Status();
}

template <class Pool>
StatusOr<KernelPtr> BuildQuantizedPool(BuildContext& build) {
  constexpr DTypeSet kBytes = Only(DType::kQInt8) | Only(DType::kQUInt8);
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadAttrs(build.attrs(), 2, false));
  return MakeKernel([attrs](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const QuantizedRange range, RangeInput(ctx, 1));
    SetRangeOutput(ctx, range);
    return RunPool<Pool, kBytes>(ctx, attrs);
  });
}

Status MaxPoolV2Shape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(WindowAttrs attrs, ReadWindowAttrs(ctx.attrs(), 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 1));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 1));
  std::vector<int64_t> ksize, strides;
  if (!ctx.IntValues(1, &ksize) || !ctx.IntValues(2, &strides)) {
    ctx.set_output(0, Shape::UnknownOfRank(4));
    return Status();
  }
  SM_RETURN_IF_ERROR(SetWindow(ksize, &attrs));
  SM_RETURN_IF_ERROR(SetStride(strides, true, &attrs));
  return PoolShape(ctx, attrs);
}

StatusOr<KernelPtr> BuildMaxPoolV2(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const WindowAttrs attrs, ReadWindowAttrs(build.attrs(), 2));
  return MakeKernel([attrs](OpContext& ctx) -> Status {
    WindowAttrs complete = attrs;
    SM_RETURN_IF_ERROR(SetWindow(ctx.IntsInput(1), &complete));
    SM_RETURN_IF_ERROR(SetStride(ctx.IntsInput(2), true, &complete));
    return RunPool<Max, kReals>(ctx, complete);
  });
}

constexpr OpDef kOps[] = {
    {.signature = "AvgPool(value: T) -> (output: T); ksize: list(int) >= 4; "
                  "strides: list(int) >= 4; padding: {'SAME','VALID'}; "
                  "data_format: {'NHWC','NCHW'} = 'NHWC'; T: {half,bfloat16,float,double}",
     .shape = StaticShape<2, false>,
     .build = Build<Average, 2, false, kFloats>,
     .per_example = true},
    {.signature = "AvgPool3D(input: T) -> (output: T); ksize: list(int) >= 5; "
                  "strides: list(int) >= 5; padding: {'SAME','VALID'}; "
                  "data_format: {'NDHWC','NCDHW'} = 'NDHWC'; T: {half,bfloat16,float,double}",
     .shape = StaticShape<3, false>,
     .build = Build<Average, 3, false, kFloats>,
     .per_example = true},
    {.signature = "MaxPool(input: T) -> (output: T); "
                  "T: {half,bfloat16,float,double,int32,int64,uint8,int16,int8,uint16,qint8} = "
                  "float; ksize: list(int) >= 4; strides: list(int) >= 4; "
                  "padding: {'SAME','VALID','EXPLICIT'}; explicit_paddings: list(int) = []; "
                  "data_format: {'NHWC','NCHW','NCHW_VECT_C'} = 'NHWC'",
     .shape = StaticShape<2, true>,
     .build = Build<Max, 2, true, kReals>,
     .per_example = true},
    {.signature = "MaxPool3D(input: T) -> (output: T); ksize: list(int) >= 5; "
                  "strides: list(int) >= 5; padding: {'SAME','VALID'}; "
                  "data_format: {'NDHWC','NCDHW'} = 'NDHWC'; T: {half,bfloat16,float}",
     .shape = StaticShape<3, false>,
     .build = Build<Max, 3, false, kFloats>,
     .per_example = true},
    {.signature = "MaxPoolV2(input: T, ksize: int32, strides: int32) -> (output: T); "
                  "T: {half,bfloat16,float,double,int32,int64,uint8,int16,int8,uint16,qint8} = "
                  "float; padding: {'SAME','VALID'}; "
                  "data_format: {'NHWC','NCHW','NCHW_VECT_C'} = 'NHWC'",
     .shape = MaxPoolV2Shape,
     .build = BuildMaxPoolV2,
     .per_example = true},
    {.signature = "QuantizedAvgPool(input: T, min_input: float, max_input: float) -> "
                  "(output: T, min_output: float, max_output: float); T: {qint8,quint8}; "
                  "ksize: list(int); strides: list(int); padding: {'SAME','VALID'}",
     .shape = QuantizedPoolShape,
     .build = BuildQuantizedPool<WholeAverage>},
    {.signature = "QuantizedMaxPool(input: T, min_input: float, max_input: float) -> "
                  "(output: T, min_output: float, max_output: float); T: {qint8,quint8}; "
                  "ksize: list(int); strides: list(int); padding: {'SAME','VALID'}",
     .shape = QuantizedPoolShape,
     .build = BuildQuantizedPool<Max>},
    {.signature = "_ZeroPaddedMaxPool(input: T) -> (output: T); T: {float}; "
                  "ksize: list(int) >= 4; strides: list(int) >= 4; padding: {'EXPLICIT'}; "
                  "explicit_paddings: list(int); data_format: {'NHWC'}",
     .shape = StaticShape<2, false>,
     .build = Build<ZeroPaddedMax, 2, false, Only(DType::kFloat)>,
     .per_example = true},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> PoolOps() { return kOps; }

}  // namespace savedmodel
