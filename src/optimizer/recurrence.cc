// Loops over the cells of a recurrent layer become one op that runs all turns.
//
// Such a loop counts, takes row t of an input, puts the new output into a list, and hands on
// states that a recognised cell makes. Whatever else it carries it does not change.
#include <algorithm>

#include "src/base/status_macros.h"
#include "src/optimizer/loop_function.h"

namespace savedmodel {
namespace {

// What one turn computes. Indices are of the loop's variables; -1 where there is none.
struct Turn {
  std::string cell;        // the op
  int time = -1;           // the row that is taken
  int input = -1;          // list of rows: pre-activations of the input
  int output = -1;         // list of results
  bool last_only = false;  // the list holds the last result only
  int hidden = -1, state = -1;
  Tensor weights, bias, input_bias;  // of the recurrent product; biases may be without value
  Attrs attrs;
};

// The body of a loop over a cell.
class TurnReader : public LoopFunction {
 public:
  using LoopFunction::LoopFunction;

  // After Specialize.
  Status FindCells() { return RecognizeCells(context_, &own_); }

  bool ReadTurn(Turn* turn) const {
    NodeId cell = -1;
    for (NodeId id = 0; id < own_.num_nodes(); ++id) {
      const std::string& op = own_.node(id).op;
      if (op != "_LstmCell" && op != "_GruCell") continue;
      if (cell >= 0) return false;
      cell = id;
    }
    if (cell < 0) return false;
    const Node& node = own_.node(cell);
    turn->cell = node.op;
    turn->attrs = node.attrs;
    const bool lstm = node.op == "_LstmCell";
    turn->hidden = Result({cell, 0});
    turn->state = lstm ? Result({cell, 1}) : turn->hidden;
    if (turn->hidden < 0 || turn->state < 0 || Variable(node.inputs.back()) != turn->state) {
      return false;
    }
    const bool gates = lstm ? ReadSum(node.inputs[0], turn, 0)
                            : ReadSum(node.inputs[0], turn, 1) && ReadSum(node.inputs[1], turn, 2);
    return gates && turn->input >= 0 && turn->weights.has_value() && ReadOutput({cell, 0}, turn) &&
           RestIsPlain(*turn);
  }

 private:
  int Result(NodeOutput v) const {
    const auto at = std::find(own_.results.begin(), own_.results.end(), v);
    return at == own_.results.end() ? -1 : static_cast<int>(at - own_.results.begin());
  }

  // A sum of the input's row, the recurrent product and biases. `part` 0: all of it; 1: of the
  // input; 2: of the recurrent product.
  bool ReadSum(NodeOutput v, Turn* turn, int part) const {
    const Node* sum = As(v, "AddV2", 2);
    if (sum == nullptr) sum = As(v, "BiasAdd", 2);
    if (sum != nullptr) {
      return ReadSum(sum->inputs[0], turn, part) && ReadSum(sum->inputs[1], turn, part);
    }
    if (const Tensor* bias = Constant(v)) {
      Tensor* to = part == 1 ? &turn->input_bias : &turn->bias;
      if (to->has_value() || bias->dtype() != DType::kFloat) return false;
      *to = *bias;
      return true;
    }
    if (const Node* item = As(v, "TensorListGetItem", 3); item != nullptr && part != 2) {
      if (turn->input >= 0) return false;
      turn->input = Variable(item->inputs[0]);
      turn->time = Variable(item->inputs[1]);
      return turn->input >= 0 && turn->time >= 0;
    }
    const Node* product = As(v, "MatMul", 2);
    if (product == nullptr || part == 1 || turn->weights.has_value() ||
        product->attrs.Bool("transpose_a") || product->attrs.Bool("transpose_b") ||
        Variable(product->inputs[0]) != turn->hidden) {
      return false;
    }
    const Tensor* weights = Constant(product->inputs[1]);
    if (weights == nullptr || weights->shape().rank() != 2) return false;
    turn->weights = *weights;
    return true;
  }

