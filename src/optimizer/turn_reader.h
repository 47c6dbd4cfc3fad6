// What a turn of a loop over cells of recurrent layers computes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/optimizer/cell_patterns.h"
#include "src/optimizer/gate_reader.h"

namespace savedmodel {

// One of the cells of a turn. The first takes a row of the input, others take the output of the
// one before. Tensors are as the loops' ops take them; without value where there is none.
struct CellTurn {
  std::string op;  // of the loop over it
  Attrs attrs;
  NodeOutput made;              // the next hidden state
  NodeOutput output;            // the same, or the sum of it and the cell's input
  bool adds_input = false;      // whether it is that sum
  int hidden = -1, state = -1;  // variables of the loop; the same where a cell has one state
  int gates = 0;
  int64_t units = 0;
  Tensor input_weights;  // of cells but the first; the rows of the input are products already
  Tensor weights;        // of the recurrent product
  Tensor bias, input_bias;
  Tensor peepholes, projection;  // of a long short-term memory
};

// Which rows take part in a turn; the others keep their states.
struct TurnMask {
  int list = -1;     // variable: list of booleans, one for each row
  int lengths = -1;  // or variable: numbers of turns that rows take part in
  bool exists() const { return list >= 0 || lengths >= 0; }
  friend bool operator==(const TurnMask&, const TurnMask&) = default;
};

// Numbers are of the loop's variables; -1 where there is none.
struct Turn {
  int time = -1;           // which row is taken
  int input = -1;          // list of rows
  int added = -1;          // list of what the first cell's output is the sum with
  int output = -1;         // list of results, where they are kept
  bool last_only = false;  // the list holds the last result only
  std::vector<CellTurn> cells;
  TurnMask mask;
  int masked = -1;          // what masked outputs are: a variable, the last output; without one 0
  std::vector<int> unread;  // variables that turns change and do not read
};

// The body of a loop over cells.
class TurnReader : public LoopFunction {
 public:
  TurnReader(OptimizeContext* context, Graph graph)
      : LoopFunction(context, std::move(graph)), patterns_(context, &own_) {}

  // After Specialize. False for other loops.
  StatusOr<bool> Read(Turn* turn);

 private:
  // A value that is `made` where a mask says so, else `kept`.
  struct Masked {
    NodeOutput made, kept;
    TurnMask mask;
  };

  bool FindTime();
  void SplitBeforeActivations();
  std::vector<NodeOutput> MadeStates() const;
  bool ReadCell(NodeOutput made);
  bool ReadLstm(NodeOutput made, CellTurn* cell);
  bool ReadPeepholes(const LstmPattern& p, std::vector<GateSum>* gates, CellTurn* cell) const;
  NodeOutput ReadProjection(NodeOutput made, CellTurn* cell) const;
  bool ReadGru(NodeOutput made, CellTurn* cell);
  bool ReadRnn(NodeOutput made, CellTurn* cell);
  bool IsInput(NodeOutput v);
  void ReadOutput(CellTurn* cell);
  GateReader Gates() {
    return {context_, &own_, *this, turn_.time,
            turn_.cells.empty() ? NodeOutput() : turn_.cells.back().output};
  }
  bool Finish(const GateReader& reader, const std::vector<GateSum>& gates,
              const Activation& gate_activation, const std::string& activation, CellTurn* cell);
  Masked ReadMasked(NodeOutput v) const;
  bool ReadMask(NodeOutput mask, int64_t batch, TurnMask* read, bool* inverted) const;
  bool IsNext(int variable, NodeOutput made);
  bool ReadList(NodeOutput result);
  bool RestIsPlain();
  bool Agrees(const TurnMask& mask);

  CellPatterns patterns_;
  Turn turn_;
  std::optional<TurnMask> mask_;  // that of the states and outputs that were read
};

}  // namespace savedmodel
