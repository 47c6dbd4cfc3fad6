// A block of a product: some rows of A times some panels of B, in parts that stay in the caches.
#pragma once

#include <vector>

#include "src/base/aligned_vector.h"
#include "src/kernels/isa/gemm.h"

namespace savedmodel {

// Depth of the part of a panel that is multiplied at a time, so that it stays in the first
// (narrow panels) or second cache level while rows stream past it.
inline int64_t DepthOfBlock(const VectorCode& code) { return code.lanes == 16 ? 768 : 256; }
// Pointers to runs that a block of rows may need.
inline constexpr int64_t kBlockRuns = 128 * 1024;
// Tiles are 6 or 8 rows high.
inline constexpr int64_t kRowsOfTiles = 24;

inline bool IsFloat32(const PackedMatrix& b) { return b.precision() == Precision::kFloat32; }
// Null where the numbers that are multiplied are float32.
inline const ReducedCode* ReducedCodeOf(const Product& p) {
  return p.packed == nullptr ? nullptr : Reduced(p.packed->precision());
}
// Whether B is in bfloat16, but what is multiplied is float32.
inline bool IsWidened(const Product& p) {
  return p.packed != nullptr && !IsFloat32(*p.packed) && ReducedCodeOf(p) == nullptr;
}

// Consecutive rows of A as words, with their scales, in memory that is the thread's otherwise.
class ReducedRows {
 public:
  ReducedRows(const ReducedCode& code, const Product& p, int64_t begin, int64_t end);
  ~ReducedRows();

  // Fills in rows [begin, end), by any thread.
  void Reduce(int64_t begin, int64_t end);

  int64_t depth() const { return depth_; }    // in words
  int64_t stride() const { return stride_; }  // in words
  const int32_t* words(int64_t row) const { return words_.data() + (row - first_) * stride_; }
  const RowScale* scales(int64_t row) const { return scales_.data() + (row - first_); }

 private:
  static constexpr int64_t kAligned = 16;

  const ReducedCode& code_;
  const Product& p_;
  const int64_t first_, depth_, stride_;  // a stride is no power of two
  AlignedVector<int32_t> words_;
  std::vector<RowScale> scales_;
};

// Rows [row_begin, row_end) of panels [panel_begin, panel_end).
void RunBlock(const VectorCode& code, const Product& p, const Panels& panels, int64_t row_begin,
              int64_t row_end, int64_t panel_begin, int64_t panel_end);
// The same, of rows that are reduced already.
void RunReducedBlock(const VectorCode& code, const ReducedCode& reduced, const Product& p,
                     const Panels& panels, const ReducedRows& rows, int64_t row_begin,
                     int64_t row_end, int64_t panel_begin, int64_t panel_end);

}  // namespace savedmodel