  bool ReadOutput(NodeOutput result, Turn* turn) const {
    for (size_t i = 0; i < own_.results.size(); ++i) {
      const Node* set = As(own_.results[i], "TensorListSetItem", 3);
      if (set == nullptr) continue;
      const bool last = IntegerOf(set->inputs[1]) == 0;
      if (turn->output >= 0 || Variable(set->inputs[0]) != static_cast<int>(i) ||
          set->inputs[2] != result || set->attrs.Bool("resize_if_index_out_of_bounds") ||
          (!last && Variable(set->inputs[1]) != turn->time)) {
        return false;
      }
      turn->output = static_cast<int>(i);
      turn->last_only = last;
    }
    return turn->output >= 0;
  }

  bool RestIsPlain(const Turn& turn) const {
    for (int i = 0; i < static_cast<int>(own_.results.size()); ++i) {
      const bool done = i == turn.output || i == turn.hidden || i == turn.state;
      if (!done && !IsUnchanged(i) && !IsCounter(i)) return false;
    }
    return IsUnchanged(turn.input) && IsCounter(turn.time) && own_.targets.empty();
  }
};

class RecurrencePass : private PatternPass {
 public:
  RecurrencePass(OptimizeContext* context, Graph* graph) : PatternPass(context, graph) {}

  Status Run() {
    SM_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph_->TopologicalOrder());
    uses_ = CountUses(*graph_);
    for (NodeId id : order) {
      const Node& node = graph_->node(id);
      if (node.op != "While" && node.op != "StatelessWhile") continue;
      SM_RETURN_IF_ERROR(Replace(id));
    }
    redirects_.Apply(graph_);
    return Status();
  }

 private:
  // Variables with the same place in the loop's inputs and in both functions.
  StatusOr<bool> Read(NodeId loop, Turn* turn, int64_t* turns) {
    const Node& node = graph_->node(loop);
    SM_ASSIGN_OR_RETURN(std::shared_ptr<const GraphFunction> body_graph,
                        context_->library->Get(node.attrs.Get<FuncAttr>("body")));
    const auto has_list = [](const Node& n) { return n.op == "TensorListSetItem"; };
    const std::vector<Node>& nodes = body_graph->graph.nodes();
    if (std::none_of(nodes.begin(), nodes.end(), has_list) || !node.control_inputs.empty()) {
      return false;
    }
    SM_ASSIGN_OR_RETURN(std::shared_ptr<const GraphFunction> cond_graph,
                        context_->library->Get(node.attrs.Get<FuncAttr>("cond")));
    TurnReader body(context_, body_graph->graph);
    LoopFunction cond(context_, cond_graph->graph);
    const size_t count = node.inputs.size();
    if (body.num_args() != count || body.num_results() != count || cond.num_args() != count) {
      return false;
    }
    SM_RETURN_IF_ERROR(body.Specialize(*graph_, loop, body));
    SM_RETURN_IF_ERROR(body.FindCells());
    if (!body.ReadTurn(turn)) return false;
    SM_RETURN_IF_ERROR(cond.Specialize(*graph_, loop, body));
    std::vector<LoopFunction::Limit> limits;
    if (!cond.ReadLimits(&limits)) return false;
    *turns = -1;
    for (const LoopFunction::Limit& limit : limits) {
      const int i = limit.variable;
      const Tensor* start = graph_->constant(node.inputs[i]);
      if (!body.IsCounter(i) || limit.number < 0 || start == nullptr ||
          LoopFunction::Integer(*start) < 0) {
        return false;
      }
      const int64_t left = std::max<int64_t>(0, limit.number - LoopFunction::Integer(*start));
      *turns = *turns < 0 ? left : std::min(*turns, left);
    }
    for (int i = 0; i < static_cast<int>(count); ++i) {
      if (body.IsCounter(i)) {
        if (graph_->constant(node.inputs[i]) == nullptr) return false;
        counters_.push_back(i);
      }
      if (body.IsUnchanged(i)) unchanged_.push_back(i);
    }
    return true;
  }

  // The rows that the input list holds: [turns, batch, blocks * units].
  NodeOutput Rows(NodeId loop, const Turn& turn) const {
    const NodeOutput list = graph_->node(loop).inputs[turn.input];
    const Node* made = As(list, "TensorListFromTensor", 2);
    return made == nullptr ? NodeOutput() : made->inputs[0];
  }

