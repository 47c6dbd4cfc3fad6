// Scalar ops behind a product or convolution moved into its epilogue.
#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

bool IsBinary(ScalarOp op) { return op >= ScalarOp::kAdd; }

// An operand that each element of `out` finds without a broadcast of its own: one value, one value
// per last dimension, or one per element.
bool FitsEpilogue(const Shape& operand, const Shape& out) {
  if (!operand.fully_known()) return false;
  if (operand.num_elements() == 1) return operand.rank() <= out.rank();
  if (operand == out) return true;
  if (out.rank() == 0 || operand.rank() == 0 || operand.rank() > out.rank()) return false;
  const int64_t last = out.dim(out.rank() - 1);
  return operand.num_elements() == last && operand.dim(operand.rank() - 1) == last;
}

class Fuser {
 public:
  explicit Fuser(Graph* graph) : graph_(graph), uses_(graph->num_nodes(), 0) {
    for (const Node& node : graph->nodes()) {
      for (const NodeOutput& v : node.inputs) ++uses_[v.node];
      for (NodeId c : node.control_inputs) ++uses_[c];
    }
    for (const NodeOutput& v : graph->results) ++uses_[v.node];
    for (NodeId id : graph->targets) ++uses_[id];
  }

  Status Run() {
    SM_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph_->TopologicalOrder());
    for (NodeId id : order) {
      Node& node = graph_->node(id);
      for (NodeOutput& v : node.inputs) v = redirects_.Resolve(v);
      if (IsScalarOp(node)) TryFuse(id);
    }
    redirects_.Apply(graph_);
    return Status();
  }

 private:
  static bool IsScalarOp(const Node& node) {
    return node.registered != nullptr && node.registered->def->fusion.scalar != ScalarOp::kNone &&
           node.control_inputs.empty() && node.num_outputs() == 1 &&
           node.output_types[0] == DType::kFloat && node.attrs.String("data_format") != "NCHW" &&
           node.inputs.size() == (IsBinary(node.registered->def->fusion.scalar) ? 2u : 1u);
  }

  bool Accepts(NodeOutput v, const Shape& out) const {
    const Node& producer = graph_->node(v.node);
    return v.index == 0 && uses_[v.node] == 1 && producer.registered != nullptr &&
           producer.registered->def->fusion.accepts_epilogue &&
           producer.output_types[0] == DType::kFloat && graph_->shape(v).fully_known() &&
           graph_->shape(v) == out && producer.attrs.String("data_format") != "NCHW";
  }

  void TryFuse(NodeId id) {
    const Node& node = graph_->node(id);
    const ScalarOp op = node.registered->def->fusion.scalar;
    const Shape out = graph_->shape({id, 0});
    for (size_t side = 0; side < node.inputs.size(); ++side) {
      const NodeOutput producer = node.inputs[side];
      if (!Accepts(producer, out)) continue;
      EpilogueStep step;
      step.op = op;
      step.parameter = node.attrs.Float("alpha");
      step.operand_first = side == 1;
      if (IsBinary(op)) {
        const NodeOutput operand = node.inputs[1 - side];
        if (operand.node == producer.node || !FitsEpilogue(graph_->shape(operand), out)) continue;
        Node& target = graph_->node(producer.node);
        step.operand = static_cast<int>(target.inputs.size());
        target.inputs.push_back(operand);
      }
      graph_->node(producer.node).epilogue.push_back(step);
      // The producer now stands for this node: it has this node's users.
      uses_[producer.node] = uses_[id];
      redirects_.Set({id, 0}, producer);
      redirects_.SetControl(id, producer.node);
      return;
    }
  }

  Graph* graph_;
  std::vector<int> uses_;
  Redirects redirects_;
};

}  // namespace

Status FuseEpilogues(OptimizeContext*, Graph* graph) { return Fuser(graph).Run(); }

}  // namespace savedmodel
