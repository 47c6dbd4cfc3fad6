#include "src/kernels/nn/winograd.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "src/base/aligned_vector.h"
#include "src/base/ceil_div.h"
#include "src/base/status_macros.h"
#include "src/base/strcat.h"
#include "src/kernels/nn/conv_float.h"

namespace savedmodel {
namespace {

// Tiles that a block has at least, about, so that the filter, which is read once for each, does not
// dominate.
constexpr int64_t kFewTiles = 24;
// Planes of a volume's output that a tile has at least, where windows are several planes deep and
// so share planes of the input.
constexpr int64_t kLeastPlanes = 8;
// Channels that meet each other, at least: of fewer, transforms cost more than the products. Those
// of small tiles cost more.
constexpr int64_t kLeastChannels = 16, kLeastOfSmall = 32;
// Floats of a filter's frequencies that each thread may well read for itself.
constexpr int64_t kSmallFilter = 1024 * 1024;
// Channels of a plane for which a run takes long to begin.
constexpr int64_t kShortRun = 64;
// Between rows of the same frequency; keeps power-of-two strides apart.
constexpr int64_t kRowPadding = 16;

// Frequencies of a block of tiles: [frequency][tile][plane][channel], of the input and of the
// output.
struct Scratch {
  AlignedVector<float> in, out, zeros;
};
Scratch& ThreadScratch() {
  thread_local Scratch scratch;
  return scratch;
}

// Outputs of dimension `d` in every phase: a dilation makes of an image, of each of its dimensions,
// as many images of every n-th row or column, that are convolved without.
int64_t PhaseSize(const WindowGeometry& g, int d) { return CeilDiv(g.out[d], g.dilation[d]); }

// Tiles along dimension `d`, of `size` outputs each: the first of all phases come before the
// second.
int64_t TilesAlong(const WindowGeometry& g, int d, int64_t size) {
  return CeilDiv(PhaseSize(g, d), size) * g.dilation[d];
}

// A convolution of images, or of volumes: there a tile has several planes of the output at one
// place, and a frequency's product the taps of the window's planes.
class Convolution {
 public:
  Convolution(const WindowGeometry& g, const WinogradTile& tile,
              const std::vector<PackedMatrix>& filter, int64_t out_channels, const float* x,
              const Epilogue& epilogue, float* y)
      : g_(g),
        tile_(tile),
        filter_(filter),
        out_channels_(out_channels),
        x_(x),
        y_(y),
        epilogue_(epilogue),
        step_(epilogue.steps.data()),
        end_(step_ + epilogue.steps.size()),
        parts_(static_cast<int64_t>(filter.size()) / tile.frequencies()),
        rows_(TilesAlong(g, 1, tile.rows)),
        columns_(TilesAlong(g, 2, tile.columns)) {
    TakeLimits(&step_, end_, &low_, &high_);
    if (g.window[0] > 1) {
      const int64_t floats = frequencies() * (g.stride[0] * g.channels + out_channels);
      const int64_t most = std::max(kLeastPlanes, StagedFloats() / floats);
      planes_ = CeilDiv(g.out[0], CeilDiv(g.out[0], most));
      in_planes_ = (planes_ - 1) * g.stride[0] + (g.window[0] - 1) * g.dilation[0] + 1;
    }
    is_one_run_ = g.window[0] > 1 && g.dilation[0] == 1 && parts_ == 1 && g.channels <= kShortRun;
    layers_ = CeilDiv(g.out[0], planes_);
    tiles_ = g.batch * layers_ * rows_ * columns_;
    const int64_t floats = frequencies() * (in_planes_ * g.channels + planes_ * out_channels);
    blocks_ = CeilDiv(tiles_, std::max<int64_t>(1, StagedFloats() / floats));
    blocks_ = std::clamp<int64_t>((tiles_ * planes_ + kFewTiles / 2) / kFewTiles, 1, blocks_);
  }

