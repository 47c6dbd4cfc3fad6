// Scalar ops behind a product or convolution moved into its epilogue.
#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"
#include "src/optimizer/same_shapes.h"

namespace savedmodel {
namespace {

class Fuser {
 public:
  Fuser(Graph* graph, const std::vector<NodeId>& order)
      : graph_(graph), uses_(CountUses(*graph)), same_shapes_(*graph, order) {}

  Status Run(const std::vector<NodeId>& order) {
    for (NodeId id : order) {
      Node& node = graph_->node(id);
      for (NodeOutput& v : node.inputs) v = redirects_.Resolve(v);
      if (IsScalarFunction(node)) TryFuse(id);
    }
    redirects_.Apply(graph_);
    return Status();
  }

 private:
  // The node into whose epilogue a user of `v` can go: the one that makes `v`, or what that one
  // gives another shape.
  NodeId Target(NodeOutput v) const {
    for (; v.index == 0 && uses_[v.node] == 1; v = graph_->node(v.node).inputs[0]) {
      const Node& node = graph_->node(v.node);
      if (node.registered == nullptr || node.output_types[0] != DType::kFloat) return -1;
      if (node.registered->def->fusion.accepts_epilogue) {
        const bool fits = graph_->shape(v).rank() > 0 && node.attrs.String("data_format") != "NCHW";
        return fits ? v.node : -1;
      }
      const bool is_alias = node.registered->def->in_place == InPlace::kAliasesInput0;
      if (!is_alias || !node.control_inputs.empty()) return -1;
    }
    return -1;
  }

  // An operand that each element of `out` finds without a broadcast of its own: one value, one
  // value per element, or one per element of the last dimensions of `out`, which make up a row of
  // `columns`.
  bool IsOperand(NodeOutput operand, NodeOutput out, int64_t columns) const {
    if (same_shapes_(operand, out)) return true;
    const Shape shape = graph_->shape(operand), whole = graph_->shape(out);
    if (!shape.fully_known() || shape.rank() > whole.rank()) return false;
    if (shape.num_elements() == 1) return true;
    if (shape.num_elements() != columns) return false;
    int64_t covered = 1;
    for (int i = 1; i <= whole.rank() && covered < columns; ++i) {
      const int64_t dim = whole[whole.rank() - i];
      if (i > shape.rank() || shape[shape.rank() - i] != dim) return false;
      covered *= dim;
    }
    return covered == columns;
  }

  void TryFuse(NodeId id) {
    const Node& node = graph_->node(id);
    const ScalarOp op = node.registered->def->fusion.scalar;
    for (size_t side = 0; side < node.inputs.size(); ++side) {
      const NodeOutput value = node.inputs[side];
      const NodeId target = same_shapes_(value, {id, 0}) ? Target(value) : -1;
      if (target < 0) continue;
      EpilogueStep step;
      step.op = op;
      step.parameter = node.attrs.Float("alpha");
      step.operand_first = side == 1;
      if (IsBinary(op)) {
        const NodeOutput operand = node.inputs[1 - side];
        const Shape product = graph_->shape({target, 0});
        if (operand.node == value.node ||
            !IsOperand(operand, {id, 0}, product[product.rank() - 1])) {
          continue;
        }
        step.operand = static_cast<int>(graph_->node(target).inputs.size());
        graph_->node(target).inputs.push_back(operand);
      }
      graph_->node(target).epilogue.push_back(step);
      // The value now stands for this node: it has this node's users.
      uses_[value.node] = uses_[id];
      redirects_.Set({id, 0}, value);
      redirects_.SetControl(id, value.node);
      return;
    }
  }

  Graph* graph_;
  std::vector<int> uses_;
  const SameShapes same_shapes_;
  Redirects redirects_;
};

}  // namespace

Status FuseEpilogues(OptimizeContext*, Graph* graph) {
  SM_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph->TopologicalOrder());
  return Fuser(graph, order).Run(order);
}

}  // namespace savedmodel
