// What makes the gates of a cell of a recurrent layer.
#pragma once

#include <optional>
#include <vector>

#include "src/optimizer/loop_function.h"

namespace savedmodel {

// Columns [first, first + units) of a matrix or a row; or one number for all.
struct Columns {
  Tensor values;
  int64_t first = 0;
};

// What is added up to a gate's values before its activation.
struct GateSum {
  std::optional<int64_t> input;                // columns of the input's row from here on
  std::optional<Columns> previous, recurrent;  // weights of the cell before and of `factor`
  NodeOutput factor;
  std::optional<Tensor> peephole;  // weights of `peeped`, one for each unit
  NodeOutput peeped;
  std::vector<Columns> biases;
};

// Reads gates of one cell in the body of a loop.
class GateReader : private PatternPass {
 public:
  // `time`: the counter at which rows are taken; `previous`: the output of the cell before, which
  // the first has not.
  GateReader(OptimizeContext* context, Graph* graph, const LoopFunction& body, int time,
             NodeOutput previous)
      : PatternPass(context, graph), body_(body), time_(time), previous_(previous) {}

  // Columns [first, first + units) of `v`, a sum of what the cell gets of its input, the recurrent
  // product and biases. False for others.
  bool Read(NodeOutput v, int64_t first, int64_t units, GateSum* gate);

  // The variable with the list of the input's rows; -1 where no gate takes one.
  int input() const { return input_; }

 private:
  bool ReadPart(const Node& split, NodeOutput v, int64_t first, int64_t units, GateSum* gate);
  bool ReadProduct(const Node& product, int64_t first, int64_t units, GateSum* gate);
  bool ReadPeephole(NodeOutput v, int64_t first, int64_t units, GateSum* gate);
  bool AddProduct(NodeOutput factor, Columns weights, GateSum* gate);

  const LoopFunction& body_;
  const int time_;
  const NodeOutput previous_;
  int input_ = -1;
};

// The gates' columns side by side, gate g at place order[g]; without value where their rows differ.
Tensor JoinColumns(const std::vector<const Columns*>& gates, const std::vector<int64_t>& order,
                   int64_t units);
// The sums of the gates' biases side by side; without value where there are none.
Tensor JoinBiases(const std::vector<std::vector<Columns>>& gates, const std::vector<int64_t>& order,
                  int64_t units);

}  // namespace savedmodel
