#include "src/kernels/nn/conv_transposed.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "src/base/status_macros.h"
#include "src/base/strcat.h"
#include "src/kernels/nn/narrow_conv.h"
#include "src/kernels/nn/windows.h"

namespace savedmodel {
namespace {

// Lines of pixels that make tiles of too few rows: they are multiplied together, and then copied.
constexpr int64_t kShortLine = 12;

}  // namespace

// Its input is that of the transposed one, its output the pixels of the phase, which lie `step`
// apart in the whole output from `first` on.
struct TransposedFilter::Part {
  Part(const WindowGeometry& g, const Phase& phase, int64_t in_channels)
      : matrix(phase.matrix), step(g.stride), whole(g.in) {
    conv.batch = g.batch;
    conv.channels = in_channels;
    conv.in = g.out;
    for (int i = 0; i < 3; ++i) {
      const std::vector<int64_t>& taps = phase.taps[i];
      first[i] = ((phase.at[i] - g.before[i]) % step[i] + step[i]) % step[i];
      conv.out[i] = Before(i, whole[i]);
      conv.window[i] = static_cast<int64_t>(taps.size());
      conv.dilation[i] = g.dilation[i] / std::gcd(g.dilation[i], step[i]);
      conv.before[i] = (taps[0] * g.dilation[i] - g.before[i] - first[i]) / step[i];
    }
  }

  // How many of the phase's positions along dimension i are before `end`.
  int64_t Before(int i, int64_t end) const {
    return end <= first[i] ? 0 : (end - 1 - first[i]) / step[i] + 1;
  }
  // How many of its rows of pixels, over images and depth, are before row `end` of the output.
  int64_t RowsBefore(int64_t end) const {
    const int64_t h = end % whole[1], d = end / whole[1] % whole[0],
                  image = end / whole[1] / whole[0];
    const int64_t planes = image * conv.out[0] + Before(0, d);
    const bool is_inside = Before(0, d + 1) > Before(0, d);
    return planes * conv.out[1] + (is_inside ? Before(1, h) : 0);
  }
  // The row of the output that is its n-th.
  int64_t RowOf(int64_t n) const {
    const int64_t h = n % conv.out[1], d = n / conv.out[1] % conv.out[0],
                  image = n / conv.out[1] / conv.out[0];
    return (image * whole[0] + first[0] + d * step[0]) * whole[1] + first[1] + h * step[1];
  }

