// Convolutions as products: a row of the product's left side is one output pixel's window, found
// through pointers, never copied together.
#include "src/kernels/nn/conv_float.h"

#include <algorithm>
#include <cstring>

#include "src/base/status_macros.h"
#include "src/base/strcat.h"
#include "src/kernels/nn/winograd.h"

namespace savedmodel {
namespace {

// Inputs with fewer channels than this make runs of whole window rows instead of single pixels.
constexpr int64_t kFewChannels = 8;

// How windows are cut into runs of consecutive floats.
struct Runs {
  const float* x = nullptr;        // image of [batch][in][width][channels]
  const float* outside = nullptr;  // as many zeros as a run is long
  int64_t width = 0;               // of x's rows, in pixels
  int64_t left = 0;                // padding that is not in x
  int64_t columns = 1;             // runs of one window row
  int64_t channel = 0;             // first channel of the group
};

bool IsPointwise(const WindowGeometry& g) {
  return g.taps() == 1 && g.stride == std::array<int64_t, 3>{1, 1, 1} &&
         g.before == std::array<int64_t, 3>{0, 0, 0} && g.in == g.out;
}

// Whether an output pixel's window may reach outside along dimension i.
bool Reaches(const WindowGeometry& g, int i) {
  return g.before[i] > 0 ||
         (g.out[i] - 1) * g.stride[i] + (g.window[i] - 1) * g.dilation[i] - g.before[i] >= g.in[i];
}

// The input with zeros at both ends of each row, so that windows are consecutive floats.
StatusOr<Tensor> PadRows(OpContext& ctx, const WindowGeometry& g, const float* x, int64_t width) {
  SM_ASSIGN_OR_RETURN(
      Tensor padded,
      ctx.AllocateTemp(DType::kFloat, Shape({g.batch, g.in[0], g.in[1], width, g.channels})));
  float* to = static_cast<float*>(padded.raw_mutable_data());
  const int64_t from_row = g.in[2] * g.channels, to_row = width * g.channels;
  const int64_t before = std::min(to_row, g.before[2] * g.channels);
  const int64_t copied = std::min(from_row, to_row - before);
  ctx.ParallelFor(g.batch * g.in[0] * g.in[1], 0.2 * to_row, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* row = to + r * to_row;
      std::fill_n(row, before, 0.0f);
      std::memcpy(row + before, x + r * from_row, copied * sizeof(float));
      std::fill(row + before + copied, row + to_row, 0.0f);
    }
  });
  return padded;
}

// The input row of each row of the windows of one row of output pixels; null where it is outside.
void FindRows(const WindowGeometry& g, const Runs& runs, int64_t out_row,
              std::vector<const float*>* rows) {
  const int64_t oh = out_row % g.out[1], od = out_row / g.out[1] % g.out[0];
  const int64_t n = out_row / (g.out[1] * g.out[0]);
  rows->clear();
  for (int64_t kd = 0; kd < g.window[0]; ++kd) {
    const int64_t d = od * g.stride[0] - g.before[0] + kd * g.dilation[0];
    for (int64_t kh = 0; kh < g.window[1]; ++kh) {
      const int64_t h = oh * g.stride[1] - g.before[1] + kh * g.dilation[1];
      const bool outside = d < 0 || d >= g.in[0] || h < 0 || h >= g.in[1];
      const int64_t row = (n * g.in[0] + d) * g.in[1] + h;
      rows->push_back(outside ? nullptr : runs.x + row * runs.width * g.channels + runs.channel);
    }
  }
}

// Writes the runs of one output pixel, whose window's rows are `rows` and begin at column `left`.
void PixelRuns(const WindowGeometry& g, const Runs& runs, const std::vector<const float*>& rows,
               int64_t left, const float** out) {
  for (const float* from : rows) {
    for (int64_t kw = 0; kw < runs.columns; ++kw) {
      const int64_t w = left + kw * g.dilation[2];
      const bool inside = from != nullptr && w >= 0 && w < runs.width;
      *out++ = inside ? from + w * g.channels : runs.outside;
    }
  }
}

