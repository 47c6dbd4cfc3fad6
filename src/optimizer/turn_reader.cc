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
  if (!FindTime()) return false;
  SM_RETURN_IF_ERROR(RecognizeLayers(context_, &own_));
  SplitBeforeActivations();
  std::vector<NodeOutput> states = MadeStates();
  const auto read = [&](NodeOutput made) {
    const Turn before = turn_;
    const std::optional<TurnMask> mask = mask_;
    if (ReadCell(made)) return true;
    turn_ = before;
    mask_ = mask;
    return false;
  };
  for (;;) {
    const auto next = std::find_if(states.begin(), states.end(), read);
    if (next == states.end()) break;
    states.erase(next);
  }
  if (turn_.cells.empty() || !ReadList(turn_.cells.back().output)) return false;
  turn_.mask = *mask_;
  if (!RestIsPlain()) return false;
  *turn = std::move(turn_);
  return true;
}

// Parts of an activation's values become activations of parts.
void TurnReader::SplitBeforeActivations() {
  const int count = own_.num_nodes();
  for (NodeId id = 0; id < count; ++id) {
    Node split = own_.node(id);
    if ((split.op != "Split" && split.op != "SplitV") || !split.control_inputs.empty()) continue;
    const size_t whole = split.op == "Split" ? 1 : 0;
    const Node activated = own_.node(split.inputs[whole].node);
    const Activation activation = patterns_.AsActivation(split.inputs[whole]);
    if (!activation || activation.op != activated.op) continue;
    const int parts = split.num_outputs();
    split.inputs[whole] = activation.x;
    const NodeId made_split = own_.AddNode(std::move(split));
    for (int i = 0; i < parts; ++i) {
      Node part = activated;
      part.inputs = {{made_split, i}};
      part.output_shapes = {own_.shape({id, i})};
      const NodeId made = own_.AddNode(std::move(part));
      redirects_.Set({id, i}, {made, 0});
    }
  }
  redirects_.Apply(&own_);
}

// The counter at which rows are taken from lists of floats.
bool TurnReader::FindTime() {
  for (NodeId id = 0; id < own_.num_nodes(); ++id) {
    const Node* item = As({id, 0}, "TensorListGetItem", 3);
    if (item == nullptr || item->output_types[0] != DType::kFloat) continue;
    turn_.time = Variable(item->inputs[1]);
    return IsCounter(turn_.time);
  }
  return false;
}

// What turns give the variables that they change, rows that are masked left out.
std::vector<NodeOutput> TurnReader::MadeStates() const {
  std::vector<NodeOutput> states;
  for (size_t i = 0; i < own_.results.size(); ++i) {
    const NodeOutput next = own_.results[i];
    if (IsUnchanged(static_cast<int>(i)) || own_.type(next) != DType::kFloat) continue;
    const Masked masked = ReadMasked(next);
    const NodeOutput made = masked.mask.exists() ? masked.made : next;
    if (std::find(states.begin(), states.end(), made) == states.end()) states.push_back(made);
  }
  return states;
}

// The cell that follows those that were read.
bool TurnReader::ReadCell(NodeOutput made) {
  if (own_.shape(made).rank() != 2 || own_.shape(made)[1] <= 0) return false;
  CellTurn cell;
  cell.made = made;
  if ((!ReadLstm(made, &cell) && !ReadGru(made, &cell) && !ReadRnn(made, &cell)) ||
      !IsNext(cell.hidden, made)) {
    return false;
  }
  ReadOutput(&cell);
  turn_.cells.push_back(std::move(cell));
  return true;
}

// Whether the cell that follows those that were read takes `v`; the rows of the first are products
// by now.
bool TurnReader::IsInput(NodeOutput v) {
  if (!turn_.cells.empty()) return v == turn_.cells.back().output;
  turn_.added = ListOfItem(v, turn_.time);
  return turn_.added >= 0;
}