  const PackedMatrix& matrix;
  WindowGeometry conv;
  std::array<int64_t, 3> first = {0, 0, 0}, step, whole;
  std::optional<Windows> windows;
};

// Along each dimension a phase for each remainder that a tap has.
void TransposedFilter::FindPhases(const WindowAttrs& attrs) {
  phases_.resize(1);
  for (int i = 0; i < 3; ++i) {
    std::vector<int64_t> remainders;
    for (int64_t k = 0; k < attrs.window[i]; ++k) {
      remainders.push_back(k * attrs.dilation[i] % attrs.stride[i]);
    }
    std::vector<int64_t> distinct = remainders;
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    reaches_all_ = reaches_all_ && static_cast<int64_t>(distinct.size()) == attrs.stride[i];
    std::vector<Phase> next;
    for (const Phase& phase : phases_) {
      for (const int64_t at : distinct) {
        next.push_back(phase);
        next.back().at[i] = at;
        for (int64_t k = attrs.window[i] - 1; k >= 0; --k) {
          if (remainders[k] == at) next.back().taps[i].push_back(k);
        }
      }
    }
    phases_ = std::move(next);
  }
}

StatusOr<TransposedFilter> TransposedFilter::Pack(const WindowAttrs& attrs, const Tensor& filter) {
  const Shape& shape = filter.shape();
  const std::array<int64_t, 3>& window = attrs.window;
  TransposedFilter packed;
  const int64_t out = packed.out_channels_ = shape[attrs.rank];
  const int64_t in = packed.in_channels_ = shape[attrs.rank + 1];
  const int64_t taps = window[0] * window[1] * window[2];
  const float* data = filter.data<float>();
  if (attrs.rank == 2 && SuitsNarrow(taps, in, out)) {
    SM_ASSIGN_OR_RETURN(packed.narrow_, PackNarrow(data, taps, out * in, in, 1, out, in, nullptr));
    return packed;
  }
  packed.FindPhases(attrs);
  std::vector<float> matrix;
  for (Phase& phase : packed.phases_) {
    matrix.clear();
    for (const int64_t kd : phase.taps[0]) {
      for (const int64_t kh : phase.taps[1]) {
        for (const int64_t kw : phase.taps[2]) {
          const float* f = data + ((kd * window[1] + kh) * window[2] + kw) * out * in;
          for (int64_t i = 0; i < in; ++i) {
            for (int64_t o = 0; o < out; ++o) matrix.push_back(f[o * in + i]);
          }
        }
      }
    }
    SM_ASSIGN_OR_RETURN(phase.matrix,
                        PackedMatrix::Pack({matrix.data(), out, 1},
                                           static_cast<int64_t>(matrix.size()) / out, out));
  }
  return packed;
}

std::string TransposedFilter::DebugString() const {
  return narrow_ ? "sums of taps" : StrCat("products of ", phases_.size(), " phases");
}

void TransposedFilter::RunRows(OpContext& ctx, const std::vector<Part>& parts, int64_t begin,
                               int64_t end, const Epilogue& epilogue, float* products,
                               float* y) const {
  const int64_t channels = out_channels_, row_pixels = parts.front().whole[2];
  Epilogue bias;
  bias.bias = epilogue.bias;
  const auto for_each_row = [&](FunctionRef<void(int64_t row)> run) {
    ctx.ParallelFor(end - begin, 0.3 * static_cast<double>(row_pixels * channels),
                    [&](int64_t first, int64_t last) {
                      for (int64_t row = begin + first; row < begin + last; ++row) run(row);
                    });
  };
  if (!reaches_all_) {
    for_each_row([&](int64_t row) {
      float* to = y + row * row_pixels * channels;
      for (int64_t i = 0; i < row_pixels * channels; ++i) {
        to[i] = bias.bias == nullptr ? 0 : bias.bias[i % channels];
      }
    });
  }
  for (const Part& part : parts) {
    const int64_t columns = part.conv.out[2], row = part.RowsBefore(begin);
    const int64_t pixels = (part.RowsBefore(end) - row) * columns;
    if (pixels == 0) continue;
    const auto runs = [&](int64_t from, int64_t to, const float** found) {
      part.windows->FindRuns(0, row * columns + from, row * columns + to, found);
    };
    const auto line_of = [&](int64_t n) {
      return y + (part.RowOf(row + n) * row_pixels + part.first[2]) * channels;
    };
    const FunctionRef<float*(int64_t)> line = line_of;
    const int64_t distance = part.step[2] * channels;
    const bool is_short = columns < kShortLine;
    RunProduct(ctx, {.rows = pixels,
                     .columns = channels,
                     .taps = part.windows->taps(),
                     .depth = part.windows->depth(),
                     .runs = runs,
                     .packed = &part.matrix,
                     .c = is_short ? products : y,
                     .c_stride = is_short ? channels : distance,
                     .line = is_short ? nullptr : &line,
                     .line_rows = columns,
                     .epilogue = &bias});
    if (!is_short) continue;
    const double cost = 0.3 * static_cast<double>(columns * channels);
    ctx.ParallelFor(pixels / columns, cost, [&](int64_t first, int64_t last) {
      for (int64_t i = first * columns; i < last * columns; ++i) {
        std::copy_n(products + i * channels, channels,
                    line_of(i / columns) + i % columns * distance);
      }
    });
  }
  if (epilogue.steps.empty()) return;
  for_each_row([&](int64_t row) {
    epilogue.ApplySteps(y, channels, row * row_pixels, (row + 1) * row_pixels);
  });
}

Status TransposedFilter::Run(OpContext& ctx, const WindowGeometry& g, const float* x,
                             const Epilogue& epilogue, float* y) const {
  if (narrow_) {
    RunNarrow(ctx, NarrowGeometry::OfTransposed(g, in_channels_), *narrow_, x, epilogue, y);
    return Status();
  }
  std::vector<Part> parts;
  bool any_short = false;
  for (const Phase& phase : phases_) {
    Part& part = parts.emplace_back(g, phase, in_channels_);
    if (part.conv.out_pixels() == 0) continue;
    any_short = any_short || part.conv.out[2] < kShortLine;
    SM_ASSIGN_OR_RETURN(part.windows, Windows::Make(ctx, part.conv, in_channels_, x));
  }
  // So many rows at a time that they are still in the second cache level when steps are applied,
  // and enough for products to be worth their weights.
  const int64_t rows = g.batch * g.in[0] * g.in[1];
  const int64_t block = std::clamp<int64_t>(StagedFloats() / (g.in[2] * out_channels_),
                                            std::min<int64_t>(rows, 16), rows);
  Tensor memory;
  if (any_short) {
    SM_ASSIGN_OR_RETURN(memory,
                        ctx.AllocateTemp(DType::kFloat, Shape({block, g.in[2], out_channels_})));
  }
  float* const products = any_short ? static_cast<float*>(memory.raw_mutable_data()) : nullptr;
  for (int64_t row = 0; row < rows; row += block) {
    SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
    RunRows(ctx, parts, row, std::min(row + block, rows), epilogue, products, y);
  }
  return Status();
}

}  // namespace savedmodel