  // Makes as many blocks for each of `threads` threads. False where they would read too large a
  // filter too often, or have too few tiles: then they share blocks.
  bool DivideAmong(int64_t threads) {
    if (threads == 1) return true;
    const bool is_small = frequencies() * pairs() <= kSmallFilter;
    const int64_t blocks = CeilDiv(blocks_, threads) * threads;
    const int64_t most = std::min(tiles_, tiles_ * planes_ / (kFewTiles / 2));
    if ((!is_small && blocks_ < 2 * threads) || blocks > most) return false;
    blocks_ = blocks;
    return true;
  }

  int64_t all_outputs() const { return tiles_ * planes_; }
  int64_t blocks() const { return blocks_; }
  int64_t frequencies() const { return tile_.frequencies(); }
  // Of channels that meet, in all planes of the window.
  int64_t pairs() const { return g_.window[0] * g_.channels * out_channels_ / parts_; }

  // Begins block `b` with the frequencies in `scratch`.
  void StartBlock(int64_t b, Scratch* scratch) {
    first_ = tiles_ * b / blocks_;
    count_ = tiles_ * (b + 1) / blocks_ - first_;
    in_stride_ = g_.channels + (is_one_run_ ? 0 : kRowPadding);
    in_frequency_stride_ = inputs() * in_stride_ + (is_one_run_ ? kRowPadding : 0);
    out_stride_ = out_channels_ + kRowPadding;
    const auto grow = [](AlignedVector<float>* v, int64_t n) {
      if (static_cast<int64_t>(v->size()) < n) v->resize(n);
    };
    grow(&scratch->in, frequencies() * in_frequency_stride_);
    grow(&scratch->out, frequencies() * outputs() * out_stride_);
    grow(&scratch->zeros, g_.channels);
    in_ = scratch->in.data();
    out_ = scratch->out.data();
    zeros_ = scratch->zeros.data();
  }
  // Planes of the block's tiles.
  int64_t inputs() const { return count_ * in_planes_; }
  int64_t outputs() const { return count_ * planes_; }

  // Transforms planes [begin, end) of the block's input.
  void TransformInput(int64_t begin, int64_t end) const {
    const VectorCode& code = Vectors();
    const float *pixels[kMostPixels], *outside[kMostPixels];
    std::fill_n(outside, frequencies(), zeros_);
    const int64_t plane_size = g_.in[1] * g_.in[2] * g_.channels;
    for (int64_t i = begin; i < end;) {
      const int64_t tile = in_planes_ == 1 ? i : i / in_planes_,
                    last = std::min(end, (tile + 1) * in_planes_);
      const Place at = PlaceOf(first_ + tile);
      int64_t plane = at.plane * g_.stride[0] - g_.before[0] + i - tile * in_planes_;
      FindPixels(at, x_ + (at.image * g_.in[0] + plane) * plane_size, pixels);
      while (true) {
        code.winograd_input(tile_, {.channels = g_.channels,
                                    .pixels = plane >= 0 && plane < g_.in[0] ? pixels : outside,
                                    .frequencies = in_ + i * in_stride_,
                                    .frequency_stride = in_frequency_stride_});
        if (++i == last) break;
        ++plane;
        for (int k = 0; k < frequencies(); ++k) pixels[k] += pixels[k] == zeros_ ? 0 : plane_size;
      }
    }
  }

