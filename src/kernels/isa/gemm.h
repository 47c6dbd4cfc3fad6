// Products of float matrices, and what is a product underneath: convolutions.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "savedmodel/op.h"
#include "src/kernels/isa/vector_code.h"

namespace savedmodel {

// Where element (k, j) of a matrix lies.
struct MatrixView {
  const float* data = nullptr;
  int64_t row_stride = 0;
  int64_t column_stride = 1;

  const float* at(int64_t k, int64_t j) const {
    return data == nullptr ? nullptr : data + k * row_stride + j * column_stride;
  }
};

// How the columns of a matrix B are cut into panels: as even as vectors allow, since one much
// narrower than the others would be slow.
class Panels {
 public:
  Panels(const VectorCode& code, int64_t columns)
      : lanes_(code.lanes),
        columns_(columns),
        vectors_((columns + lanes_ - 1) >> __builtin_ctz(code.lanes)),
        size_(code.max_vectors == 3
                  ? (vectors_ + 2) / 3  // by a constant, and the others by a shift: quick
                  : (vectors_ + code.max_vectors - 1) >> __builtin_ctz(code.max_vectors)) {}

  struct Panel {
    int64_t begin, columns;  // first column, and valid ones
    int vectors;
    int64_t width;  // columns with those that fill the last vector
  };

  int64_t size() const { return size_; }
  Panel operator[](int64_t i) const {
    const int64_t first = FirstVector(i), vectors = FirstVector(i + 1) - first;
    const int64_t begin = first * lanes_, width = vectors * lanes_;
    return {begin, std::min(width, columns_ - begin), static_cast<int>(vectors), width};
  }

 private:
  int64_t FirstVector(int64_t i) const {
    return i == 0 ? 0 : i == size_ ? vectors_ : vectors_ * i / size_;
  }

  int64_t lanes_, columns_, vectors_, size_;
};

// A matrix B in panels of vectors, ready to be streamed through: made once per constant.
class PackedMatrix {
 public:
  // In `precision` where the processor can multiply that; in bfloat16 also where not, since it is
  // half to read: panels are widened before they are multiplied. Int8 leaves float32 what it cannot
  // say: a matrix whose sums could overflow, or with a value that is not finite.
  // Columns are multiplied by their scales (null: 1).
  static StatusOr<PackedMatrix> Pack(const MatrixView& b, int64_t depth, int64_t columns,
                                     Precision precision = Precision::kFloat32,
                                     const float* scale = nullptr);
  // `count` matrices of float32 in one block of memory, as large as its pages may be.
  // `fill(column, valid, width, panels)` writes the panels of columns [column, column + valid), one
  // of [depth][width] for each matrix, with zeros for what is not valid.
  using FillPanels =
      FunctionRef<void(int64_t column, int64_t valid, int64_t width, float* const* panels)>;
  static StatusOr<std::vector<PackedMatrix>> Fill(int64_t count, int64_t depth, int64_t columns,
                                                  FillPanels fill);

  Precision precision() const { return precision_; }
  // Of float32.
  const float* panel(int64_t column) const {
    return static_cast<const float*>(data_) + column * depth_;
  }
  // Of bfloat16 that is widened.
  const uint16_t* halves(int64_t column) const {
    return static_cast<const uint16_t*>(data_) + column * depth_;
  }
  // Of all that ReducedCode multiplies.
  const int32_t* words(int64_t column) const {
    return static_cast<const int32_t*>(data_) + column * depth_;
  }
  // Of int8.
  const float* column_scales(int64_t column) const { return column_scales_.data() + column; }
  const int32_t* column_sums(int64_t column) const { return column_sums_.data() + column; }

 private:
  // Memory for `depth_` rows of numbers that are not float32.
  Status Allocate(DType dtype, int64_t columns);
  Status PackReduced(const ReducedCode& reduced, const MatrixView& b, int64_t depth,
                     int64_t columns, const float* scale);
  Status PackHalves(const MatrixView& b, int64_t depth, int64_t columns, const float* scale);

