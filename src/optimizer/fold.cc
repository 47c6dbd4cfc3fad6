// Shape inference and constant folding in one walk: shapes make constants, constants make shapes.
#include <algorithm>

#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

// Results larger than this stay computed, unless they are no larger than what they come from.
constexpr int64_t kMostBytes = 16 << 20;
// Memory that one folded node may take while it runs.
constexpr int64_t kFoldBudget = 512 << 20;

int64_t Bytes(DType dtype, const Shape& shape) {
  return shape.num_elements() * static_cast<int64_t>(DTypeSize(dtype));
}

// An op that returns its input as it is, so that users may take the input instead.
bool IsIdentity(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.registered == nullptr || node.num_outputs() != 1 || node.inputs.empty() ||
      node.registered->def->in_place != InPlace::kAliasesInput0 || !node.control_inputs.empty() ||
      graph.is_ref({id, 0}) || graph.is_ref(node.inputs[0])) {
    return false;
  }
  const DType dtype = graph.type({id, 0});
  if (dtype != graph.type(node.inputs[0])) return false;
  if (node.op == "Identity" || node.op == "StopGradient" || node.op == "PreventGradient") {
    return true;
  }
  const Shape in = graph.shape(node.inputs[0]), out = graph.shape({id, 0});
  return in.fully_known() && in == out;
}

// The input that a product with the constant 1 returns; -1 where the node is none or widens it.
int FactorOfOne(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.op != "Mul" || node.output_types[0] != DType::kFloat || !node.control_inputs.empty()) {
    return -1;
  }
  const Shape out = graph.shape({id, 0});
  for (int i = 0; i < 2; ++i) {
    const Tensor* value = graph.constant(node.inputs[i]);
    if (value == nullptr || value->num_elements() != 1 || value->data<float>()[0] != 1) continue;
    if (out.fully_known() && graph.shape(node.inputs[1 - i]) == out) return 1 - i;
  }
  return -1;
}

// A transposition that moves only dimensions of size 1, if any: elements stay where they are.
bool KeepsElements(const Graph& graph, NodeId id) {
  const std::vector<int> taken = PermutationOf(graph, graph.node(id));
  const Shape out = graph.shape({id, 0});
  if (taken.empty() || !out.fully_known()) return false;
  int last = -1;
  for (int i = 0; i < out.rank(); ++i) {
    if (out[i] == 1) continue;
    if (taken[i] < last) return false;
    last = taken[i];
  }
  return true;
}

// Whether a transposition undoes the one that its input is.
bool UndoesTranspose(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const std::vector<int> outer = PermutationOf(graph, node);
  if (outer.empty()) return false;
  const std::vector<int> inner = PermutationOf(graph, graph.node(node.inputs[0].node));
  if (inner.size() != outer.size()) return false;
  for (size_t i = 0; i < outer.size(); ++i) {
    if (inner[outer[i]] != static_cast<int>(i)) return false;
  }
  return true;
}

class Folder {
 public:
  Folder(OptimizeContext* context, Graph* graph) : context_(context), graph_(graph) {
    if (context_->env.run != nullptr) run_ = *context_->env.run;
    run_.budget = std::make_shared<MemoryBudget>(kFoldBudget);
    run_.files = nullptr;
    run_.checkpoints = nullptr;
    env_ = context_->env;
    env_.run = &run_;
  }

