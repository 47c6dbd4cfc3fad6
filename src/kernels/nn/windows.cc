#include "src/kernels/nn/windows.h"

#include <algorithm>

#include "src/base/status_macros.h"

namespace savedmodel {
namespace {

// Inputs with fewer channels than this make runs of whole window rows: to find each pixel and to
// begin with it would take long beside its multiplications.
constexpr int64_t kFewChannels = 64;
// Runs that are not much longer than it takes to find them.
constexpr int64_t kShortRun = 32;
// Copies of runs may be so many times as large as the input.
constexpr int64_t kMostCopies = 4;

bool IsPointwise(const WindowGeometry& g) {
  return g.taps() == 1 && g.stride == std::array<int64_t, 3>{1, 1, 1} &&
         g.before == std::array<int64_t, 3>{0, 0, 0} && g.in == g.out;
}

// Whether an output pixel's window may reach outside along dimension i.
bool Reaches(const WindowGeometry& g, int i) {
  return g.before[i] > 0 ||
         (g.out[i] - 1) * g.stride[i] + (g.window[i] - 1) * g.dilation[i] - g.before[i] >= g.in[i];
}

}  // namespace

StatusOr<Windows> Windows::Make(OpContext& ctx, const WindowGeometry& g, int64_t depth,
                                const float* x) {
  Windows windows(g);
  windows.x_ = x;
  windows.is_pointwise_ = IsPointwise(g);
  windows.columns_ = g.window[2];
  windows.depth_ = depth;
  if (depth == g.channels && depth < kFewChannels && g.dilation[2] == 1 && g.window[2] > 1) {
    windows.CountEdges();
    if (windows.edges_per_row_ * g.window[2] <= kMostCopies * g.in[2]) {
      windows.columns_ = 1;
      windows.depth_ *= g.window[2];
      windows.SetDistances();
      if (windows.edges_per_row_ > 0) SM_RETURN_IF_ERROR(windows.MakeEdges(ctx));
    }
  }
  if (Reaches(g, 0) || Reaches(g, 1) || Reaches(g, 2)) {
    SM_ASSIGN_OR_RETURN(windows.zeros_,
                        Tensor::Zeros(DType::kFloat, Shape({windows.depth_}), ctx.run().budget));
    windows.outside_ = windows.zeros_.data<float>();
  }
  return windows;
}

void Windows::CountEdges() {
  while (left_edges_ < g_.out[2] && !IsInside(Left(left_edges_))) ++left_edges_;
  int64_t right = g_.out[2];
  while (right > left_edges_ && !IsInside(Left(right - 1))) --right;
  edges_per_row_ = left_edges_ + g_.out[2] - right;
}

// Where there are distances, they are those of input rows, and so copies are as far apart.
void Windows::SetDistances() {
  const int64_t pitch = g_.in[2] * g_.channels;
  edges_pitch_ = edges_per_row_ * depth_;
  if (depth_ > kShortRun || edges_pitch_ > pitch) return;
  edges_pitch_ = pitch;
  for (int64_t kd = 0; kd < g_.window[0]; ++kd) {
    for (int64_t kh = 0; kh < g_.window[1]; ++kh) {
      distances_.push_back((kd * g_.dilation[0] * g_.in[1] + kh * g_.dilation[1]) * pitch);
    }
  }
}

Status Windows::MakeEdges(OpContext& ctx) {
  const int64_t right = g_.out[2] - (edges_per_row_ - left_edges_);
  const int64_t rows = g_.batch * g_.in[0] * g_.in[1], floats = edges_per_row_ * depth_;
  SM_ASSIGN_OR_RETURN(edge_memory_, ctx.AllocateTemp(DType::kFloat, Shape({rows, edges_pitch_})));
  float* const to = static_cast<float*>(edge_memory_.raw_mutable_data());
  edges_ = to;
  ctx.ParallelFor(rows, 0.5 * static_cast<double>(floats), [&](int64_t begin, int64_t end) {
    for (int64_t edge = 0; edge < edges_per_row_; ++edge) {
      const int64_t left = Left(edge < left_edges_ ? edge : edge - left_edges_ + right);
      const TapRange inside = TapsInside(left, g_.window[2], 1, g_.in[2]);
      for (int64_t row = begin; row < end; ++row) {
        const float* from = x_ + (row * g_.in[2] + left) * g_.channels;
        float* const copy = to + row * edges_pitch_ + edge * depth_;
        std::fill_n(copy, depth_, 0.0f);
        std::copy(from + inside.begin * g_.channels, from + inside.end * g_.channels,
                  copy + inside.begin * g_.channels);
      }
    }
  });
  return Status();
}

// The input row of the first row of the windows of one row of output pixels, where it is inside.
int64_t Windows::FirstRow(int64_t out_row) const {
  const int64_t oh = out_row % g_.out[1], od = out_row / g_.out[1] % g_.out[0];
  const int64_t n = out_row / (g_.out[1] * g_.out[0]);
  const int64_t d = od * g_.stride[0] - g_.before[0], h = oh * g_.stride[1] - g_.before[1];
  return (n * g_.in[0] + d) * g_.in[1] + h;
}

// The input row of each row of the windows of one row of output pixels; -1 where it is outside.
void Windows::FindRows(int64_t out_row, std::vector<int64_t>* rows) const {
  const int64_t oh = out_row % g_.out[1], od = out_row / g_.out[1] % g_.out[0];
  const int64_t n = out_row / (g_.out[1] * g_.out[0]);
  rows->clear();
  for (int64_t kd = 0; kd < g_.window[0]; ++kd) {
    const int64_t d = od * g_.stride[0] - g_.before[0] + kd * g_.dilation[0];
    for (int64_t kh = 0; kh < g_.window[1]; ++kh) {
      const int64_t h = oh * g_.stride[1] - g_.before[1] + kh * g_.dilation[1];
      const bool outside = d < 0 || d >= g_.in[0] || h < 0 || h >= g_.in[1];
      rows->push_back(outside ? -1 : (n * g_.in[0] + d) * g_.in[1] + h);
    }
  }
}

// Writes the runs of the output pixel at `column` whose window's rows are `rows`.
void Windows::PixelRuns(const std::vector<int64_t>& rows, int64_t column, int64_t channel,
                        const float** runs) const {
  const int64_t left = Left(column);
  const bool is_edge = edges_ != nullptr && !IsInside(left);
  for (const int64_t row : rows) {
    if (is_edge && row >= 0) {
      *runs++ = edges_ + row * edges_pitch_ + EdgeOf(column) * depth_;
      continue;
    }
    for (int64_t kw = 0; kw < columns_; ++kw) {
      const int64_t w = left + kw * g_.dilation[2];
      const bool inside = row >= 0 && w >= 0 && w < g_.in[2];
      *runs++ = inside ? x_ + (row * g_.in[2] + w) * g_.channels + channel : outside_;
    }
  }
}

void Windows::FindRuns(int64_t channel, int64_t begin, int64_t end, const float** runs) const {
  if (is_pointwise_) return EvenRuns{x_ + channel, g_.channels}(begin, end, runs);
  thread_local std::vector<int64_t> rows;
  thread_local std::vector<int64_t> steps;  // of each run from one pixel inside to the next
  for (int64_t row = begin / g_.out[2]; begin < end; ++row) {
    FindRows(row, &rows);
    steps.clear();
    for (const int64_t from : rows) {
      steps.insert(steps.end(), columns_, from < 0 ? 0 : g_.stride[2] * g_.channels);
    }
    const size_t taps = steps.size();
    const int64_t last = std::min(end, (row + 1) * g_.out[2]);
    for (int64_t column = begin - row * g_.out[2]; begin < last;) {
      PixelRuns(rows, column, channel, runs);
      const int64_t left = Left(column);
      // Pixels of the row that are as this one.
      int64_t pixels = 1;
      if (IsInside(left)) {
        const int64_t most_left = g_.in[2] - 1 - (g_.window[2] - 1) * g_.dilation[2];
        pixels = std::min(last - begin, (most_left - left) / g_.stride[2] + 1);
      }
      for (size_t t = 0; t < taps; ++t) {
        const float* run = runs[t];
        for (int64_t i = 1; i < pixels; ++i) runs[i * taps + t] = run += steps[t];
      }
      begin += pixels;
      column += pixels;
      runs += pixels * taps;
    }
  }
}

// Whether all rows of the windows of a row of output pixels are inside.
bool Windows::HasAllRows(int64_t out_row) const {
  const int64_t place[] = {out_row / g_.out[1] % g_.out[0], out_row % g_.out[1]};
  for (const int i : {0, 1}) {
    const int64_t first = place[i] * g_.stride[i] - g_.before[i];
    if (first < 0 || first + (g_.window[i] - 1) * g_.dilation[i] >= g_.in[i]) return false;
  }
  return true;
}

Product::Alike Windows::FindAlike(int64_t begin, int64_t end, const float** first_runs) const {
  const int64_t step = g_.stride[2] * g_.channels, right = left_edges_ + g_.out[2] - edges_per_row_;
  int64_t row = begin / g_.out[2], at = begin;
  const bool has_all_rows = HasAllRows(row);
  for (; at < end && HasAllRows(row) == has_all_rows; ++row) {
    const int64_t first = row * g_.out[2], last = std::min(end, first + g_.out[2]);
    if (!has_all_rows) {
      at = last;
      continue;
    }
    const int64_t in_row = FirstRow(row);
    const auto copy_edges = [&](int64_t to) {
      for (; at < to; ++at) {
        *first_runs++ = edges_ + in_row * edges_pitch_ + EdgeOf(at - first) * depth_;
      }
    };
    copy_edges(std::min(last, first + left_edges_));
    const float* run = x_ + (in_row * g_.in[2] + Left(at - first)) * g_.channels;
    for (const int64_t to = std::min(last, first + right); at < to; ++at, run += step) {
      *first_runs++ = run;
    }
    copy_edges(last);
  }
  return {at - begin, has_all_rows};
}

}  // namespace savedmodel
