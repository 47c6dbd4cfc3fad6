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

// The first of the columns of a matrix that a slice takes; -1 for slices of another kind.
int64_t FirstColumn(const Graph& graph, const Node& slice) {
  const Tensor* const begin = graph.constant(slice.inputs[1]);
  const Tensor* const strides = graph.constant(slice.inputs[3]);
  const auto mask = [&](const char* name) { return slice.attrs.Int(name); };
  if (begin == nullptr || strides == nullptr || begin->num_elements() != 2 ||
      strides->num_elements() != 2 || IntegerAt(*strides, 0) != 1 || IntegerAt(*strides, 1) != 1 ||
      (mask("begin_mask") & 1) == 0 || (mask("end_mask") & 1) == 0 || mask("ellipsis_mask") != 0 ||
      mask("new_axis_mask") != 0 || mask("shrink_axis_mask") != 0) {
    return -1;
  }
  if ((mask("begin_mask") & 2) != 0) return 0;
  const int64_t first = IntegerAt(*begin, 1), columns = graph.shape(slice.inputs[0])[1];
  return first >= 0 ? first : columns < 0 ? -1 : std::max<int64_t>(0, columns + first);
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
  if (turn_.cells.empty() || !ReadOutput(turn_.cells.back().made)) return false;
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
  return (ReadLstm(made, &cell) || ReadGru(made, &cell) || ReadRnn(made, &cell)) &&
         IsNext(cell.hidden, made) && (turn_.cells.push_back(std::move(cell)), true);
}

bool TurnReader::ReadLstm(NodeOutput made, CellTurn* cell) {
  LstmPattern p;
  if (!patterns_.MatchLstm(made, &p)) return false;
  const int64_t units = own_.shape(made)[1];
  cell->op = "_LstmLoop";
  cell->state = Variable(p.state);
  std::vector<GateSum> gates(4);
  return ReadGate(p.input.x, 0, units, &gates[0]) && ReadGate(p.forget.x, 0, units, &gates[1]) &&
         ReadGate(p.candidate.x, 0, units, &gates[2]) &&
         ReadGate(p.output.x, 0, units, &gates[3]) && p.candidate.scale == 1 &&
         IsNext(cell->state, p.next) && Finish(gates, p.input, p.candidate.op, cell);
}

bool TurnReader::ReadGru(NodeOutput made, CellTurn* cell) {
  GruPattern p;
  if (!patterns_.MatchGru(made, &p)) return false;
  const int64_t units = own_.shape(made)[1];
  cell->op = "_GruLoop";
  cell->state = Variable(p.state);
  std::vector<GateSum> gates(3);
  Activation reset;
  GateSum product;  // what the reset gate is applied to
  const bool reset_after = Either(p.candidate.x, "AddV2", [&](NodeOutput input, NodeOutput scaled) {
    return Either(scaled, "Mul", [&](NodeOutput gate, NodeOutput recurrent) {
      reset = patterns_.AsActivation(gate);
      gates[2] = product = GateSum();
      return reset && ReadGate(input, 0, units, &gates[2]) && !gates[2].recurrent &&
             ReadGate(recurrent, 0, units, &product) && !product.input && !product.previous;
    });
  });
  if (reset_after) {
    gates[2].recurrent = product.recurrent;
    gates[2].factor = product.factor;
  } else {
    gates[2] = GateSum();
    if (!ReadGate(p.candidate.x, 0, units, &gates[2])) return false;
    const bool resets = Either(gates[2].factor, "Mul", [&](NodeOutput gate, NodeOutput hidden) {
      reset = patterns_.AsActivation(gate);
      return reset && Variable(hidden) == cell->state;
    });
    if (!resets) return false;
    gates[2].factor = p.state;
  }
  cell->attrs.Set("reset_after", reset_after);
  if (p.candidate.scale != 1 || !reset.IsAs(p.update) ||
      !ReadGate(p.update.x, 0, units, &gates[0]) || !ReadGate(reset.x, 0, units, &gates[1])) {
    return false;
  }
  // Biases of the input and of the product that is reset stay apart.
  std::vector<std::vector<Columns>> input_biases(3);
  if (reset_after) {
    input_biases[2] = std::move(gates[2].biases);
    gates[2].biases = std::move(product.biases);
  }
  if (!Finish(gates, p.update, p.candidate.op, cell) || cell->hidden != cell->state) return false;
  cell->input_bias = JoinBiases(input_biases, cell->attrs.Ints("order"), units);
  return true;
}