  void Multiply(int64_t frequency) const {
    const int64_t depth = g_.channels / parts_, columns = out_channels_ / parts_;
    const int64_t taps = is_one_run_ ? 1 : g_.window[0];
    for (int64_t part = 0; part < parts_; ++part) {
      const size_t at = static_cast<size_t>(frequency * parts_ + part);
      const float* in = in_ + frequency * in_frequency_stride_ + part * depth;
      const auto runs = [&](int64_t begin, int64_t end, const float** to) {
        if (planes_ == 1 && taps == 1) return EvenRuns{in, in_stride_}(begin, end, to);
        const int64_t step = g_.stride[0] * in_stride_;
        for (int64_t at = begin; at < end;) {
          const int64_t tile = at / planes_, plane = at % planes_;
          const int64_t n = std::min(end - at, planes_ - plane);
          const float* first = in + (tile * in_planes_ + plane * g_.stride[0]) * in_stride_;
          for (int64_t k = 0; k < taps; ++k, first += g_.dilation[0] * in_stride_) {
            for (int64_t i = 0; i < n; ++i) to[i * taps + k] = first + i * step;
          }
          at += n;
          to += n * taps;
        }
      };
      RunProductSerially({.rows = outputs(),
                          .columns = columns,
                          .taps = taps,
                          .depth = is_one_run_ ? g_.window[0] * depth : depth,
                          .runs = runs,
                          .packed = &filter_[at],
                          .c = out_ + frequency * outputs() * out_stride_ + part * columns,
                          .c_stride = out_stride_,
                          .following = &filter_[(at + 1) % filter_.size()],
                          .is_part = planes_ > 1});
    }
  }

  // Makes planes [begin, end) of the block's output.
  void TransformOutput(int64_t begin, int64_t end) const {
    const VectorCode& code = Vectors();
    const int64_t row_step = g_.dilation[1] * g_.out[2], column_step = g_.dilation[2];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t tile = planes_ == 1 ? i : i / planes_;
      const Place at = PlaceOf(first_ + tile);
      const int64_t plane = at.plane + i - tile * planes_;
      const int64_t rows = OutputsOf(tile_.rows, at.row, 1);
      const int64_t columns = OutputsOf(tile_.columns, at.column, 2);
      if (plane >= g_.out[0] || rows <= 0 || columns <= 0) continue;
      const int64_t pixel =
          ((at.image * g_.out[0] + plane) * g_.out[1] + at.row) * g_.out[2] + at.column;
      code.winograd_output(tile_, {.channels = out_channels_,
                                   .frequencies = out_ + i * out_stride_,
                                   .frequency_stride = outputs() * out_stride_,
                                   .out = y_ + pixel * out_channels_,
                                   .out_row_stride = row_step * out_channels_,
                                   .out_column_stride = column_step * out_channels_,
                                   .out_rows = rows,
                                   .out_columns = columns,
                                   .bias = epilogue_.bias,
                                   .low = low_,
                                   .high = high_});
      // Pixels that lie next to each other at once.
      const int64_t run = column_step == 1 ? columns : 1;
      for (int64_t r = 0; step_ != end_ && r < rows; ++r) {
        for (int64_t c = 0; c < columns; c += run) {
          const int64_t first = pixel + r * row_step + c * column_step;
          code.apply(step_, static_cast<int>(end_ - step_), y_, out_channels_, first, first + run,
                     out_channels_);
        }
      }
    }
  }

 private:
  static constexpr int64_t kMostPixels = 36;  // of a tile's input

  struct Place {
    int64_t image, plane, row, column;  // of the tile's first output pixel
  };
  Place PlaceOf(int64_t tile) const {
    const int64_t layer = tile / columns_ / rows_;
    const int64_t image = layers_ == 1 ? layer : layer / layers_;
    return {image, (layer - image * layers_) * planes_,
            FirstOf(tile / columns_ % rows_, tile_.rows, 1),
            FirstOf(tile % columns_, tile_.columns, 2)};
  }

  // Writes where the pixels of a tile's input lie in a plane, zeros for those outside.
  void FindPixels(const Place& at, const float* plane, const float** pixels) const {
    const float* const zeros = zeros_;
    const int64_t width = g_.in[2], step = g_.dilation[2], channels = g_.channels;
    const int rows = tile_.in_rows(), columns = tile_.in_columns();
    for (int y = 0; y < rows; ++y) {
      const int64_t h = at.row + y * g_.dilation[1] - g_.before[1];
      const bool row_inside = h >= 0 && h < g_.in[1];
      int64_t w = at.column - g_.before[2];
      const float* row = plane + (h * width + w) * channels;
      for (int x = 0; x < columns; ++x) {
        *pixels++ = row_inside && w >= 0 && w < width ? row : zeros;
        w += step;
        row += step * channels;
      }
    }
  }