void TurnReader::ReadOutput(CellTurn* cell) {
  cell->output = cell->made;
  for (NodeId id = 0; id < own_.num_nodes() && !cell->adds_input; ++id) {
    cell->adds_input = Either({id, 0}, "AddV2", [&](NodeOutput made, NodeOutput input) {
      return made == cell->made && own_.shape(input) == own_.shape(made) && IsInput(input);
    });
    if (cell->adds_input) cell->output = {id, 0};
  }
}

bool TurnReader::ReadLstm(NodeOutput made, CellTurn* cell) {
  LstmPattern p;
  if (!patterns_.MatchLstm(ReadProjection(made, cell), &p) || own_.shape(p.next).rank() != 2) {
    return false;
  }
  const int64_t units = cell->units = own_.shape(p.next)[1];
  GateReader reader = Gates();
  cell->op = "_LstmLoop";
  cell->state = Variable(p.state);
  cell->attrs.Set("state_clip", p.clip);
  std::vector<GateSum> gates(4);
  return reader.Read(p.input.x, 0, units, &gates[0]) &&
         reader.Read(p.forget.x, 0, units, &gates[1]) &&
         reader.Read(p.candidate.x, 0, units, &gates[2]) &&
         reader.Read(p.output.x, 0, units, &gates[3]) && p.candidate.scale == 1 &&
         IsNext(cell->state, p.next) && ReadPeepholes(p, &gates, cell) &&
         Finish(reader, gates, p.input, p.candidate.op, cell);
}

// Takes from the gates what they get of the states: the output gate of the next one.
bool TurnReader::ReadPeepholes(const LstmPattern& p, std::vector<GateSum>* gates,
                               CellTurn* cell) const {
  std::vector<float> joined;
  for (const auto& [gate, state] : {std::pair(0, p.state), {1, p.state}, {3, p.next}}) {
    std::optional<Tensor> weights;
    (*gates)[gate].peephole.swap(weights);
    if (!weights) continue;
    if ((*gates)[gate].peeped != state) return false;
    joined.insert(joined.end(), weights->data<float>(), weights->data<float>() + cell->units);
  }
  if (!joined.empty()) cell->peepholes = Tensor::Vector(joined);
  return joined.empty() || cell->peepholes.num_elements() == 3 * cell->units;
}

// What the cell makes before its projection, if it has one.
NodeOutput TurnReader::ReadProjection(NodeOutput made, CellTurn* cell) const {
  const Clipped projected = patterns_.AsClipped(made);
  const Node* product = As(projected.x, "MatMul", 2);
  const Tensor* weights = product == nullptr ? nullptr : Constant(product->inputs[1]);
  if (weights == nullptr || product->attrs.Bool("transpose_a") ||
      product->attrs.Bool("transpose_b")) {
    return made;
  }
  cell->projection = *weights;
  cell->attrs.Set("projection_clip", projected.most);
  return product->inputs[0];
}

bool TurnReader::ReadGru(NodeOutput made, CellTurn* cell) {
  GruPattern p;
  if (!patterns_.MatchGru(made, &p)) return false;
  const int64_t units = cell->units = own_.shape(made)[1];
  GateReader reader = Gates();
  cell->op = "_GruLoop";
  cell->state = Variable(p.state);
  std::vector<GateSum> gates(3);
  Activation reset;
  GateSum product;  // what the reset gate is applied to
  const bool reset_after = Either(p.candidate.x, "AddV2", [&](NodeOutput input, NodeOutput scaled) {
    return Either(scaled, "Mul", [&](NodeOutput gate, NodeOutput recurrent) {
      reset = patterns_.AsActivation(gate);
      gates[2] = product = GateSum();
      return reset && reader.Read(input, 0, units, &gates[2]) && !gates[2].recurrent &&
             reader.Read(recurrent, 0, units, &product) && !product.input && !product.previous;
    });
  });
  if (reset_after) {
    gates[2].recurrent = product.recurrent;
    gates[2].factor = product.factor;
  } else {
    gates[2] = GateSum();
    if (!reader.Read(p.candidate.x, 0, units, &gates[2]) || !gates[2].recurrent) return false;
    const bool resets = Either(gates[2].factor, "Mul", [&](NodeOutput gate, NodeOutput hidden) {
      reset = patterns_.AsActivation(gate);
      return reset && Variable(hidden) == cell->state;
    });
    if (!resets) return false;
    gates[2].factor = p.state;
  }
  cell->attrs.Set("reset_after", reset_after);
  if (p.candidate.scale != 1 || !reset.IsAs(p.update) ||
      !reader.Read(p.update.x, 0, units, &gates[0]) || !reader.Read(reset.x, 0, units, &gates[1])) {
    return false;
  }
  // Biases of the input and of the product that is reset stay apart.
  std::vector<std::vector<Columns>> input_biases(3);
  if (reset_after) {
    input_biases[2] = std::move(gates[2].biases);
    gates[2].biases = std::move(product.biases);
  }
  if (!Finish(reader, gates, p.update, p.candidate.op, cell) || cell->hidden != cell->state) {
    return false;
  }
  cell->input_bias = JoinBiases(input_biases, cell->attrs.Ints("order"), units);
  return true;
}