// Writes the runs of output pixels [begin, end).
void WindowRuns(const WindowGeometry& g, const Runs& runs, int64_t begin, int64_t end,
                const float** out) {
  thread_local std::vector<const float*> rows;
  thread_local std::vector<int64_t> steps;  // of each run from one pixel inside to the next
  const int64_t reach = (runs.columns - 1) * g.dilation[2];
  for (int64_t row = begin / g.out[2]; begin < end; ++row) {
    FindRows(g, runs, row, &rows);
    steps.clear();
    for (const float* from : rows) {
      steps.insert(steps.end(), runs.columns, from == nullptr ? 0 : g.stride[2] * g.channels);
    }
    const size_t taps = steps.size();
    const int64_t last = std::min(end, (row + 1) * g.out[2]);
    bool was_inside = false;
    for (int64_t ow = begin - row * g.out[2]; begin < last; ++begin, ++ow, out += taps) {
      const int64_t left = ow * g.stride[2] - runs.left;
      const bool inside = left >= 0 && left + reach < runs.width;
      if (inside && was_inside) {
        const float* const* before = out - taps;
        for (size_t t = 0; t < taps; ++t) out[t] = before[t] + steps[t];
      } else {
        PixelRuns(g, runs, rows, left, out);
      }
      was_inside = inside;
    }
  }
}

void ScaleColumns(const float* x, const float* scale, int64_t n, int64_t columns, float* y) {
  for (int64_t i = 0; i < n; i += columns) {
    for (int64_t c = 0; c < columns; ++c) y[i + c] = x[i + c] * scale[c];
  }
}

}  // namespace

StatusOr<ColumnScale> ColumnScale::Of(const Tensor& filter, const Tensor* scale) {
  if (scale == nullptr) return ColumnScale();
  const Shape& shape = filter.shape();
  SM_CHECK_ARG(scale->dtype() == DType::kFloat && filter.dtype() == DType::kFloat &&
                   shape.rank() > 0 && scale->shape() == Shape({shape[shape.rank() - 1]}),
               "found a scale ", scale->TypeString(), " for a filter ", filter.TypeString());
  return ColumnScale{
      scale->data<float>(),
      " scaled by " + std::string(static_cast<const char*>(scale->raw_data()), scale->num_bytes())};
}

StatusOr<PackedMatrices> PackFilter(BuildContext& build, int input, const Tensor* scale,
                                    int64_t groups) {
  const Tensor* filter = build.constant_input(input);
  if (filter == nullptr || filter->dtype() != DType::kFloat) {
    return PackedMatrices();
  }
  const Shape& shape = filter->shape();
  const int64_t out_channels = shape[shape.rank() - 1], per_group = out_channels / groups;
  SM_ASSIGN_OR_RETURN(const ColumnScale columns, ColumnScale::Of(*filter, scale));
  return PackConstant(
      build, input, StrCat("convolution in ", groups, " groups", columns.key), groups,
      shape.Product(0, shape.rank() - 1), per_group, build.precision(),
      [&](int64_t group) {
        return MatrixView{filter->data<float>() + group * per_group, out_channels, 1};
      },
      columns.data);
}