bool TurnReader::ReadRnn(NodeOutput made, CellTurn* cell) {
  const Activation activation = patterns_.AsActivation(made);
  std::vector<GateSum> gates(1);
  if (!activation || activation.scale != 1 ||
      !ReadGate(activation.x, 0, own_.shape(made)[1], &gates[0])) {
    return false;
  }
  cell->op = "_RnnLoop";
  if (!Finish(gates, {"Sigmoid", {}}, activation.op, cell)) return false;
  cell->state = cell->hidden;
  return true;
}

// Columns [first, first + units) of `v`, a sum of what the cell gets of its input, the recurrent
// product and biases.
bool TurnReader::ReadGate(NodeOutput v, int64_t first, int64_t units, GateSum* gate) {
  const Node* sum = As(v, "AddV2", 2);
  if (sum == nullptr) sum = As(v, "BiasAdd", 2);
  if (sum != nullptr) {
    const NodeOutput a = sum->inputs[0], b = sum->inputs[1];
    return ReadGate(a, first, units, gate) && ReadGate(b, first, units, gate);
  }
  if (const Tensor* bias = Constant(v)) {
    const int64_t n = bias->num_elements();
    const bool row = n == 1 || (n >= first + units && bias->shape()[bias->shape().rank() - 1] == n);
    if (!row || bias->dtype() != DType::kFloat) return false;
    gate->biases.push_back({*bias, n == 1 ? 0 : first});
    return true;
  }
  if (const Node* item = As(v, "TensorListGetItem", 3)) {
    const int list = Variable(item->inputs[0]);
    if (gate->input || !turn_.cells.empty() || (turn_.input >= 0 && turn_.input != list) ||
        !IsUnchanged(list) || Variable(item->inputs[1]) != turn_.time) {
      return false;
    }
    turn_.input = list;
    gate->input = first;
    return true;
  }
  if (const Node* product = As(v, "MatMul", 2)) return ReadProduct(*product, first, units, gate);
  const Node* part = As(v, "Split", 2);
  if (part == nullptr) part = As(v, "SplitV", 3);
  if (part == nullptr) part = As(v, "StridedSlice", 4);
  return part != nullptr && ReadPart(*part, v, first, units, gate);
}

// `v` is a part of the columns of a matrix.
bool TurnReader::ReadPart(const Node& split, NodeOutput v, int64_t first, int64_t units,
                          GateSum* gate) {
  const bool slices = split.op == "StridedSlice", sizes = split.op == "SplitV";
  const NodeOutput whole = split.inputs[slices || sizes ? 0 : 1];
  if (own_.shape(whole).rank() != 2 || own_.shape(v).rank() != 2 || own_.shape(v)[1] < 0) {
    return false;
  }
  if (slices) {
    const int64_t begin = FirstColumn(own_, split);
    return begin >= 0 && ReadGate(whole, first + begin, units, gate);
  }
  if (!IsAxis(Constant(split.inputs[sizes ? 2 : 0]), 1, 2)) return false;
  for (int i = 0; i < v.index; ++i) {
    const int64_t columns = own_.shape({v.node, i})[1];
    if (columns < 0) return false;
    first += columns;
  }
  return ReadGate(whole, first, units, gate);
}

bool TurnReader::ReadProduct(const Node& product, int64_t first, int64_t units, GateSum* gate) {
  const Tensor* weights = Constant(product.inputs[1]);
  if (weights == nullptr || weights->shape().rank() != 2 || weights->shape()[1] < first + units ||
      product.attrs.Bool("transpose_a") || product.attrs.Bool("transpose_b")) {
    return false;
  }
  const Node* both = As(product.inputs[0], "ConcatV2", 3);
  if (both == nullptr) return AddProduct(product.inputs[0], {*weights, first}, gate);
  const Shape a = own_.shape(both->inputs[0]);
  const int64_t rows = weights->shape()[0];
  return IsAxis(Constant(both->inputs[2]), 1, 2) && a.rank() == 2 && a[1] > 0 && a[1] < rows &&
         AddProduct(both->inputs[0], {weights->Rows(0, a[1]), first}, gate) &&
         AddProduct(both->inputs[1], {weights->Rows(a[1], rows), first}, gate);
}

bool TurnReader::AddProduct(NodeOutput factor, Columns weights, GateSum* gate) {
  const bool previous = !turn_.cells.empty() && factor == turn_.cells.back().made;
  std::optional<Columns>* to = previous ? &gate->previous : &gate->recurrent;
  if (to->has_value()) return false;
  *to = std::move(weights);
  if (!previous) gate->factor = factor;
  return true;
}