  Status Run() {
    SM_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph_->TopologicalOrder());
    orders_.assign(graph_->num_nodes(), false);
    for (NodeId id : order) {
      has_dead_values_ = has_dead_values_ || SplitsDeadness(graph_->node(id));
      for (NodeId c : graph_->node(id).control_inputs) orders_[c] = true;
    }
    for (NodeId id : order) {
      if (context_->env.run != nullptr) SM_RETURN_IF_ERROR(context_->env.run->CheckInterrupt());
      for (NodeOutput& v : graph_->node(id).inputs) v = redirects_.Resolve(v);
      SM_RETURN_IF_ERROR(Visit(id));
    }
    redirects_.Apply(graph_);
    return Status();
  }

 private:
  Status Visit(NodeId id) {
    const Node& node = graph_->node(id);
    if (const Tensor* value = graph_->constant({id, 0})) {
      graph_->node(id).output_shapes = {value->shape()};
      return Status();
    }
    if (node.is_arg() || node.is_const()) return Status();
    // Refused shapes are the run's to report: the node may never run.
    const Status inferred = InferNode(env_, graph_, id);
    if (!inferred.ok()) return Status();
    if (KeepsElements(*graph_, id)) MakeReshape(id);
    if (IsIdentity(*graph_, id) && !TellsBranch(id)) {
      redirects_.Set({id, 0}, graph_->node(id).inputs[0]);
      redirects_.SetControl(id, graph_->node(id).inputs[0].node);
      return Status();
    }
    if (ForwardInputs(id) || FoldShapeOp(id) || FoldZeros(id)) return Status();
    FoldNode(id);
    return Status();
  }

  void MakeReshape(NodeId id) {
    const Shape shape = graph_->shape({id, 0});
    const NodeId dims =
        graph_->AddConst(graph_->node(id).name + "/shape", Tensor::Vector(shape.ToVector()));
    graph_->node(dims).output_shapes = {Shape({shape.rank()})};
    Node& node = graph_->node(id);
    node.op = "Reshape";
    node.registered = context_->env.registry->Find("Reshape");
    node.inputs[1] = {dims, 0};
    Attrs attrs;
    attrs.Set("T", node.output_types[0]);
    attrs.Set("Tshape", DType::kInt64);
    node.attrs = std::move(attrs);
  }

  // Users of an IdentityN, of a product with 1 or of a transposition back take the inputs instead.
  // Where values may be dead, an IdentityN is dead with any of its inputs.
  bool ForwardInputs(NodeId id) {
    const Node& node = graph_->node(id);
    if (orders_[id] || has_dead_values_) return false;
    if (const int input = FactorOfOne(*graph_, id); input >= 0) {
      redirects_.Set({id, 0}, node.inputs[input]);
      return true;
    }
    if (UndoesTranspose(*graph_, id)) {
      redirects_.Set({id, 0}, graph_->node(node.inputs[0].node).inputs[0]);
      return true;
    }
    if (node.op != "IdentityN" || !node.control_inputs.empty()) return false;
    for (int i = 0; i < node.num_outputs(); ++i) {
      if (graph_->is_ref(node.inputs[i])) return false;
    }
    for (int i = 0; i < node.num_outputs(); ++i) redirects_.Set({id, i}, node.inputs[i]);
    return true;
  }

  // An identity of one output of a Switch, on which nodes wait that belong to that branch: waiting
  // for the Switch itself would let them run in both.
  bool TellsBranch(NodeId id) const {
    return orders_[id] && graph_->node(graph_->node(id).inputs[0].node).num_outputs() > 1;
  }

  // Shape, ShapeN, Size and Rank need their input's shape only.
  bool FoldShapeOp(NodeId id) {
    const Node& node = graph_->node(id);
    if (node.op != "Shape" && node.op != "ShapeN" && node.op != "Size" && node.op != "Rank") {
      return false;
    }
    std::vector<Tensor> values;
    for (const NodeOutput& v : node.inputs) {
      // The constant would wait for the Switch, and so be there in both branches.
      if (SplitsDeadness(graph_->node(v.node))) return false;
      const Shape shape = graph_->shape(v);
      if (!(node.op == "Rank" ? shape.known_rank() : shape.fully_known())) return false;
      std::vector<int64_t> numbers = shape.ToVector();
      if (node.op == "Size") numbers = {shape.num_elements()};
      if (node.op == "Rank") numbers = {shape.rank()};
      Tensor value = Tensor::Vector(numbers);
      if (node.output_types[0] == DType::kInt32) {
        if (std::any_of(numbers.begin(), numbers.end(), [](int64_t n) { return n > INT32_MAX; })) {
          return false;
        }
        value = Tensor::Vector(std::vector<int32_t>(numbers.begin(), numbers.end()));
      }
      if (node.op == "Size" || node.op == "Rank") value = value.WithShape(Shape());
      values.push_back(std::move(value));
    }
    Replace(id, std::move(values));
    return true;
  }

  // So does ZerosLike. Large zeros stay computed.
  bool FoldZeros(NodeId id) {
    const Node& node = graph_->node(id);
    if (node.op != "ZerosLike" || SplitsDeadness(graph_->node(node.inputs[0].node))) return false;
    constexpr int64_t kMostZeros = 64 << 10;  // bytes
    const Shape shape = graph_->shape(node.inputs[0]);
    const DType dtype = node.output_types[0];
    if (!shape.fully_known() || !IsPlainData(dtype) || Bytes(dtype, shape) > kMostZeros)
      return false;
    StatusOr<Tensor> zeros = Tensor::Zeros(dtype, shape);
    if (!zeros.ok()) return false;
    Replace(id, {std::move(zeros).value()});
    return true;
  }

  bool CanFold(const Node& node) const {
    if (node.registered->def->effects != Effects::kPure || node.inputs.empty() ||
        node.num_outputs() == 0 || CallsFunctions(node) || node.op == "Switch" ||
        node.op == "Merge" || node.op == "_Loop" || node.op == "Enter" || node.op == "Exit" ||
        node.op == "NextIteration") {
      return false;
    }
    int64_t input_bytes = 0;
    for (const NodeOutput& v : node.inputs) {
      const Tensor* value = graph_->constant(v);
      if (value == nullptr || value->dtype() == DType::kResource) return false;
      input_bytes += static_cast<int64_t>(value->num_bytes());
    }
    for (int i = 0; i < node.num_outputs(); ++i) {
      const DType dtype = node.output_types[i];
      if (dtype == DType::kResource || dtype == DType::kVariant) return false;
      if (i < static_cast<int>(node.output_is_ref.size()) && node.output_is_ref[i]) return false;
      const Shape& shape = node.output_shapes[i];
      if (!shape.fully_known()) return input_bytes <= kMostBytes;
      if (Bytes(dtype, shape) > std::max(kMostBytes, 2 * input_bytes)) return false;
    }
    return true;
  }

  void FoldNode(NodeId id) {
    const Node& node = graph_->node(id);
    if (!CanFold(node)) return;
    std::vector<Tensor> inputs;
    for (const NodeOutput& v : node.inputs) inputs.push_back(*graph_->constant(v));
    StatusOr<std::vector<Tensor>> outputs = EvaluateNode(env_, *graph_, id, std::move(inputs));
    // A failure is the run's to report, for the same reason as above.
    if (!outputs.ok()) return;
    for (const Tensor& t : *outputs) {
      if (!t.has_value()) return;
    }
    Replace(id, std::move(outputs).value());
  }

  // The constants wait for what the node and its inputs waited for.
  void Replace(NodeId id, std::vector<Tensor> values) {
    std::vector<NodeId> controls = graph_->node(id).control_inputs;
    for (const NodeOutput& v : graph_->node(id).inputs) {
      const Node& input = graph_->node(v.node);
      if (!input.is_const()) {
        controls.push_back(v.node);  // only its shape was used, but it may wait for something
        continue;
      }
      controls.insert(controls.end(), input.control_inputs.begin(), input.control_inputs.end());
    }
    std::sort(controls.begin(), controls.end());
    controls.erase(std::unique(controls.begin(), controls.end()), controls.end());
    for (size_t i = 1; i < values.size(); ++i) {
      const std::string name = StrCat(graph_->node(id).name, ":", i);
      const NodeId extra = graph_->AddConst(name, std::move(values[i]));
      graph_->node(extra).control_inputs = controls;
      redirects_.Set({id, static_cast<int>(i)}, {extra, 0});
    }
    Node& node = graph_->node(id);
    node.output_types.resize(1);
    node.output_is_ref.clear();
    node.control_inputs = std::move(controls);
    MakeConst(graph_, id, std::move(values[0]));
  }

  OptimizeContext* context_;
  Graph* graph_;
  RunState run_;
  CompileEnv env_;
  std::vector<bool> orders_;  // nodes that others wait for
  bool has_dead_values_ = false;
  Redirects redirects_;
};

}  // namespace

Status InferAndFold(OptimizeContext* context, Graph* graph) { return Folder(context, graph).Run(); }

}  // namespace savedmodel