  // Where tile `i` of `size` outputs begins along dimension `d`.
  int64_t FirstOf(int64_t i, int64_t size, int d) const {
    const int64_t phases = g_.dilation[d];
    return phases == 1 ? i * size : i / phases * phases * size + i % phases;
  }
  // How many of the `size` outputs of a tile that begins at `first` exist.
  int64_t OutputsOf(int64_t size, int64_t first, int d) const {
    const int64_t step = g_.dilation[d], left = g_.out[d] - first;
    return std::min(size, step == 1 ? left : CeilDiv(std::max<int64_t>(left, 0), step));
  }

  const WindowGeometry& g_;
  const WinogradTile tile_;
  const std::vector<PackedMatrix>& filter_;
  const int64_t out_channels_;
  const float* x_;
  float* y_;
  const Epilogue& epilogue_;
  const VectorStep *step_, *end_;  // those left after the limits
  float low_ = -__builtin_inff(), high_ = __builtin_inff();
  const int64_t parts_;  // of the channels, which meet only each other
  const int64_t rows_, columns_;
  int64_t planes_ = 1, in_planes_ = 1;  // of the output and the input of a tile
  int64_t layers_ = 1;                  // of tiles, in a volume
  bool is_one_run_ = false;             // of all planes of a window, which lie next to each other
  int64_t tiles_ = 0, blocks_ = 0;
  // The block at hand.
  int64_t first_ = 0, count_ = 0, in_stride_ = 0, in_frequency_stride_ = 0, out_stride_ = 0;
  float *in_ = nullptr, *out_ = nullptr;
  const float* zeros_ = nullptr;
};

// Floats in whole vectors.
int64_t InVectors(int64_t channels) {
  const int64_t lanes = Vectors().lanes;
  return CeilDiv(channels, lanes) * lanes;
}

// The time that tiles take, in that of a multiplication.
double TimeOf(const WinogradTile& tile, const WindowGeometry& g, int64_t in_channels,
              int64_t out_channels) {
  constexpr double kTransform = 12;  // of a frequency, input and output alike: whole vectors
  // To read a number of the filter, which few tiles have in common; of one beyond the second cache
  // level.
  constexpr double kRead = 2.5, kReadFar = 8;
  constexpr double kNearFilter = 256 * 1024;
  const int64_t width = InVectors(out_channels);
  const double pairs = static_cast<double>(g.window[0] * in_channels * width);
  const double transforms = kTransform * static_cast<double>(InVectors(in_channels) + width);
  const double tiles =
      static_cast<double>(TilesAlong(g, 1, tile.rows) * TilesAlong(g, 2, tile.columns) * g.out[0]);
  const double size = tile.frequencies();
  const double read = size * pairs <= kNearFilter ? kRead : kReadFar;
  return size * (tiles * (pairs + transforms) + read * pairs);
}

// Whether they are quicker than the direct way.
bool PaysOff(const WinogradTile& tile, const WindowGeometry& g, int64_t in_channels,
             int64_t out_channels) {
  const double direct = static_cast<double>(g.out_pixels()) * static_cast<double>(g.taps()) *
                        static_cast<double>(in_channels) *
                        static_cast<double>(InVectors(out_channels));
  return TimeOf(tile, g, in_channels, out_channels) < direct;
}

}  // namespace

