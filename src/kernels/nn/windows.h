// Windows of an image as rows of a product's left side: found through pointers, never copied
// together.
#pragma once

#include <vector>

#include "src/kernels/isa/gemm.h"
#include "src/kernels/nn/spatial.h"

namespace savedmodel {

// A window is taps() runs of depth() consecutive floats each.
class Windows {
 public:
  // Of x with the channels last, of which each of several groups has `depth`.
  static StatusOr<Windows> Make(OpContext& ctx, const WindowGeometry& g, int64_t depth,
                                const float* x);

  int64_t taps() const { return g_.window[0] * g_.window[1] * columns_; }
  int64_t depth() const { return depth_; }

  // Writes the runs of output pixels [begin, end), of the channels from `channel` on.
  void FindRuns(int64_t channel, int64_t begin, int64_t end, const float** runs) const;

  // `distances` and `alike` of a product with the windows as rows.
  const int64_t* distances() const { return distances_.empty() ? nullptr : distances_.data(); }
  Product::Alike FindAlike(int64_t begin, int64_t end, const float** first_runs) const;

 private:
  explicit Windows(const WindowGeometry& g) : g_(g) {}

  void CountEdges();
  void SetDistances();
  Status MakeEdges(OpContext& ctx);
  int64_t Left(int64_t column) const { return column * g_.stride[2] - g_.before[2]; }
  bool IsInside(int64_t left) const {
    return left >= 0 && left + (g_.window[2] - 1) * g_.dilation[2] < g_.in[2];
  }
  int64_t EdgeOf(int64_t column) const {
    return column < left_edges_ ? column : column - (g_.out[2] - edges_per_row_);
  }
  bool HasAllRows(int64_t out_row) const;
  int64_t FirstRow(int64_t out_row) const;
  void FindRows(int64_t out_row, std::vector<int64_t>* rows) const;
  void PixelRuns(const std::vector<int64_t>& rows, int64_t column, int64_t channel,
                 const float** runs) const;

  WindowGeometry g_;
  const float* x_ = nullptr;
  bool is_pointwise_ = false;
  int64_t columns_ = 1;  // runs of one window row
  int64_t depth_ = 0;
  // Where a run is a whole window row: copies of those that reach over an end of their input row,
  // with zeros.
  const float* edges_ = nullptr;
  int64_t left_edges_ = 0, edges_per_row_ = 0;
  int64_t edges_pitch_ = 0;         // floats from an input row's copies to the next one's
  std::vector<int64_t> distances_;  // where runs are short
  const float* outside_ = nullptr;  // as many zeros as a run is long
  Tensor edge_memory_, zeros_;
};

}  // namespace savedmodel