  Precision precision_ = Precision::kFloat32;
  Tensor memory_;  // which holds the data and perhaps other matrices'
  void* data_ = nullptr;
  int64_t depth_ = 0;  // in floats, halves or words
  std::vector<float> column_scales_;
  std::vector<int32_t> column_sums_;
};

// Shared by all plans that use them; null where there are none.
using PackedMatrices = std::shared_ptr<const std::vector<PackedMatrix>>;

// The matrices that `make` makes of constant input `input` of a node, shared by all plans under
// `kind`; null when the input is not constant.
StatusOr<PackedMatrices> ShareMatrices(BuildContext& build, int input, const std::string& kind,
                                       FunctionRef<StatusOr<std::vector<PackedMatrix>>()> make);
// Packs `count` matrices of constant input `input`, `view(i)` being the i-th, with a scale for each
// column of each of them (null: 1). Small ones stay in float32.
StatusOr<PackedMatrices> PackConstant(BuildContext& build, int input, const std::string& kind,
                                      int64_t count, int64_t depth, int64_t columns,
                                      Precision precision, FunctionRef<MatrixView(int64_t)> view,
                                      const float* scale = nullptr);

// What a kernel with these says of itself, where `matrices` may be null.
std::string DebugString(const PackedMatrices& matrices);

// The fused steps of a node, with operands resolved for one run.
class Epilogue {
 public:
  // Becomes that of an output of shape `output`, whose last dimension are the product's columns.
  Status Resolve(const OpContext& ctx, Span<const EpilogueStep> of_node, const Shape& output);
  // Of columns [first, …) of the output: for products that make a part of it.
  Epilogue FromColumn(int64_t first) const;
  // Of rows [first, …) of the output.
  Epilogue FromRow(int64_t first) const;

  // Applies all of it to a finished output of `n` elements in rows of `columns`.
  void ApplyTo(OpContext& ctx, float* out, int64_t n, int64_t columns) const;

  // Applies the steps alone to rows [begin, end) of an output of `columns`, on this thread.
  void ApplySteps(float* out, int64_t columns, int64_t begin, int64_t end) const;

  const float* bias = nullptr;
  absl::InlinedVector<VectorStep, 4> steps;
};

// Takes a step that limits values (Relu, Relu6) off the front of [*step, end): kernels do it before
// they write.
void TakeLimits(const VectorStep** step, const VectorStep* end, float* low, float* high);

// The runs of a matrix A with rows of one run each, `distance` floats apart.
struct EvenRuns {
  const float* first = nullptr;
  int64_t distance = 0;

  void operator()(int64_t begin, int64_t end, const float** runs) const {
    for (int64_t row = begin; row < end; ++row) *runs++ = first + row * distance;
  }
};

// c[rows, columns] = A * B, where a row of A is `taps` runs of `depth` floats each. B has
// taps * depth rows.
struct Product {
  int64_t rows = 0, columns = 0, taps = 1, depth = 0;
  // Writes pointers to the runs of rows [begin, end), row by row.
  FunctionRef<void(int64_t begin, int64_t end, const float** runs)> runs;
  // Where it is not null, rows may have their runs, one of each tap, at these distances from their
  // first one.
  const int64_t* distances = nullptr;
  // Then, how many rows from `begin` on have them so, or have not; writes the first runs of those.
  struct Alike {
    int64_t rows;
    bool have_distances;
  };
  using FindAlike = FunctionRef<Alike(int64_t begin, int64_t end, const float** first_runs)>;
  const FindAlike* alike = nullptr;
  RoundedFloats rounded;                 // what runs may be of
  const PackedMatrix* packed = nullptr;  // B, or
  MatrixView b;                          // B where it is not packed
  float* c = nullptr;
  int64_t c_stride = 0;
  // Where it is not null, rows of C are in lines of `line_rows`, the n-th of which begins at
  // line(n) instead. Of float32, and without steps.
  const FunctionRef<float*(int64_t n)>* line = nullptr;
  int64_t line_rows = 0;
  const Epilogue* epilogue = nullptr;
  const PackedMatrix* following = nullptr;  // of the product after this one, fetched meanwhile
  // The rows are some of those that a caller divides among threads: what each gives must not depend
  // on which are with it.
  bool is_part = false;
};

// Floats that one step of a layer may leave to the next, for them to be still in the second cache
// level.
int64_t StagedFloats();

// Rounds `n` floats for the products with `packed` that read each of them several times: none where
// that multiplies other numbers than bfloat16. `memory` has the result.
StatusOr<RoundedFloats> RoundOnce(OpContext& ctx, const PackedMatrix& packed, const float* floats,
                                  int64_t n, Tensor* memory);

// Computes the product with the run's threads.
void RunProduct(OpContext& ctx, const Product& product);
// Computes it on the caller's thread: for many small products that are spread over threads.
void RunProductSerially(const Product& product);

}  // namespace savedmodel
