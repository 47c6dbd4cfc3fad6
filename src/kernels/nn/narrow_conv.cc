#include "src/kernels/nn/narrow_conv.h"

#include <algorithm>
#include <vector>

#include "src/base/aligned_vector.h"
#include "src/base/ceil_div.h"

namespace savedmodel {
namespace {

// y[i * y_step + c] += products[i * stride + c] for `n` pixels of kChannels channels (0: of
// `channels`).
template <int kChannels>
void AddTap(const float* products, int64_t stride, int64_t n, int64_t channels, int64_t y_step,
            float* y) {
  const int64_t count = kChannels > 0 ? kChannels : channels;
  for (int64_t i = 0; i < n; ++i, products += stride, y += y_step) {
    for (int64_t c = 0; c < count; ++c) y[c] += products[c];
  }
}

using AddTapFn = void (*)(const float*, int64_t, int64_t, int64_t, int64_t, float*);
constexpr AddTapFn kAddTap[] = {AddTap<0>, AddTap<1>, AddTap<2>, AddTap<3>, AddTap<4>};

// A band of rows of one output image, made from the input rows that reach it.
class Band {
 public:
  Band(const NarrowGeometry& g, const PackedMatrix& filter, const float* bias, int64_t begin,
       int64_t end, const float* image, float* y)
      : g_(g),
        filter_(filter),
        columns_(g.window[0] * g.window[1] * g.out_channels),
        begin_(begin),
        end_(end),
        image_(image),
        y_(y),
        add_tap_(kAddTap[g.out_channels < static_cast<int64_t>(std::size(kAddTap)) ? g.out_channels
                                                                                   : 0]) {
    // Products of so many pixels that they are still in the first cache level when they are added.
    constexpr int64_t kFloats = 6 * 1024, kLeast = 16;
    segment_ = std::max(kFloats / columns_, kLeast);
    products_.resize(static_cast<size_t>(std::min(segment_, g.in[1]) * columns_));
    float* const first = y + begin * g.out[1] * g.out_channels;
    float* const last = y + end * g.out[1] * g.out_channels;
    if (bias == nullptr) std::fill(first, last, 0.0f);
    for (float* to = first; bias != nullptr && to < last; to += g.out_channels) {
      std::copy_n(bias, g.out_channels, to);
    }
  }

  void Run() {
    for (int64_t row = 0; row < g_.in[0]; ++row) {
      if (!Reaches(row)) continue;
      for (int64_t at = 0; at < g_.in[1]; at += segment_) {
        const int64_t n = std::min(segment_, g_.in[1] - at);
        const EvenRuns pixels{image_ + (row * g_.in[1] + at) * g_.in_channels, g_.in_channels};
        RunProductSerially({.rows = n,
                            .columns = columns_,
                            .depth = g_.in_channels,
                            .runs = pixels,
                            .packed = &filter_,
                            .c = products_.data(),
                            .c_stride = columns_,
                            .epilogue = &none_});
        AddSegment(row, at, n);
      }
    }
  }

 private:
  int64_t OutRow(int64_t row, int64_t k) const {
    return row * g_.step[0] + g_.first[0] + k * g_.tap[0];
  }
  bool Reaches(int64_t row) const {
    for (int64_t k = 0; k < g_.window[0]; ++k) {
      if (OutRow(row, k) >= begin_ && OutRow(row, k) < end_) return true;
    }
    return false;
  }

  // Adds the products of pixels [at, at + n) of an input row.
  void AddSegment(int64_t row, int64_t at, int64_t n) {
    for (int64_t kh = 0; kh < g_.window[0]; ++kh) {
      const int64_t out_row = OutRow(row, kh);
      if (out_row < begin_ || out_row >= end_) continue;
      for (int64_t kw = 0; kw < g_.window[1]; ++kw) {
        // The pixels whose output position lies inside.
        const int64_t shift = g_.first[1] + kw * g_.tap[1], step = g_.step[1];
        const int64_t from = std::max(at, shift >= 0 ? 0 : (-shift + step - 1) / step);
        const int64_t to = std::min(at + n, (g_.out[1] - shift + step - 1) / step);
        if (from >= to) continue;
        const int64_t column = from * step + shift;
        add_tap_(
            products_.data() + (from - at) * columns_ + (kh * g_.window[1] + kw) * g_.out_channels,
            columns_, to - from, g_.out_channels, step * g_.out_channels,
            y_ + (out_row * g_.out[1] + column) * g_.out_channels);
      }
    }
  }