  // Rows that are projected, and the weights, where `rows` are their product and nothing else takes
  // that.
  std::pair<NodeOutput, Tensor> Unprojected(NodeOutput rows) const {
    const Node* items = As(rows, "Reshape", 2);
    const Node* product = items == nullptr ? nullptr : As(items->inputs[0], "MatMul", 2);
    const Node* flat = product == nullptr ? nullptr : As(product->inputs[0], "Reshape", 2);
    const Tensor* weights = flat == nullptr ? nullptr : Constant(product->inputs[1]);
    if (weights == nullptr || product->attrs.Bool("transpose_a") ||
        product->attrs.Bool("transpose_b") || weights->shape().rank() != 2) {
      return {};
    }
    const Shape x = graph_->shape(flat->inputs[0]), y = graph_->shape(rows);
    if (!x.fully_known() || x.rank() != 3 || x[0] != y[0] || x[1] != y[1] ||
        weights->shape() != Shape({x[2], y[2]}) || uses_[items->inputs[0].node] > 1 ||
        uses_[rows.node] > 1) {
      return {};
    }
    return {flat->inputs[0], *weights};
  }

  // The node that picks products of rows for nothing but `rows`; null where there is none.
  const Node* AsPicked(NodeOutput rows) const {
    const Node* items = As(rows, "Reshape", 2);
    const Node* picked = items == nullptr ? nullptr : As(items->inputs[0], "_GatheredProduct", 3);
    const bool fits = picked != nullptr && graph_->shape(picked->inputs[1]).rank() == 1 &&
                      graph_->shape(picked->inputs[2]).rank() == 2 && graph_->shape(rows)[1] > 0;
    return fits && uses_[items->inputs[0].node] == 1 && uses_[rows.node] == 1 ? picked : nullptr;
  }

  bool SwapsBatchAndTurns(NodeOutput x) const {
    const Node* transpose = As(x, "Transpose", 2);
    const Tensor* perm = transpose == nullptr ? nullptr : Constant(transpose->inputs[1]);
    return perm != nullptr && perm->num_elements() == 3 && IntegerAt(*perm, 0) == 1 &&
           IntegerAt(*perm, 1) == 0 && IntegerAt(*perm, 2) == 2;
  }

  bool Fits(NodeId loop, const Turn& turn, int64_t turns) const {
    const Node& node = graph_->node(loop);
    const NodeOutput rows = Rows(loop, turn);
    const Node* reserve = As(node.inputs[turn.output], "TensorListReserve", 2);
    if (rows.node < 0 || reserve == nullptr || turns <= 0) return false;
    const Tensor* size = graph_->constant(reserve->inputs[1]);
    const Tensor* start = graph_->constant(node.inputs[turn.time]);
    const Shape x = graph_->shape(rows), hidden = graph_->shape(node.inputs[turn.hidden]);
    if (size == nullptr || start == nullptr || LoopFunction::Integer(*start) != 0 ||
        LoopFunction::Integer(*size) != (turn.last_only ? 1 : turns) || !x.fully_known() ||
        !hidden.fully_known() || x.rank() != 3 || hidden.rank() != 2 || x[0] != turns) {
      return false;
    }
    const int64_t blocks = turn.cell == "_LstmCell" ? 4 : 3, gates = blocks * hidden[1];
    const auto is_row = [&](const Tensor& t) {
      return !t.has_value() || t.num_elements() == gates;
    };
    return x[1] == hidden[0] && x[2] == gates && graph_->shape(node.inputs[turn.state]) == hidden &&
           is_row(turn.bias) && is_row(turn.input_bias) &&
           turn.weights.shape() == Shape({hidden[1], gates}) &&
           ListIsOnlyStacked(loop, turn.output);
  }

  bool ListIsOnlyStacked(NodeId loop, int output) const {
    const NodeOutput list{loop, output};
    for (const Node& user : graph_->nodes()) {
      const bool uses =
          std::find(user.inputs.begin(), user.inputs.end(), list) != user.inputs.end();
      if (uses && (user.op != "TensorListStack" || !user.control_inputs.empty())) return false;
    }
    return std::find(graph_->results.begin(), graph_->results.end(), list) == graph_->results.end();
  }

