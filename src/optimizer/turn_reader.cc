#include "src/optimizer/turn_reader.h"

#include <algorithm>
#include <tuple>

namespace savedmodel {
namespace {

bool IsZero(const Tensor* t) {
  if (t == nullptr || t->dtype() != DType::kFloat) return false;
  const float* values = t->data<float>();
  return std::all_of(values, values + t->num_elements(), [](float v) { return v == 0; });
}

}  // namespace

StatusOr<bool> TurnReader::Read(Turn* turn) {
  SM_RETURN_IF_ERROR(RecognizeCells(context_, &own_));
  std::vector<NodeId> cells;
  for (NodeId id = 0; id < own_.num_nodes(); ++id) {
    if (own_.node(id).op == "_LstmCell" || own_.node(id).op == "_GruCell") cells.push_back(id);
  }
  while (!cells.empty()) {
    const auto next = std::find_if(cells.begin(), cells.end(), [&](NodeId id) {
      const Turn before = turn_;
      const std::optional<TurnMask> mask = mask_;
      const bool read = ReadCell(id);
      if (!read) turn_ = before, mask_ = mask;
      return read;
    });
    if (next == cells.end()) return false;
    cells.erase(next);
  }
  if (turn_.cells.empty() || !ReadOutput({turn_.cells.back().node, 0})) return false;
  turn_.mask = *mask_;
  if (!RestIsPlain()) return false;
  *turn = std::move(turn_);
  return true;
}

// The cell that follows those that were read.
bool TurnReader::ReadCell(NodeId id) {
  const Node& node = own_.node(id);
  const bool lstm = node.op == "_LstmCell";
  CellTurn cell{.node = id};
  cell.state = Variable(node.inputs.back());
  const bool gates = lstm ? ReadSum(node.inputs[0], 0, &cell)
                          : ReadSum(node.inputs[0], 1, &cell) && ReadSum(node.inputs[1], 2, &cell);
  const bool has_input = turn_.cells.empty() ? turn_.input >= 0 : cell.input_weights.has_value();
  if (!gates || !has_input || !cell.weights.has_value() || (!lstm && cell.hidden != cell.state) ||
      !IsNext(cell.hidden, {id, 0}) || (lstm && !IsNext(cell.state, {id, 1}))) {
    return false;
  }
  turn_.cells.push_back(std::move(cell));
  return true;
}

// A sum of what the cell gets of its input, the recurrent product and biases. `part` 0: all of it;
// 1: of the input; 2: of the recurrent product.
bool TurnReader::ReadSum(NodeOutput v, int part, CellTurn* cell) {
  const Node* sum = As(v, "AddV2", 2);
  if (sum == nullptr) sum = As(v, "BiasAdd", 2);
  if (sum != nullptr) {
    const NodeOutput a = sum->inputs[0], b = sum->inputs[1];
    return ReadSum(a, part, cell) && ReadSum(b, part, cell);
  }
  if (const Tensor* bias = Constant(v)) {
    Tensor* to = part == 1 ? &cell->input_bias : &cell->bias;
    if (to->has_value() || bias->dtype() != DType::kFloat) return false;
    *to = *bias;
    return true;
  }
  if (const Node* item = As(v, "TensorListGetItem", 3); item != nullptr && part != 2) {
    if (turn_.input >= 0) return false;
    turn_.input = Variable(item->inputs[0]);
    turn_.time = Variable(item->inputs[1]);
    return IsUnchanged(turn_.input) && IsCounter(turn_.time);
  }
  const Node* product = As(v, "MatMul", 2);
  const Tensor* weights = product == nullptr ? nullptr : Constant(product->inputs[1]);
  if (weights == nullptr || weights->shape().rank() != 2 || product->attrs.Bool("transpose_a") ||
      product->attrs.Bool("transpose_b")) {
    return false;
  }
  const Node* both = As(product->inputs[0], "ConcatV2", 3);
  if (both == nullptr) return ReadProduct(product->inputs[0], *weights, part, cell);
  const Shape first = own_.shape(both->inputs[0]);
  return IsAxis(Constant(both->inputs[2]), 1, 2) && first.rank() == 2 && first[1] > 0 &&
         first[1] < weights->shape()[0] &&
         ReadProduct(both->inputs[0], weights->Rows(0, first[1]), part, cell) &&
         ReadProduct(both->inputs[1], weights->Rows(first[1], weights->shape()[0]), part, cell);
}

bool TurnReader::ReadProduct(NodeOutput factor, const Tensor& weights, int part, CellTurn* cell) {
  if (!turn_.cells.empty() && factor == NodeOutput{turn_.cells.back().node, 0} && part != 2) {
    if (cell->input_weights.has_value()) return false;
    cell->input_weights = weights;
    return true;
  }
  if (cell->weights.has_value() || part == 1) return false;
  cell->hidden = Variable(factor);
  cell->weights = weights;
  return cell->hidden >= 0;
}

// Whether turns give `variable` what is `made`, in rows that are not masked.
bool TurnReader::IsNext(int variable, NodeOutput made) {
  if (variable < 0) return false;
  const NodeOutput next = own_.results[variable];
  if (next == made) return Agrees(TurnMask());
  const Masked masked = ReadMasked(next);
  return masked.made == made && Variable(masked.kept) == variable && Agrees(masked.mask);
}

bool TurnReader::Agrees(const TurnMask& mask) {
  if (!mask_) mask_ = mask;
  return *mask_ == mask;
}

// Without a mask where `v` is not masked.
TurnReader::Masked TurnReader::ReadMasked(NodeOutput v) const {
  const Node* select = As(v, "Select", 3);
  const bool by_row = select != nullptr;  // if the condition is a vector
  if (select == nullptr) select = As(v, "SelectV2", 3);
  const Shape shape = own_.shape(v);
  Masked masked;
  bool inverted = false;
  if (select == nullptr || shape.rank() != 2 ||
      (!by_row && own_.shape(select->inputs[0]).rank() != 2) ||
      !ReadMask(select->inputs[0], shape[0], &masked.mask, &inverted)) {
    return {};
  }
  masked.made = select->inputs[inverted ? 2 : 1];
  masked.kept = select->inputs[inverted ? 1 : 2];
  return masked;
}

// A mask of one value for each row. `inverted`: true for rows that do not take part.
bool TurnReader::ReadMask(NodeOutput mask, int64_t batch, TurnMask* read, bool* inverted) const {
  const auto is_column = [&](NodeOutput v) {
    const Shape shape = own_.shape(v);
    return shape == Shape({batch}) || shape == Shape({batch, 1});
  };
  for (int hops = 0; hops < 6; ++hops) {
    const Node& node = own_.node(mask.node);
    const bool widens = node.op == "Tile" || node.op == "BroadcastTo";
    const bool reshapes = node.op == "ExpandDims" || node.op == "Reshape";
    if (node.op == "LogicalNot") {
      *inverted = !*inverted;
    } else if (!(widens || (reshapes && is_column(mask))) || !is_column(node.inputs[0]) ||
               (widens && own_.shape(node.inputs[0]).rank() != 2)) {
      break;
    }
    mask = node.inputs[0];
  }
  if (!is_column(mask)) return false;
  if (const Node* item = As(mask, "TensorListGetItem", 3)) {
    read->list = Variable(item->inputs[0]);
    return IsUnchanged(read->list) && Variable(item->inputs[1]) == turn_.time;
  }
  for (const auto& [op, has_time_first, is_inverted] : {std::tuple("Less", true, false),
                                                        {"GreaterEqual", true, true},
                                                        {"Greater", false, false},
                                                        {"LessEqual", false, true}}) {
    const Node* compares = As(mask, op, 2);
    if (compares == nullptr) continue;
    *inverted = *inverted != is_inverted;
    read->lengths = Variable(compares->inputs[has_time_first ? 1 : 0]);
    return IsUnchanged(read->lengths) &&
           Variable(compares->inputs[has_time_first ? 0 : 1]) == turn_.time;
  }
  return false;
}

bool TurnReader::ReadOutput(NodeOutput result) {
  turn_.last_only = true;
  for (size_t i = 0; i < own_.results.size(); ++i) {
    const Node* set = As(own_.results[i], "TensorListSetItem", 3);
    if (set == nullptr) continue;
    const bool last = IntegerOf(set->inputs[1]) == 0;
    if (turn_.output >= 0 || Variable(set->inputs[0]) != static_cast<int>(i) ||
        set->attrs.Bool("resize_if_index_out_of_bounds") ||
        (!last && Variable(set->inputs[1]) != turn_.time)) {
      return false;
    }
    turn_.output = static_cast<int>(i);
    turn_.last_only = last;
    const NodeOutput value = set->inputs[2];
    if (value == result) {
      if (!Agrees(TurnMask())) return false;
      continue;
    }
    const Masked masked = ReadMasked(value);
    if (masked.made != result || !Agrees(masked.mask)) return false;
    if (IsZero(Known(masked.kept))) continue;
    turn_.masked = Variable(masked.kept);
    if (turn_.masked < 0 || own_.results[turn_.masked] != value) return false;
  }
  return true;
}

bool TurnReader::RestIsPlain() const {
  for (int i = 0; i < static_cast<int>(own_.results.size()); ++i) {
    bool done = i == turn_.output || i == turn_.masked;
    for (const CellTurn& cell : turn_.cells) done = done || i == cell.hidden || i == cell.state;
    if (!done && !IsUnchanged(i) && !IsCounter(i)) return false;
  }
  return own_.targets.empty();
}

}  // namespace savedmodel