  const NarrowGeometry& g_;
  const PackedMatrix& filter_;
  const int64_t columns_;
  const int64_t begin_, end_;
  const float* const image_;
  float* const y_;
  const AddTapFn add_tap_;
  const Epilogue none_;
  int64_t segment_ = 0;
  AlignedVector<float> products_;
};

}  // namespace

NarrowGeometry NarrowGeometry::OfConv(const WindowGeometry& g, int64_t out_channels) {
  return {.batch = g.batch,
          .in_channels = g.channels,
          .out_channels = out_channels,
          .in = {g.in[1], g.in[2]},
          .out = {g.out[1], g.out[2]},
          .window = {g.window[1], g.window[2]},
          .step = {1, 1},
          .first = {g.before[1], g.before[2]},
          .tap = {-g.dilation[1], -g.dilation[2]}};
}

NarrowGeometry NarrowGeometry::OfTransposed(const WindowGeometry& g, int64_t in_channels) {
  return {.batch = g.batch,
          .in_channels = in_channels,
          .out_channels = g.channels,
          .in = {g.out[1], g.out[2]},
          .out = {g.in[1], g.in[2]},
          .window = {g.window[1], g.window[2]},
          .step = {g.stride[1], g.stride[2]},
          .first = {-g.before[1], -g.before[2]},
          .tap = {g.dilation[1], g.dilation[2]}};
}

bool SuitsNarrow(int64_t taps, int64_t in_channels, int64_t out_channels) {
  const int64_t lanes = Vectors().lanes;
  // In products of vectors: what rows computed twice and the additions cost besides.
  const double sums = 2.0 * static_cast<double>(taps * out_channels);
  const double products =
      1.5 * static_cast<double>(CeilDiv(taps * out_channels, lanes) * in_channels);
  return taps > 1 &&
         products + sums < static_cast<double>(taps * CeilDiv(out_channels, lanes) * in_channels);
}

StatusOr<PackedMatrix> PackNarrow(const float* filter, int64_t taps, int64_t tap_stride,
                                  int64_t in_channels, int64_t in_stride, int64_t out_channels,
                                  int64_t out_stride, const float* scale) {
  std::vector<float> matrix;
  matrix.reserve(static_cast<size_t>(taps * in_channels * out_channels));
  for (int64_t i = 0; i < in_channels; ++i) {
    for (int64_t t = 0; t < taps; ++t) {
      for (int64_t o = 0; o < out_channels; ++o) {
        const float value = filter[t * tap_stride + i * in_stride + o * out_stride];
        matrix.push_back(scale == nullptr ? value : value * scale[o]);
      }
    }
  }
  const int64_t columns = taps * out_channels;
  return PackedMatrix::Pack({matrix.data(), columns, 1}, in_channels, columns);
}

void RunNarrow(OpContext& ctx, const NarrowGeometry& g, const PackedMatrix& filter, const float* x,
               const Epilogue& epilogue, float* y) {
  // Rows at the ends of a band are computed for its neighbour, too: at most one in nine.
  const int64_t rows = std::min(g.out[0], std::max<int64_t>(8 * g.window[0] * g.step[0], 16));
  const int64_t bands = CeilDiv(g.out[0], rows);
  const int64_t in_image = g.in[0] * g.in[1] * g.in_channels;
  const int64_t out_image = g.out[0] * g.out[1] * g.out_channels;
  const double cost = 0.02 * static_cast<double>(g.window[0] * g.window[1] * g.out_channels) *
                      static_cast<double>(in_image) / static_cast<double>(bands);
  ctx.ParallelFor(g.batch * bands, cost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / bands, first = i % bands * rows;
      const int64_t last = std::min(first + rows, g.out[0]);
      Band(g, filter, epilogue.bias, first, last, x + image * in_image, y + image * out_image)
          .Run();
      const int64_t row = image * g.out[0];
      epilogue.ApplySteps(y, g.out_channels, (row + first) * g.out[1], (row + last) * g.out[1]);
    }
  });
}

}  // namespace savedmodel
