#include "src/kernels/nn/conv_transposed.h"

#include <algorithm>
#include <utility>

#include "src/base/status_macros.h"
#include "src/base/strcat.h"
#include "src/kernels/nn/narrow_conv.h"

namespace savedmodel {

struct TransposedFilter::Part {
  std::vector<int64_t> rows;  // of the output, over images and depth
  int64_t first = 0;          // column
  int64_t columns = 0;        // pixels in each row
  float* products = nullptr;  // [rows][columns][out_channels]
};

// The windows of a part's pixels.
class TransposedFilter::Runs {
 public:
  Runs(const WindowGeometry& g, const Phase& phase, const Part& part, const float* x,
       const float* outside, int64_t channels)
      : g_(g), phase_(phase), part_(part), x_(x), outside_(outside), channels_(channels) {
    for (const int64_t k : phase.taps[2]) {
      starts_.push_back((part.first + g.before[2] - k * g.dilation[2]) / g.stride[2]);
    }
  }

  void operator()(int64_t begin, int64_t end, const float** runs) const {
    thread_local std::vector<const float*> rows;  // of the input, null outside it
    for (int64_t i = begin; i < end; ++i) {
      const int64_t column = i % part_.columns;
      if (i == begin || column == 0) FindRows(part_.rows[i / part_.columns], &rows);
      for (const float* row : rows) {
        for (const int64_t start : starts_) {
          const int64_t w = start + column;
          const bool inside = row != nullptr && w >= 0 && w < g_.out[2];
          *runs++ = inside ? row + w * channels_ : outside_;
        }
      }
    }
  }

 private:
  void FindRows(int64_t row, std::vector<const float*>* rows) const {
    const int64_t h = row % g_.in[1], d = row / g_.in[1] % g_.in[0],
                  image = row / g_.in[1] / g_.in[0];
    rows->clear();
    for (const int64_t kd : phase_.taps[0]) {
      const int64_t from_d = d + g_.before[0] - kd * g_.dilation[0];
      for (const int64_t kh : phase_.taps[1]) {
        const int64_t from_h = h + g_.before[1] - kh * g_.dilation[1];
        const int64_t at_d = from_d / g_.stride[0], at_h = from_h / g_.stride[1];
        const bool inside = from_d >= 0 && from_h >= 0 && at_d < g_.out[0] && at_h < g_.out[1];
        rows->push_back(inside ? x_ + ((image * g_.out[0] + at_d) * g_.out[1] + at_h) * g_.out[2] *
                                          channels_
                               : nullptr);
      }
    }
  }

  const WindowGeometry& g_;
  const Phase& phase_;
  const Part& part_;
  const float* const x_;
  const float* const outside_;
  const int64_t channels_;
  std::vector<int64_t> starts_;  // input column of each tap for the part's first pixel of a row
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
        for (int64_t k = 0; k < attrs.window[i]; ++k) {
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

void TransposedFilter::RunRows(OpContext& ctx, const WindowGeometry& g, int64_t begin, int64_t end,
                               const float* x, const float* zeros, const Epilogue& epilogue,
                               float* products, float* y) const {
  const int64_t row_pixels = g.in[2], channels = out_channels_;
  Epilogue bias;
  bias.bias = epilogue.bias;
  std::vector<Part> parts(phases_.size());
  for (size_t p = 0; p < parts.size(); ++p) {
    const Phase& phase = phases_[p];
    Part& part = parts[p];
    const int64_t s = g.stride[2];
    part.first = ((phase.at[2] - g.before[2]) % s + s) % s;
    if (part.first >= row_pixels) continue;
    part.columns = (row_pixels - 1 - part.first) / s + 1;
    for (int64_t row = begin; row < end; ++row) {
      const int64_t h = row % g.in[1], d = row / g.in[1] % g.in[0];
      if ((d + g.before[0]) % g.stride[0] == phase.at[0] &&
          (h + g.before[1]) % g.stride[1] == phase.at[1]) {
        part.rows.push_back(row);
      }
    }
    part.products = products;
    const int64_t pixels = static_cast<int64_t>(part.rows.size()) * part.columns;
    products += pixels * channels;
    if (pixels == 0) continue;
    const Runs runs(g, phase, part, x, zeros, in_channels_);
    RunProduct(ctx, {.rows = pixels,
                     .columns = channels,
                     .taps = static_cast<int64_t>(phase.taps[0].size() * phase.taps[1].size() *
                                                  phase.taps[2].size()),
                     .depth = in_channels_,
                     .runs = runs,
                     .packed = &phase.matrix,
                     .c = part.products,
                     .c_stride = channels,
                     .epilogue = &bias});
  }
  const auto place = [&](int64_t row) {
    float* to = y + row * row_pixels * channels;
    for (int64_t i = 0; !reaches_all_ && i < row_pixels; ++i) {
      for (int64_t c = 0; c < channels; ++c) to[i * channels + c] = bias.bias ? bias.bias[c] : 0;
    }
    for (const Part& part : parts) {
      const auto at = std::lower_bound(part.rows.begin(), part.rows.end(), row);
      if (at == part.rows.end() || *at != row) continue;
      const float* from = part.products + (at - part.rows.begin()) * part.columns * channels;
      for (int64_t i = 0; i < part.columns; ++i, from += channels) {
        std::copy_n(from, channels, to + (part.first + i * g.stride[2]) * channels);
      }
    }
    epilogue.ApplySteps(y, channels, row * row_pixels, (row + 1) * row_pixels);
  };
  ctx.ParallelFor(end - begin, 0.3 * static_cast<double>(row_pixels * channels),
                  [&](int64_t first, int64_t last) {
                    for (int64_t row = begin + first; row < begin + last; ++row) place(row);
                  });
}

Status TransposedFilter::Run(OpContext& ctx, const WindowGeometry& g, const float* x,
                             const Epilogue& epilogue, float* y) const {
  if (narrow_) {
    RunNarrow(ctx, NarrowGeometry::OfTransposed(g, in_channels_), *narrow_, x, epilogue, y);
    return Status();
  }
  SM_ASSIGN_OR_RETURN(const Tensor zeros,
                      Tensor::Zeros(DType::kFloat, Shape({in_channels_}), ctx.run().budget));
  // So many rows at a time that their products are still in the second cache level when they are
  // placed, and enough for products to be worth their weights.
  constexpr int64_t kFloats = 128 * 1024;
  const int64_t rows = g.batch * g.in[0] * g.in[1];
  const int64_t block =
      std::clamp<int64_t>(kFloats / (g.in[2] * out_channels_), std::min<int64_t>(rows, 16), rows);
  SM_ASSIGN_OR_RETURN(Tensor memory,
                      ctx.AllocateTemp(DType::kFloat, Shape({block, g.in[2], out_channels_})));
  for (int64_t row = 0; row < rows; row += block) {
    SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
    RunRows(ctx, g, row, std::min(row + block, rows), x, zeros.data<float>(), epilogue,
            static_cast<float*>(memory.raw_mutable_data()), y);
  }
  return Status();
}

}  // namespace savedmodel
