// Depthwise convolution: every channel has filters of its own.
#include <algorithm>
#include <vector>

#include "src/base/aligned_vector.h"
#include "src/base/ceil_div.h"
#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/isa/gemm.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/spatial.h"

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
void DepthwisePixel(const WindowGeometry& g, const double* image, const double* filter,
                    int64_t multiplier, int64_t top, int64_t left, double* y) {
  const TapRange rows = TapsInside(top, g.window[1], g.dilation[1], g.in[1]);
  const TapRange columns = TapsInside(left, g.window[2], g.dilation[2], g.in[2]);
  const int64_t out_channels = g.channels * multiplier;
  std::fill_n(y, out_channels, 0.0);
  for (int64_t kh = rows.begin; kh < rows.end; ++kh) {
    for (int64_t kw = columns.begin; kw < columns.end; ++kw) {
      const int64_t h = top + kh * g.dilation[1], w = left + kw * g.dilation[2];
      const double* x = image + (h * g.in[2] + w) * g.channels;
      const double* f = filter + (kh * g.window[2] + kw) * out_channels;
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

// Channels last.
void Depthwise(OpContext& ctx, const WindowGeometry& g, const double* x, const double* filter,
               int64_t multiplier, double* y) {
  const int64_t out_channels = g.channels * multiplier;
  const double cost = 0.3 * static_cast<double>(g.taps()) * out_channels * g.out[2];
  ctx.ParallelFor(g.batch * g.out[1], cost, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const double* image = x + row / g.out[1] * g.in_pixels() * g.channels;
      const int64_t top = row % g.out[1] * g.stride[1] - g.before[1];
      for (int64_t ow = 0; ow < g.out[2]; ++ow) {
        DepthwisePixel(g, image, filter, multiplier, top, ow * g.stride[2] - g.before[2],
                       y + (row * g.out[2] + ow) * out_channels);
      }
    }
  });
}

// Writes each of n floats `times` times.
void Repeat(const float* x, int64_t n, int64_t times, float* y) {
  const auto by = [&](auto count) {
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t k = 0; k < count; ++k) y[i * count + k] = x[i];
    }
  };
  if (times == 2) return by(std::integral_constant<int64_t, 2>());
  if (times == 4) return by(std::integral_constant<int64_t, 4>());
  by(times);
}

// Floats through the compute core, which has one filter per channel: channels with several are
// repeated. Dense windows are quickest: those of every n-th row and column, if n is the dilation,
// do not need the others and are dense.
class FloatDepthwise {
 public:
  FloatDepthwise(const WindowGeometry& g, const float* x, const float* filter, int64_t multiplier,
                 const Epilogue& epilogue, float* y)
      : g_(g), x_(x), y_(y), multiplier_(multiplier), channels_(g.channels * multiplier) {
    for (int i = 1; i < 3; ++i) {
      if (g.stride[i] == 1 && g.dilation[i] <= g.out[i]) phases_[i] = g.dilation[i];
    }
    rows_ = CeilDiv(g.out[1], phases_[1]);
    blocks_ = CeilDiv(rows_, kRows);
    // Windows that overlap share the pointers to their rows.
    const bool overlap = phases_[1] == g.dilation[1] && g.stride[1] <= g.window[1];
    args_ = {.rows_stride = overlap ? g.stride[1] : g.window[1],
             .window_rows = g.window[1],
             .window_columns = g.window[2],
             .channels = channels_,
             .stride = g.stride[2],
             .dilation = g.dilation[2] / phases_[2],
             .column_step = phases_[2] * channels_,
             .out_row_step = phases_[1] * g.out[2] * channels_,
             .filter = filter,
             .bias = epilogue.bias};
    step_ = epilogue.steps.data();
    end_ = step_ + epilogue.steps.size();
    TakeLimits(&step_, end_, &args_.low, &args_.high);
  }

  void Run(OpContext& ctx) const {
    // Of a job at a time: what they have in common is read once. So few that all is still in the
    // second cache level when the steps follow.
    constexpr int64_t kFloats = 64 * 1024;
    const int64_t most = std::clamp<int64_t>(kFloats / (kRows * g_.out[2] * channels_), 1, blocks_);
    const double cost = 0.03 * static_cast<double>(g_.taps()) * channels_ * g_.out[2] * kRows;
    ctx.ParallelFor(g_.batch * phases_[1] * blocks_, cost, [&](int64_t begin, int64_t end) {
      std::vector<const float*> rows((most * kRows - 1) * args_.rows_stride + g_.window[1]);
      AlignedVector<float> repeated;
      if (multiplier_ > 1) repeated.resize(rows.size() * g_.in[2] * channels_);
      for (int64_t block = begin, next = 0; block < end; block = next) {
        next = std::min({block + most, (block / blocks_ + 1) * blocks_, end});
        RunBlocks(block / blocks_, block % blocks_, next - block, rows.data(), repeated.data());
      }
    });
  }

