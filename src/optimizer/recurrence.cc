// Loops over the cells of a recurrent layer become one op that runs all turns.
//
// Such a loop counts, takes row t of an input, puts the new output into a list, and hands on
// states that a recognised cell makes. Whatever else it carries it does not change.
#include <algorithm>

#include "src/base/status_macros.h"
#include "src/optimizer/turn_reader.h"

namespace savedmodel {
namespace {

class RecurrencePass : private PatternPass {
 public:
  RecurrencePass(OptimizeContext* context, Graph* graph) : PatternPass(context, graph) {}

  Status Run() {
    SM_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph_->TopologicalOrder());
    uses_ = CountUses(*graph_);
    for (NodeId id : order) {
      if (!IsWhile(graph_->node(id))) continue;
      SM_RETURN_IF_ERROR(Replace(id));
    }
    redirects_.Apply(graph_);
    return Status();
  }

 private:
  // A loop over cells.
  struct Loop {
    NodeId node = -1;
    Turn turn;
    int64_t turns = 0;
    bool ends_early = false;               // when all rows have had their turns
    std::vector<int> counters, unchanged;  // variables
  };

  // False for other loops. Variables have the same place in the loop's inputs and in both
  // functions.
  StatusOr<bool> Read(Loop* loop) {
    const Node& node = graph_->node(loop->node);
    SM_ASSIGN_OR_RETURN(std::shared_ptr<const GraphFunction> body_graph,
                        context_->library->Get(node.attrs.Get<FuncAttr>("body")));
    const auto has_list = [](const Node& n) { return n.op == "TensorListGetItem"; };
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
    SM_RETURN_IF_ERROR(body.Specialize(*graph_, loop->node, body));
    SM_ASSIGN_OR_RETURN(const bool found, body.Read(&loop->turn));
    if (!found) return false;
    SM_RETURN_IF_ERROR(cond.Specialize(*graph_, loop->node, body));
    for (int i = 0; i < static_cast<int>(count); ++i) {
      if (body.IsCounter(i)) {
        if (graph_->constant(node.inputs[i]) == nullptr) return false;
        loop->counters.push_back(i);
      }
      if (body.IsUnchanged(i)) loop->unchanged.push_back(i);
    }
    return CountTurns(body, cond, loop);
  }

  bool CountTurns(const LoopFunction& body, const LoopFunction& cond, Loop* loop) const {
    std::vector<LoopFunction::Limit> limits;
    if (!cond.ReadLimits(&limits)) return false;
    const Node& node = graph_->node(loop->node);
    loop->turns = -1;
    for (const LoopFunction::Limit& limit : limits) {
      const Tensor* start = graph_->constant(node.inputs[limit.variable]);
      if (!body.IsCounter(limit.variable) || start == nullptr ||
          LoopFunction::Integer(*start) < 0) {
        return false;
      }
      int64_t end = limit.number;
      if (end < 0) {
        if (!body.IsUnchanged(limit.other)) return false;
        end = MostTurns(node.inputs[limit.other], *loop);
        if (end < 0) return false;
        loop->ends_early = true;
      }
      const int64_t left = std::max<int64_t>(0, end - LoopFunction::Integer(*start));
      loop->turns = loop->turns < 0 ? left : std::min(loop->turns, left);
    }
    return true;
  }

  // A number of turns after which there may be more, but none that a row would take part in, as
  // `limit` is the least of it and of the most that any row takes part in; -1 for other limits.
  int64_t MostTurns(NodeOutput limit, const Loop& loop) const {
    const int variable = loop.turn.mask.lengths;
    if (variable < 0) return -1;
    const NodeOutput lengths = graph_->node(loop.node).inputs[variable];
    int64_t most = -1;
    (void)Either(limit, "Minimum", [&](NodeOutput number, NodeOutput longest) {
      const Tensor* constant = Constant(number);
      if (constant == nullptr) return false;
      NodeOutput length = longest;
      (void)Either(longest, "Maximum", [&](NodeOutput one, NodeOutput other) {
        const Tensor* least = Constant(one);
        if (least != nullptr && LoopFunction::Integer(*least) == 1) length = other;
        return least != nullptr;
      });
      const Node* max = As(length, "Max", 2);
      if (max == nullptr || max->inputs[0] != lengths || !IsAxis(Constant(max->inputs[1]), 0, 1)) {
        return false;
      }
      most = LoopFunction::Integer(*constant);
      return true;
    });
    return most;
  }