WinogradTile FindWinogradTile(const WindowGeometry& g, int64_t out_channels, int64_t groups) {
  if (g.stride[1] != 1 || g.stride[2] != 1) return {};
  const int64_t parts = groups / WinogradGroups(groups, out_channels / groups);
  const int64_t in = g.channels / parts, out = out_channels / parts;
  const int64_t rows = g.window[1], columns = g.window[2];
  constexpr WinogradTile kLarge = {4, 4, 3, 3}, kSmall = {2, 2, 3, 3};
  WinogradTile tile;
  if (rows == 3 && columns == 3 && g.window[0] == 1) {
    const int64_t channels = std::min(in, out), least = std::min(PhaseSize(g, 1), PhaseSize(g, 2));
    return least >= 12 && channels >= kLeastChannels ? kLarge
           : least >= 4 && channels >= kLeastOfSmall ? kSmall
                                                     : WinogradTile{};
  }
  if (rows == 3 && columns == 3) {
    tile = TimeOf(kLarge, g, in, out) < TimeOf(kSmall, g, in, out) ? kLarge : kSmall;
  }
  const int taps = static_cast<int>(std::max(rows, columns)), m = 9 - taps;
  if (rows == 5 && columns == 5) tile = {2, 2, 5, 5};
  if (rows == 1 && taps > 1 && taps <= 7) tile = {1, m, 1, taps};
  if (columns == 1 && taps > 1 && taps <= 7) tile = {m, 1, taps, 1};
  return tile && PaysOff(tile, g, in, out) ? tile : WinogradTile{};
}

int64_t WinogradGroups(int64_t groups, int64_t columns) {
  return JoinedGroups(groups, columns, kLeastChannels);
}

std::string DebugString(const WinogradTile& tile) {
  return StrCat("Winograd's F(", tile.rows, "x", tile.columns, ", ", tile.window_rows, "x",
                tile.window_columns, ")");
}

bool AllFinite(OpContext& ctx, const float* x, int64_t n) {
  std::atomic<bool> finite{true};
  ctx.ParallelFor(n, 0.02, [&](int64_t begin, int64_t end) {
    if (!Vectors().all_finite(x + begin, end - begin)) {
      finite.store(false, std::memory_order_relaxed);
    }
  });
  return finite.load(std::memory_order_relaxed);
}

void RunWinograd(OpContext& ctx, const WindowGeometry& g, const WinogradTile& tile,
                 const std::vector<PackedMatrix>& filter, int64_t out_channels, const float* x,
                 const Epilogue& epilogue, float* y) {
  Convolution whole(g, tile, filter, out_channels, x, epilogue, y);
  const double in_cost = 0.15 * static_cast<double>(whole.frequencies() * g.channels);
  const double out_cost = 0.15 * static_cast<double>(whole.frequencies() * out_channels);
  const double pair_cost = 0.025 * static_cast<double>(whole.pairs());
  const int64_t threads = ctx.run().pool == nullptr ? 1 : ctx.run().pool->num_threads();
  if (whole.DivideAmong(threads)) {
    const double planes =
        static_cast<double>(whole.all_outputs()) / static_cast<double>(whole.blocks());
    const double cost =
        planes * (in_cost + out_cost + pair_cost * static_cast<double>(whole.frequencies()));
    ctx.ParallelFor(whole.blocks(), cost, [&](int64_t begin, int64_t end) {
      Convolution part = whole;
      for (int64_t b = begin; b < end; ++b) {
        part.StartBlock(b, &ThreadScratch());
        part.TransformInput(0, part.inputs());
        for (int64_t f = 0; f < part.frequencies(); ++f) part.Multiply(f);
        part.TransformOutput(0, part.outputs());
      }
    });
    return;
  }
  for (int64_t b = 0; b < whole.blocks(); ++b) {
    whole.StartBlock(b, &ThreadScratch());
    ctx.ParallelFor(whole.inputs(), in_cost,
                    [&](int64_t begin, int64_t end) { whole.TransformInput(begin, end); });
    ctx.ParallelFor(whole.frequencies(), pair_cost * static_cast<double>(whole.outputs()),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t f = begin; f < end; ++f) whole.Multiply(f);
                    });
    ctx.ParallelFor(whole.outputs(), out_cost,
                    [&](int64_t begin, int64_t end) { whole.TransformOutput(begin, end); });
  }
}

}  // namespace savedmodel