  Status Replace(NodeId loop) {
    Turn turn;
    int64_t turns = 0;
    counters_.clear();
    unchanged_.clear();
    SM_ASSIGN_OR_RETURN(const bool found, Read(loop, &turn, &turns));
    if (!found || !Fits(loop, turn, turns)) return Status();
    const bool lstm = turn.cell == "_LstmCell";
    const std::string name = graph_->node(loop).name;
    const std::vector<NodeOutput> variables = graph_->node(loop).inputs;
    const Shape state = graph_->shape(variables[turn.hidden]);
    const auto constant = [&](const char* what, const Tensor& value) -> NodeOutput {
      if (value.has_value())
        return {graph_->AddConst(name + what, value.WithShape(Shape({value.num_elements()}))), 0};
      return {graph_->AddConst(name + what, Tensor::Vector(std::vector<float>())), 0};
    };
    const NodeOutput weights{graph_->AddConst(name + "/weights", turn.weights), 0};
    const NodeOutput rows = Rows(loop, turn);
    Attrs attrs = turn.attrs;
    NodeOutput input = rows, projection = constant("/input_weights", Tensor());
    NodeOutput indices{graph_->AddConst(name + "/indices", Tensor::Vector(std::vector<int32_t>())),
                       0};
    bool batch_major = false;
    if (const Node* picked = AsPicked(rows)) {
      input = picked->inputs[0];
      indices = picked->inputs[1];
      projection = picked->inputs[2];
      attrs.Set("Tindices", graph_->type(indices));
    } else if (const auto [x, input_weights] = Unprojected(rows); input_weights.has_value()) {
      batch_major = SwapsBatchAndTurns(x);
      input = batch_major ? graph_->node(x.node).inputs[0] : x;
      projection = {graph_->AddConst(name + "/projection", input_weights), 0};
    }
    std::vector<NodeOutput> inputs = {input, projection, weights, constant("/bias", turn.bias)};
    if (!lstm) inputs.push_back(constant("/input_bias", turn.input_bias));
    inputs.push_back(variables[turn.hidden]);
    if (lstm) inputs.push_back(variables[turn.state]);
    inputs.push_back(indices);
    attrs.Set("last_only", turn.last_only);
    attrs.Set("batch_major", batch_major);
    const NodeOutput made = Make(loop, lstm ? "_LstmLoop" : "_GruLoop", std::move(inputs),
                                 std::move(attrs), lstm ? 3 : 2);
    graph_->node(made.node).output_shapes.assign(lstm ? 3 : 2, state);
    graph_->node(made.node).output_shapes[0] =
        Shape({turn.last_only ? 1 : turns, state[0], state[1]});
    for (NodeId id = 0; id < graph_->num_nodes(); ++id) {
      const Node& stack = graph_->node(id);
      if (stack.op == "TensorListStack" && stack.inputs[0] == NodeOutput{loop, turn.output}) {
        redirects_.Set({id, 0}, made);
        redirects_.SetControl(id, made.node);
      }
    }
    redirects_.Set({loop, turn.hidden}, {made.node, 1});
    if (lstm) redirects_.Set({loop, turn.state}, {made.node, 2});
    for (const int i : unchanged_) redirects_.Set({loop, i}, variables[i]);
    for (const int i : counters_) {
      const Tensor& start = *graph_->constant(variables[i]);
      const int64_t end = LoopFunction::Integer(start) + turns;
      const Tensor value = start.dtype() == DType::kInt32
                               ? Tensor::Scalar(static_cast<int32_t>(end))
                               : Tensor::Scalar(end);
      redirects_.Set({loop, i}, {graph_->AddConst(StrCat(name, "/counter", i), value), 0});
    }
    redirects_.SetControl(loop, made.node);
    return Status();
  }

  std::vector<int> uses_;
  std::vector<int> counters_, unchanged_;  // variables of the loop at hand
};

}  // namespace

Status RecognizeRecurrences(OptimizeContext* context, Graph* graph) {
  return RecurrencePass(context, graph).Run();
}

}  // namespace savedmodel