  // The rows that list `variable` holds: of the input [turns, batch, blocks * units].
  NodeOutput Rows(const Loop& loop, int variable) const {
    const NodeOutput list = graph_->node(loop.node).inputs[variable];
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

  bool Fits(const Loop& loop) const {
    const Node& node = graph_->node(loop.node);
    const Turn& turn = loop.turn;
    const NodeOutput rows = Rows(loop, turn.input);
    const Tensor* start = graph_->constant(node.inputs[turn.time]);
    if (rows.node < 0 || loop.turns <= 0 || start == nullptr ||
        LoopFunction::Integer(*start) != 0) {
      return false;
    }
    const Shape x = graph_->shape(rows);
    if (!x.fully_known() || x.rank() != 3 || x[0] != loop.turns) return false;
    int64_t inputs = x[2];
    for (size_t i = 0; i < turn.cells.size(); ++i) {
      const CellTurn& cell = turn.cells[i];
      const Shape hidden = graph_->shape(node.inputs[cell.hidden]);
      if (!hidden.fully_known() || hidden.rank() != 2 || x[1] != hidden[0]) return false;
      const int64_t gates = cell.gates * cell.units;
      const auto is_row = [&](const Tensor& t) {
        return !t.has_value() || t.num_elements() == gates;
      };
      const bool fits =
          i == 0 ? inputs == gates : cell.input_weights.shape() == Shape({inputs, gates});
      const bool projects = cell.projection.has_value();
      if (!fits || graph_->shape(node.inputs[cell.state]) != Shape({x[1], cell.units}) ||
          (projects ? cell.projection.shape() != Shape({cell.units, hidden[1]})
                    : hidden[1] != cell.units) ||
          !is_row(cell.bias) || !is_row(cell.input_bias) ||
          cell.weights.shape() != Shape({hidden[1], gates})) {
        return false;
      }
      if (cell.adds_input && i == 0) {
        const NodeOutput added = Rows(loop, turn.added);
        if (added.node < 0 || graph_->shape(added) != Shape({x[0], x[1], hidden[1]})) return false;
      }
      inputs = hidden[1];
    }
    return MaskFits(loop, x[1]) && OutputFits(loop);
  }

  bool OutputFits(const Loop& loop) const {
    const int output = loop.turn.output;
    if (output < 0) return true;
    const Node* reserve = As(graph_->node(loop.node).inputs[output], "TensorListReserve", 2);
    const Tensor* size = reserve == nullptr ? nullptr : graph_->constant(reserve->inputs[1]);
    return size != nullptr &&
           LoopFunction::Integer(*size) == (loop.turn.last_only ? 1 : loop.turns) &&
           IsOnlyStacked({loop.node, output});
  }

  bool MaskFits(const Loop& loop, int64_t batch) const {
    const Turn& turn = loop.turn;
    const Node& node = graph_->node(loop.node);
    if (turn.mask.list >= 0) {
      const Node* list = As(node.inputs[turn.mask.list], "TensorListFromTensor", 2);
      if (list == nullptr || graph_->type(list->inputs[0]) != DType::kBool ||
          graph_->shape(list->inputs[0]).num_elements() != loop.turns * batch) {
        return false;
      }
    }
    if (turn.mask.lengths >= 0) {
      const NodeOutput lengths = node.inputs[turn.mask.lengths];
      const DType dtype = graph_->type(lengths);
      const bool integers = dtype == DType::kInt32 || dtype == DType::kInt64;
      if (!integers || graph_->shape(lengths) != Shape({batch})) return false;
    }
    if (turn.cells.back().adds_input && (turn.masked >= 0 || turn.last_only)) return false;
    bool is_state = false;
    for (const CellTurn& cell : turn.cells) is_state = is_state || turn.masked == cell.hidden;
    const auto is_used = [&](int i) { return IsUsed(*graph_, {loop.node, i}); };
    if (turn.masked >= 0 && !is_state && is_used(turn.masked)) return false;
    if (std::any_of(turn.unread.begin(), turn.unread.end(), is_used)) return false;
    if (!loop.ends_early) return true;
    // Turns that are left out leave outputs of 0, and counters that only they know.
    return (turn.output < 0 || (turn.masked < 0 && !turn.last_only)) &&
           std::none_of(loop.counters.begin(), loop.counters.end(), [&](int i) {
             return IsUsed(*graph_, {loop.node, i});
           });
  }

  bool IsOnlyStacked(NodeOutput list) const {
    for (const Node& user : graph_->nodes()) {
      const bool uses =
          std::find(user.inputs.begin(), user.inputs.end(), list) != user.inputs.end();
      if (uses && (user.op != "TensorListStack" || !user.control_inputs.empty())) return false;
    }
    return std::find(graph_->results.begin(), graph_->results.end(), list) == graph_->results.end();
  }

  // Tensor `value`, or a vector of nothing.
  NodeOutput AddConstant(const Loop& loop, const std::string& what, const Tensor& value,
                         DType dtype = DType::kFloat) {
    Tensor kept = value;
    if (!value.has_value()) kept = *Tensor::Allocate(dtype, Shape({0}));
    return {graph_->AddConst(graph_->node(loop.node).name + what, std::move(kept)), 0};
  }

  // What the first cell's op takes as its input.
  struct Input {
    NodeOutput x, weights, indices;
    bool batch_major = false;
  };
  Input InputOf(const Loop& loop) {
    const NodeOutput rows = Rows(loop, loop.turn.input);
    if (const Node* picked = AsPicked(rows)) {
      return {picked->inputs[0], picked->inputs[2], picked->inputs[1]};
    }
    const NodeOutput indices = AddConstant(loop, "/indices", Tensor(), DType::kInt32);
    const auto [x, weights] = Unprojected(rows);
    if (!weights.has_value()) {
      return {rows, AddConstant(loop, "/input_weights", Tensor()), indices};
    }
    const bool batch_major = SwapsBatchAndTurns(x);
    return {batch_major ? graph_->node(x.node).inputs[0] : x,
            AddConstant(loop, "/input_weights", weights), indices, batch_major};
  }

  // [turns, batch]: which rows take part; a vector of nothing where all do.
  NodeOutput MakeMask(const Loop& loop, int64_t batch) {
    const TurnMask& mask = loop.turn.mask;
    if (!mask.exists()) return AddConstant(loop, "/mask", Tensor(), DType::kBool);
    const Shape shape({loop.turns, batch});
    if (mask.list >= 0) {
      const NodeOutput list = graph_->node(loop.node).inputs[mask.list];
      return Reshape(loop, graph_->node(list.node).inputs[0], shape);
    }
    const NodeOutput lengths = graph_->node(loop.node).inputs[mask.lengths];
    const DType dtype = graph_->type(lengths);
    Tensor turns = *Tensor::Allocate(dtype, Shape({loop.turns, 1}));
    for (int64_t t = 0; t < loop.turns; ++t) {
      if (dtype == DType::kInt32) {
        static_cast<int32_t*>(turns.raw_mutable_data())[t] = static_cast<int32_t>(t);
      } else {
        static_cast<int64_t*>(turns.raw_mutable_data())[t] = t;
      }
    }
    return MakeOf(loop, "Less", dtype, {AddConstant(loop, "/mask/turns", turns), lengths}, shape,
                  DType::kBool);
  }

  // A node of `op`, the attribute T of which is `type`.
  NodeOutput MakeOf(const Loop& loop, const char* op, DType type, std::vector<NodeOutput> inputs,
                    const Shape& shape, DType made_type) {
    Attrs attrs;
    attrs.Set("T", type);
    const NodeOutput made = Make(loop.node, op, std::move(inputs), std::move(attrs));
    graph_->node(made.node).output_types = {made_type};
    graph_->node(made.node).output_shapes = {shape};
    return made;
  }
  NodeOutput Reshape(const Loop& loop, NodeOutput v, const Shape& shape) {
    const DType dtype = graph_->type(v);
    const Tensor dims = Tensor::Vector(std::vector<int32_t>(shape.begin(), shape.end()));
    return MakeOf(loop, "Reshape", dtype, {v, AddConstant(loop, "/shape", dims)}, shape, dtype);
  }

  // The sums of what cell `i` makes and its input, 0 in what is masked of the loop's output.
  NodeOutput MakeSum(const Loop& loop, size_t i, NodeOutput made, NodeOutput input,
                     NodeOutput mask) {
    const Shape shape = graph_->shape(made);
    const NodeOutput added = i == 0 ? Rows(loop, loop.turn.added) : input;
    const NodeOutput sum =
        MakeOf(loop, "AddV2", DType::kFloat, {made, added}, shape, DType::kFloat);
    if (i + 1 < loop.turn.cells.size() || !loop.turn.mask.exists()) return sum;
    return MakeOf(loop, "SelectV2", DType::kFloat,
                  {Reshape(loop, mask, Shape({shape[0], shape[1], 1})), sum,
                   AddConstant(loop, "/masked/zero", Tensor::Scalar(0.0f))},
                  shape, DType::kFloat);
  }

  // The op of cell `i`, with its input.
  NodeOutput MakeLoop(const Loop& loop, size_t i, const Input& input, NodeOutput mask) {
    const CellTurn& cell = loop.turn.cells[i];
    const bool lstm = cell.op == "_LstmLoop", last = i + 1 == loop.turn.cells.size();
    const std::vector<NodeOutput> variables = graph_->node(loop.node).inputs;
    const Shape hidden = graph_->shape(variables[cell.hidden]);
    const std::string number = i == 0 ? "" : std::to_string(i);
    const auto bias = [&](const char* what, const Tensor& value) {
      return AddConstant(
          loop, what + number,
          value.has_value() ? value.WithShape(Shape({value.num_elements()})) : value);
    };
    std::vector<NodeOutput> inputs = {input.x, input.weights,
                                      AddConstant(loop, "/weights" + number, cell.weights),
                                      bias("/bias", cell.bias)};
    if (cell.op == "_GruLoop") inputs.push_back(bias("/input_bias", cell.input_bias));
    if (lstm) {
      inputs.push_back(AddConstant(loop, "/peepholes" + number, cell.peepholes));
      inputs.push_back(AddConstant(loop, "/projection" + number, cell.projection));
    }
    inputs.push_back(variables[cell.hidden]);
    if (lstm) inputs.push_back(variables[cell.state]);
    const bool keeps = last && loop.turn.masked >= 0;
    inputs.insert(inputs.end(), {input.indices, mask,
                                 keeps ? variables[loop.turn.masked]
                                       : AddConstant(loop, "/masked" + number, Tensor())});
    Attrs attrs = cell.attrs;
    attrs.Set("Tindices", graph_->type(input.indices));
    attrs.Set("last_only", last && loop.turn.last_only);
    attrs.Set("batch_major", input.batch_major);
    const NodeOutput made =
        Make(loop.node, cell.op, std::move(inputs), std::move(attrs), lstm ? 3 : 2);
    const int64_t kept = last && loop.turn.last_only ? 1 : loop.turns;
    std::vector<Shape> shapes = {Shape({kept, hidden[0], hidden[1]}), hidden};
    if (lstm) shapes.push_back(graph_->shape(variables[cell.state]));
    graph_->node(made.node).output_shapes = std::move(shapes);
    redirects_.Set({loop.node, cell.hidden}, {made.node, 1});
    if (lstm) redirects_.Set({loop.node, cell.state}, {made.node, 2});
    return made;
  }

  Status Replace(NodeId id) {
    Loop loop{.node = id};
    SM_ASSIGN_OR_RETURN(const bool found, Read(&loop));
    if (!found || !Fits(loop)) return Status();
    const std::vector<NodeOutput> variables = graph_->node(id).inputs;
    Input input = InputOf(loop);
    const NodeOutput mask = MakeMask(loop, graph_->shape(Rows(loop, loop.turn.input))[1]);
    for (size_t i = 0; i < loop.turn.cells.size(); ++i) {
      if (i > 0) {
        const Tensor& weights = loop.turn.cells[i].input_weights;
        input = {input.x, AddConstant(loop, StrCat("/input_weights", i), weights),
                 AddConstant(loop, "/indices", Tensor(), DType::kInt32)};
      }
      const NodeOutput made = MakeLoop(loop, i, input, mask);
      input.x = loop.turn.cells[i].adds_input ? MakeSum(loop, i, made, input.x, mask) : made;
    }
    for (NodeId user = 0; user < graph_->num_nodes(); ++user) {
      const Node& stack = graph_->node(user);
      if (stack.op == "TensorListStack" && stack.inputs[0] == NodeOutput{id, loop.turn.output}) {
        redirects_.Set({user, 0}, input.x);
        redirects_.SetControl(user, input.x.node);
      }
    }
    for (const int i : loop.unchanged) redirects_.Set({id, i}, variables[i]);
    for (const int i : loop.counters) {
      const Tensor& start = *graph_->constant(variables[i]);
      const int64_t end = LoopFunction::Integer(start) + loop.turns;
      const Tensor value = start.dtype() == DType::kInt32
                               ? Tensor::Scalar(static_cast<int32_t>(end))
                               : Tensor::Scalar(end);
      redirects_.Set({id, i}, AddConstant(loop, StrCat("/counter", i), value));
    }
    redirects_.SetControl(id, input.x.node);
    return Status();
  }

  std::vector<int> uses_;
};

}  // namespace

Status RecognizeRecurrences(OptimizeContext* context, Graph* graph) {
  return RecurrencePass(context, graph).Run();
}

}  // namespace savedmodel