 private:
  static constexpr int64_t kRows = 2;  // of a block: they read the same input

  // Rows of one phase of one image, `plane` counting both.
  void RunBlocks(int64_t plane, int64_t block, int64_t count, const float** rows,
                 float* repeated) const {
    const int64_t image = plane / phases_[1], phase = plane % phases_[1], first = block * kRows;
    const int64_t all_rows = CeilDiv(g_.out[1] - phase, phases_[1]);
    DepthwiseArgs args = args_;
    args.out_rows = static_cast<int>(std::min(count * kRows, all_rows - first));
    if (args.out_rows <= 0) return;
    const int64_t in_row = g_.in[2] * g_.channels;
    const int64_t used = (args.out_rows - 1) * args.rows_stride + g_.window[1];
    for (int64_t i = 0; i < used; ++i) {
      const int64_t r = std::min<int64_t>(i / args.rows_stride, args.out_rows - 1);
      const int64_t h = OutRow(phase, first + r) * g_.stride[1] - g_.before[1] +
                        (i - r * args.rows_stride) * g_.dilation[1];
      rows[i] = h < 0 || h >= g_.in[1] ? nullptr : x_ + (image * g_.in[1] + h) * in_row;
      if (multiplier_ == 1 || rows[i] == nullptr) continue;
      float* const to = repeated + i * in_row * multiplier_;
      Repeat(rows[i], in_row, multiplier_, to);
      rows[i] = to;
    }
    args.rows = rows;
    const int64_t out_row = image * g_.out[1] + OutRow(phase, first);
    for (int64_t column = 0; column < phases_[2]; ++column) {
      RunColumns(args, column, used, rows, y_ + out_row * g_.out[2] * channels_);
    }
    for (int64_t r = 0; step_ != end_ && r < args.out_rows; ++r) {
      const int64_t pixel = (out_row + r * phases_[1]) * g_.out[2];
      Vectors().apply(step_, static_cast<int>(end_ - step_), y_, channels_, pixel,
                      pixel + g_.out[2], channels_);
    }
  }

  int64_t OutRow(int64_t phase, int64_t row) const { return phase + row * phases_[1]; }

  // Columns of one phase, whose first input column `rows` point to meanwhile.
  void RunColumns(DepthwiseArgs args, int64_t phase, int64_t used, const float** rows,
                  float* out) const {
    const int64_t n = phases_[2];
    const int64_t first = phase - g_.before[2];
    const int64_t column = n == 1 ? 0 : (first % n + n) % n;  // of the input
    args.left = (first - column) / n;
    args.in_width = CeilDiv(g_.in[2] - column, n);
    args.out_width = CeilDiv(g_.out[2] - phase, n);
    args.out = out + phase * channels_;
    const auto move = [&](int64_t columns) {
      for (int64_t i = 0; columns != 0 && i < used; ++i) {
        if (rows[i] != nullptr) rows[i] += columns * channels_;
      }
    };
    move(column);
    Vectors().depthwise(args);
    move(-column);
  }

  const WindowGeometry& g_;
  const float* const x_;
  float* const y_;
  const int64_t multiplier_;
  const int64_t channels_;  // of the output
  std::array<int64_t, 3> phases_ = {1, 1, 1};
  int64_t rows_, blocks_;  // of a phase
  DepthwiseArgs args_;
  const VectorStep *step_, *end_;
};

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
                      if (x.dtype() == DType::kDouble) {
                        Depthwise(ctx, g, x.data<double>(), filter.data<double>(), f[3],
                                  static_cast<double*>(y->raw_mutable_data()));
                      } else {
                        FloatDepthwise(g, x.data<float>(), filter.data<float>(), f[3], epilogue,
                                       static_cast<float*>(y->raw_mutable_data()))
                            .Run(ctx);
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
     .fusion = {.accepts_epilogue = true},
     .per_example = true},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> DepthwiseOps() { return kOps; }

}  // namespace savedmodel