// The cell's tensors and attributes from what makes its gates.
bool TurnReader::Finish(const std::vector<GateSum>& gates, const Activation& gate_activation,
                        const std::string& activation, CellTurn* cell) {
  const int64_t units = own_.shape(cell->made)[1];
  const bool first_cell = turn_.cells.empty();
  std::vector<int64_t> order;
  std::vector<const Columns*> previous, recurrent;
  std::vector<std::vector<Columns>> biases;
  for (const GateSum& gate : gates) {
    const bool has_input = first_cell ? gate.input.has_value() : gate.previous.has_value();
    if (!has_input || !gate.recurrent || gate.factor != gates[0].factor) return false;
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
  cell->gates = static_cast<int>(gates.size());
  cell->hidden = Variable(gates[0].factor);
  cell->weights = Join(recurrent, order, units);
  if (!first_cell) cell->input_weights = Join(previous, order, units);
  cell->bias = JoinBiases(biases, order, units);
  cell->attrs.Set("order", order);
  cell->attrs.Set("activation", activation);
  cell->attrs.Set("gate_activation", gate_activation.op);
  cell->attrs.Set("gate_scale", static_cast<float>(gate_activation.scale));
  return cell->hidden >= 0 && cell->weights.has_value() &&
         (first_cell || cell->input_weights.has_value());
}

// The gates' columns side by side in `order`; without value where their rows differ.
Tensor TurnReader::Join(const std::vector<const Columns*>& gates, const std::vector<int64_t>& order,
                        int64_t units) const {
  const Tensor& whole = gates[0]->values;
  const int64_t rows = whole.shape()[0], count = static_cast<int64_t>(gates.size());
  bool is_whole = whole.shape()[1] == count * units;
  for (size_t g = 0; g < gates.size(); ++g) {
    const Tensor& values = gates[g]->values;
    if (values.dtype() != DType::kFloat || values.shape()[0] != rows) return Tensor();
    is_whole = is_whole && values.raw_data() == whole.raw_data() &&
               values.shape() == whole.shape() && gates[g]->first == order[g] * units;
  }
  if (is_whole) return whole;
  StatusOr<Tensor> joined = Tensor::Allocate(DType::kFloat, Shape({rows, count * units}));
  if (!joined.ok()) return Tensor();
  float* const to = static_cast<float*>(joined->raw_mutable_data());
  for (size_t g = 0; g < gates.size(); ++g) {
    const int64_t width = gates[g]->values.shape()[1];
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(gates[g]->values.data<float>() + r * width + gates[g]->first, units,
                  to + (r * count + order[g]) * units);
    }
  }
  return *joined;
}

// The sums of the gates' biases side by side; without value where there are none.
Tensor TurnReader::JoinBiases(const std::vector<std::vector<Columns>>& gates,
                              const std::vector<int64_t>& order, int64_t units) const {
  std::vector<float> joined(gates.size() * static_cast<size_t>(units));
  bool any = false;
  for (size_t g = 0; g < gates.size(); ++g) {
    for (const Columns& bias : gates[g]) {
      any = true;
      const float* const from = bias.values.data<float>() + bias.first;
      const bool is_number = bias.values.num_elements() == 1;
      for (int64_t u = 0; u < units; ++u) {
        joined[static_cast<size_t>(order[g] * units + u)] += from[is_number ? 0 : u];
      }
    }
  }
  return any ? Tensor::Vector(joined) : Tensor();
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

bool TurnReader::RestIsPlain() {
  for (int i = 0; i < static_cast<int>(own_.results.size()); ++i) {
    bool done = i == turn_.output || i == turn_.masked;
    for (const CellTurn& cell : turn_.cells) done = done || i == cell.hidden || i == cell.state;
    if (done || IsUnchanged(i) || IsCounter(i)) continue;
    if (IsRead(i)) return false;
    turn_.unread.push_back(i);
  }
  return own_.targets.empty();
}

bool TurnReader::IsRead(int variable) const {
  const NodeOutput v{own_.args[variable], 0};
  const auto reads = [&](const std::vector<NodeOutput>& in) {
    return std::find(in.begin(), in.end(), v) != in.end();
  };
  return reads(own_.results) || std::any_of(own_.nodes().begin(), own_.nodes().end(),
                                            [&](const Node& n) { return reads(n.inputs); });
}

}  // namespace savedmodel