Status RunFloatConv(OpContext& ctx, const WindowGeometry& g, const FloatFilter& filter,
                    const float* x, const Epilogue& epilogue, float* y) {
  const bool winograd =
      filter.winograd != 0 && AllFinite(ctx, x, g.batch * g.in_pixels() * g.channels);
  if (winograd) {
    RunWinograd(ctx, g, filter.winograd, *filter.packed, filter.out_channels, x, epilogue, y);
    return Status();
  }
  Runs runs{.x = x, .width = g.in[2], .left = g.before[2], .columns = g.window[2]};
  int64_t depth = filter.depth;
  Tensor padded, zeros;
  if (filter.groups == 1 && g.channels < kFewChannels && g.dilation[2] == 1 && g.window[2] > 1) {
    runs.columns = 1;
    depth *= g.window[2];
    if (Reaches(g, 2)) {
      runs.width = (g.out[2] - 1) * g.stride[2] + g.window[2];
      SM_ASSIGN_OR_RETURN(padded, PadRows(ctx, g, x, runs.width));
      runs.x = padded.data<float>();
      runs.left = 0;
    }
  }
  if (Reaches(g, 0) || Reaches(g, 1) || Reaches(g, 2)) {
    SM_ASSIGN_OR_RETURN(zeros, Tensor::Zeros(DType::kFloat, Shape({depth}), ctx.run().budget));
    runs.outside = zeros.data<float>();
  }
  const float* plain = filter.data;
  const bool unpacked = filter.packed == nullptr || filter.winograd != 0;
  Tensor scaled;
  if (unpacked && filter.scale != nullptr) {
    const int64_t rows = filter.taps * filter.depth;
    SM_ASSIGN_OR_RETURN(scaled,
                        ctx.AllocateTemp(DType::kFloat, Shape({rows, filter.out_channels})));
    float* to = static_cast<float*>(scaled.raw_mutable_data());
    ScaleColumns(filter.data, filter.scale, rows * filter.out_channels, filter.out_channels, to);
    plain = to;
  }
  const int64_t per_group = filter.out_channels / filter.groups;
  const bool pointwise = IsPointwise(g);
  for (int64_t group = 0; group < filter.groups; ++group) {
    runs.channel = group * filter.depth;
    const auto find = [&](int64_t begin, int64_t end, const float** out) {
      if (!pointwise) return WindowRuns(g, runs, begin, end, out);
      EvenRuns{x + runs.channel, g.channels}(begin, end, out);
    };
    const Epilogue part = epilogue.FromColumn(group * per_group);
    RunProduct(ctx, {.rows = g.batch * g.out_pixels(),
                     .columns = per_group,
                     .taps = g.window[0] * g.window[1] * runs.columns,
                     .depth = depth,
                     .runs = find,
                     .packed = unpacked ? nullptr : &(*filter.packed)[group],
                     .b = {plain + group * per_group, filter.out_channels, 1},
                     .c = y + group * per_group,
                     .c_stride = filter.out_channels,
                     .epilogue = &part});
  }
  return Status();
}

void RunFloatDepthwise(OpContext& ctx, const WindowGeometry& g, const float* filter, const float* x,
                       const Epilogue& epilogue, float* y) {
  const VectorCode& code = Vectors();
  constexpr int64_t kRows = 2;  // at a time: they read the same input
  const int64_t blocks = (g.out[1] + kRows - 1) / kRows;
  const VectorStep* step = epilogue.steps.data();
  const VectorStep* const end_of_steps = step + epilogue.steps.size();
  // Windows that overlap share the pointers to their rows.
  const bool overlap = g.dilation[1] == 1 && g.stride[1] <= g.window[1];
  const int64_t rows_stride = overlap ? g.stride[1] : g.window[1];
  DepthwiseArgs args{.rows_stride = rows_stride,
                     .window_rows = g.window[1],
                     .window_columns = g.window[2],
                     .channels = g.channels,
                     .in_width = g.in[2],
                     .out_width = g.out[2],
                     .stride = g.stride[2],
                     .dilation = g.dilation[2],
                     .left = -g.before[2],
                     .filter = filter,
                     .bias = epilogue.bias};
  TakeLimits(&step, end_of_steps, &args.low, &args.high);
  const double cost = 0.03 * static_cast<double>(g.taps()) * g.channels * g.out[2] * kRows;
  ctx.ParallelFor(g.batch * blocks, cost, [&](int64_t begin, int64_t end) {
    std::vector<const float*> rows((kRows - 1) * rows_stride + g.window[1]);
    DepthwiseArgs part = args;
    part.rows = rows.data();
    for (int64_t block = begin; block < end; ++block) {
      const int64_t image = block / blocks, row = block % blocks * kRows;
      part.out_rows = static_cast<int>(std::min(kRows, g.out[1] - row));
      for (int64_t r = 0; r < part.out_rows; ++r) {
        for (int64_t k = 0; k < g.window[1]; ++k) {
          const int64_t h = (row + r) * g.stride[1] - g.before[1] + k * g.dilation[1];
          rows[r * rows_stride + k] = h < 0 || h >= g.in[1]
                                          ? nullptr
                                          : x + (image * g.in_pixels() + h * g.in[2]) * g.channels;
        }
      }
      const int64_t pixel = (image * g.out[1] + row) * g.out[2];
      part.out = y + pixel * g.channels;
      code.depthwise(part);
      if (step == end_of_steps) continue;
      code.apply(step, static_cast<int>(end_of_steps - step), y, g.channels, pixel,
                 pixel + part.out_rows * g.out[2], g.channels);
    }
  });
}

}  // namespace savedmodel