bool TurnReader::ReadRnn(NodeOutput made, CellTurn* cell) {
  const Activation activation = patterns_.AsActivation(made);
  GateReader reader = Gates();
  std::vector<GateSum> gates(1);
  cell->units = own_.shape(made)[1];
  if (!activation || activation.scale != 1 ||
      !reader.Read(activation.x, 0, cell->units, &gates[0])) {
    return false;
  }
  cell->op = "_RnnLoop";
  if (!Finish(reader, gates, {"Sigmoid", {}}, activation.op, cell)) return false;
  cell->state = cell->hidden;
  return true;
}

// The cell's tensors and attributes from what makes its gates.
bool TurnReader::Finish(const GateReader& reader, const std::vector<GateSum>& gates,
                        const Activation& gate_activation, const std::string& activation,
                        CellTurn* cell) {
  const int64_t units = cell->units;
  const bool first_cell = turn_.cells.empty();
  std::vector<int64_t> order;
  std::vector<const Columns*> previous, recurrent;
  std::vector<std::vector<Columns>> biases;
  for (const GateSum& gate : gates) {
    const bool has_input = first_cell ? gate.input.has_value() : gate.previous.has_value();
    if (!has_input || !gate.recurrent || gate.factor != gates[0].factor || gate.peephole) {
      return false;
    }
    const int64_t column = first_cell ? *gate.input : static_cast<int64_t>(order.size()) * units;
    const int64_t place = column / units;
    if (column % units != 0 || place >= static_cast<int64_t>(gates.size()) ||
        std::find(order.begin(), order.end(), place) != order.end()) {
      return false;
    }
    order.push_back(place);
    if (!first_cell) previous.push_back(&*gate.previous);
    recurrent.push_back(&*gate.recurrent);
    biases.push_back(gate.biases);
  }
  if (first_cell) turn_.input = reader.input();
  cell->gates = static_cast<int>(gates.size());
  cell->hidden = Variable(gates[0].factor);
  cell->weights = JoinColumns(recurrent, order, units);
  if (!first_cell) cell->input_weights = JoinColumns(previous, order, units);
  cell->bias = JoinBiases(biases, order, units);
  cell->attrs.Set("order", order);
  cell->attrs.Set("activation", activation);
  cell->attrs.Set("gate_activation", gate_activation.op);
  cell->attrs.Set("gate_scale", static_cast<float>(gate_activation.scale));
  return cell->hidden >= 0 && cell->weights.has_value() &&
         (first_cell || cell->input_weights.has_value());
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
  read->list = ListOfItem(mask, turn_.time);
  if (read->list >= 0) return true;
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

bool TurnReader::ReadList(NodeOutput result) {
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

bool TurnReader::RestIsPlain() {
  for (int i = 0; i < static_cast<int>(own_.results.size()); ++i) {
    bool done = i == turn_.output || i == turn_.masked;
    for (const CellTurn& cell : turn_.cells) done = done || i == cell.hidden || i == cell.state;
    if (done || IsUnchanged(i) || IsCounter(i)) continue;
    if (IsUsed(own_, {own_.args[i], 0})) return false;
    turn_.unread.push_back(i);
  }
  return own_.targets.empty();
}

}  // namespace savedmodel
