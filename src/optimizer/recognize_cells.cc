// Cells of recurrent layers, LSTM and GRU, with the gates of a cell side by side in one matrix.
#include <algorithm>
#include <optional>

#include "src/optimizer/cell_patterns.h"

namespace savedmodel {
namespace {

class CellRecognizer : private CellPatterns {
 public:
  using CellPatterns::CellPatterns;

  Status Run() {
    return ReplaceEach([&](NodeId id, const std::string& op) {
      if (op == "Mul") ReplaceLstmOutput(id);
      if ((op == "AddV2" || op == "Add") && !ReplaceLstm(id)) ReplaceGru(id);
    });
  }

 private:
  // Part `index` of a matrix `whole` that is cut into equal parts along its last axis, by a Split
  // or slice by slice.
  struct Part {
    NodeOutput part, whole;
    int index = -1;  // none
  };
  Part AsPart(NodeOutput v, int parts) const {
    if (graph_->shape(v).rank() != 2 || !graph_->shape(v).fully_known()) return {};
    if (const Node* slice = As(v, "StridedSlice", 4)) {
      return {v, slice->inputs[0], PartOfSlice(*slice, graph_->shape(v)[1], parts)};
    }
    const Node* node = As(v, "Split", 2);
    const bool has_sizes = node == nullptr;
    if (has_sizes) node = As(v, "SplitV", 3);
    if (node == nullptr || node->num_outputs() != parts ||
        !IsAxis(Constant(node->inputs[has_sizes ? 2 : 0]), 1, 2)) {
      return {};
    }
    for (int i = 1; i < parts && has_sizes; ++i) {
      if (graph_->shape({v.node, i}) != graph_->shape({v.node, 0})) return {};
    }
    return {v, node->inputs[has_sizes ? 0 : 1], v.index};
  }

  bool IsPart(NodeOutput v, NodeOutput whole, int index, int parts) const {
    const Part part = AsPart(v, parts);
    return part.index == index && part.whole == whole;
  }

  // Which of so many equal parts of a matrix's columns a slice is, which has `width` of them; -1
  // where it is none.
  int PartOfSlice(const Node& slice, int64_t width, int parts) const {
    const Shape whole = graph_->shape(slice.inputs[0]);
    if (whole.rank() != 2 || !whole.fully_known()) return -1;
    const int64_t first = FirstColumn(slice);
    const bool is_part = width > 0 && width * parts == whole[1] && first >= 0 && first % width == 0;
    return is_part ? static_cast<int>(first / width) : -1;
  }

  bool AreAlike(NodeOutput a, NodeOutput b, NodeOutput c) const {
    return graph_->shape(a) == graph_->shape(b) && graph_->shape(a) == graph_->shape(c);
  }

  // A part of four, behind a sigmoid, to which a number may have been added.
  bool IsGate(const Activation& gate, Part* part, double* bias) const {
    if (!gate.IsPlain("Sigmoid")) return false;
    NodeOutput x = gate.x;
    *bias = 0;
    Either(x, "AddV2", [&](NodeOutput a, NodeOutput b) {
      const std::optional<double> number = Number(b);
      if (number) x = a, *bias = *number;
      return number.has_value();
    });
    *part = AsPart(x, 4);
    return part->index >= 0;
  }

  bool ReplaceLstm(NodeId id) {
    LstmPattern p;
    Part forget, input;
    double forget_bias = 0, input_bias = 0;
    if (!MatchLstmState({id, 0}, &p) || !p.candidate.IsPlain("Tanh") ||
        !IsGate(p.forget, &forget, &forget_bias) || !IsGate(p.input, &input, &input_bias)) {
      return false;
    }
    const Part candidate = AsPart(p.candidate.x, 4);
    if (input_bias != 0 || candidate.index < 0 || forget.whole != input.whole ||
        candidate.whole != input.whole || !AreAlike({id, 0}, p.state, forget.part)) {
      return false;
    }
    const int output = 6 - forget.index - input.index - candidate.index;
    const bool all = forget.index != input.index && forget.index != candidate.index &&
                     input.index != candidate.index;
    if (!all) return false;
    Attrs attrs;
    attrs.Set("order", std::vector<int64_t>{input.index, forget.index, candidate.index, output});
    attrs.Set("forget_bias", static_cast<float>(forget_bias));
    const NodeOutput cell = Make(id, "_LstmCell", {forget.whole, p.state}, std::move(attrs), 2);
    Redirect(id, {cell.node, 1});
    return true;
  }

  // output = sigmoid(output gate) * tanh(next), of a cell that was recognised.
  bool ReplaceLstmOutput(NodeId id) {
    return Either({id, 0}, "Mul", [&](NodeOutput gate, NodeOutput content) {
      const Node* tanh = As(content, "Tanh", 1);
      Part output;
      double bias = 0;
      if (tanh == nullptr || !IsGate(AsActivation(gate), &output, &bias) || bias != 0) return false;
      const NodeOutput next = tanh->inputs[0];
      const Node* cell = As(next, "_LstmCell", 2);
      if (cell == nullptr || next.index != 1 || cell->inputs[0] != output.whole ||
          cell->attrs.Ints("order")[3] != output.index) {
        return false;
      }
      Redirect(id, {next.node, 0});
      return true;
    });
  }

  // sigmoid(x[index] + recurrent[index])
  bool IsGruGate(const Activation& gate, int index, Part* x, Part* recurrent) const {
    const Node* sum = gate.IsPlain("Sigmoid") ? As(gate.x, "AddV2", 2) : nullptr;
    if (sum == nullptr) return false;
    *x = AsPart(sum->inputs[0], 3);
    *recurrent = AsPart(sum->inputs[1], 3);
    return x->index == index && recurrent->index == index;
  }

  // Of which the candidate is tanh(x[2] + reset * recurrent[2]).
  bool ReplaceGru(NodeId id) {
    GruPattern p;
    Part x, recurrent;
    if (!MatchGru({id, 0}, &p) || !p.candidate.IsPlain("Tanh") ||
        !IsGruGate(p.update, 0, &x, &recurrent) || !AreAlike({id, 0}, p.state, x.part) ||
        !AreAlike({id, 0}, p.state, recurrent.part)) {
      return false;
    }
    const bool rest = Either(p.candidate.x, "AddV2", [&](NodeOutput a, NodeOutput b) {
      return IsPart(a, x.whole, 2, 3) && Either(b, "Mul", [&](NodeOutput reset, NodeOutput r) {
               Part x1, recurrent1;
               return IsPart(r, recurrent.whole, 2, 3) &&
                      IsGruGate(AsActivation(reset), 1, &x1, &recurrent1) && x1.whole == x.whole &&
                      recurrent1.whole == recurrent.whole;
             });
    });
    if (!rest) return false;
    Redirect(id, Make(id, "_GruCell", {x.whole, recurrent.whole, p.state}));
    return true;
  }
};

}  // namespace

Status RecognizeCells(OptimizeContext* context, Graph* graph) {
  return CellRecognizer(context, graph).Run();
}

}  // namespace savedmodel
