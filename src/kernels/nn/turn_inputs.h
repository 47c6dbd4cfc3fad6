// What the turns of a recurrent layer get of its input.
#pragma once

#include "src/kernels/nn/row_products.h"

namespace savedmodel {

// Rows of gates for each turn: of x itself; x times input weights, for some turns at a time, so
// that turns find in cache what they get; or products kept by rows of a table (`row_products.h`).
class TurnInputs {
 public:
  struct Sizes {
    int64_t turns, batch, inputs, gates;
    bool batch_major;  // x is [batch, turns, inputs], else [turns, batch, inputs]
    int indices;       // the op's input with the indices
  };

  // Of inputs 0 (x or a table), 1 (input weights, or none) and `sizes.indices` (or none) of the op;
  // the weights may be packed. `bias` (or null) is added to what is multiplied.
  TurnInputs(OpContext& ctx, const Sizes& sizes, const PackedMatrix* packed, RowProducts* products,
             const float* bias)
      : ctx_(ctx), sizes_(sizes), packed_(packed), products_(products), bias_(bias) {}

  // Before anything else.
  Status Prepare(int64_t threads);

  // Whether the rows have the bias.
  bool has_bias() const { return Multiplies() && products_ == nullptr; }

  // Before turn t of rows [first, first + rows), which are the same in all turns: makes what these
  // get in t and the turns behind it, where that is not there yet. `divide`: among threads.
  void Make(int64_t t, int64_t first, int64_t rows, bool divide);
  // That of turn t, [rows, gates].
  const float* Of(int64_t t, int64_t first, int64_t rows);

 private:
  bool Multiplies() const { return ctx_.input(1).num_elements() > 0; }
  float* Made(int64_t t, int64_t first, int64_t rows);
  void Copy(int64_t t, int64_t first, int64_t rows);

  OpContext& ctx_;
  const Sizes sizes_;
  const PackedMatrix* const packed_;
  RowProducts* const products_;
  const float* const bias_;
  int64_t chunk_ = 1;  // turns that are made at a time
  RowProducts::Picked picked_;
  Tensor made_;
};

}  // namespace savedmodel
