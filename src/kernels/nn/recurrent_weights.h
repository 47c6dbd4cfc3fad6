// The cells of the loops that recurrent layers are, and their weights.
#pragma once

#include <memory>
#include <vector>

#include "savedmodel/op.h"
#include "src/kernels/isa/gemm.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/nn/row_products.h"

namespace savedmodel {

// A part of a turn: gates [first, first + gates) of the cell, for all units, before the next part;
// or the projection of what the cell makes.
struct TurnPart {
  TurnKind kind;
  int first, gates;

  bool projects() const { return kind == TurnKind::kProjection; }
};

// A kind of cell, and the attributes of the loop over it.
struct LoopCell {
  std::vector<TurnPart> parts;
  int gates = 0, states = 1;
  int hidden = 4;               // the op's input with the hidden state
  int order[4] = {0, 1, 2, 3};  // where gates are in the rows of the input, weights and biases
  ScalarOp activation = ScalarOp::kTanh, gate_activation = ScalarOp::kSigmoid;
  float gate_scale = 1;
  bool has_peepholes = false;
  float state_clip = __builtin_inff(), projection_clip = __builtin_inff();
  bool last_only = false, batch_major = false;

  bool is_lstm() const { return states == 2; }
  bool has_input_bias() const { return hidden == 5; }
  // Of a long short-term memory.
  static constexpr int kPeepholes = 4, kProjection = 5;
  bool projects() const { return parts.back().projects(); }
  int state() const { return hidden + 1; }
  int indices() const { return hidden + states; }
  int mask() const { return indices() + 1; }
  int masked() const { return indices() + 2; }
  Status ReadAttrs(const Attrs& attrs);  // once parts are known
  // Whether the ops for cells compute it, too.
  bool IsPlain() const;
};

// Constant weights; none otherwise.
struct LoopWeights {
  PackedMatrices input;
  std::shared_ptr<RowProducts> picked;  // what the input weights make of rows of a table
  std::vector<std::shared_ptr<const Tensor>> blocks;  // for each part, for TurnArgs
  PackedMatrices reduced;                             // of a precision other than float32
};

// Weights of float32 of a part of the cell, in blocks for TurnArgs.
StatusOr<Tensor> PackBlocks(const LoopCell& cell, const TurnPart& part, const Tensor& weights);
// The op's input with those.
int WeightsOf(const TurnPart& part);

StatusOr<LoopWeights> PackWeights(BuildContext& build, const LoopCell& cell);

}  // namespace savedmodel
