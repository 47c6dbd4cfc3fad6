// Scalar ops behind a product or convolution moved into its epilogue.
#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

// An operand that each element of `out` finds without a broadcast of its own: one value, one value
// per element, or one per element of the last dimensions of `out`, which make up a row of
// `columns`.
bool FitsEpilogue(const Shape& operand, const Shape& out, int64_t columns) {
  if (!operand.fully_known() || operand.rank() > out.rank()) return false;
  if (operand.num_elements() == 1 || operand == out) return true;
  if (operand.num_elements() != columns) return false;
  int64_t covered = 1;
  for (int i = 1; i <= out.rank() && covered < columns; ++i) {
    const int64_t dim = out[out.rank() - i];
    if (i > operand.rank() || operand[operand.rank() - i] != dim) return false;
    covered *= dim;
  }
  return covered == columns;
}

class Fuser {
 public:
  explicit Fuser(Graph* graph) : graph_(graph), uses_(CountUses(*graph)) {}

  Status Run() {
    SM_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph_->TopologicalOrder());
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
  NodeId Target(NodeOutput v, const Shape& out) const {
    if (!graph_->shape(v).fully_known() || graph_->shape(v) != out) return -1;
    for (; v.index == 0 && uses_[v.node] == 1; v = graph_->node(v.node).inputs[0]) {
      const Node& node = graph_->node(v.node);
      if (node.registered == nullptr || node.output_types[0] != DType::kFloat) return -1;
      if (node.registered->def->fusion.accepts_epilogue) {
        const Shape shape = graph_->shape(v);
        const bool fits =
            shape.fully_known() && shape.rank() > 0 && node.attrs.String("data_format") != "NCHW";
        return fits ? v.node : -1;
      }
      if (node.op != "Reshape" || !node.control_inputs.empty()) return -1;
    }
    return -1;
  }

  void TryFuse(NodeId id) {
    const Node& node = graph_->node(id);
    const ScalarOp op = node.registered->def->fusion.scalar;
    const Shape out = graph_->shape({id, 0});
    for (size_t side = 0; side < node.inputs.size(); ++side) {
      const NodeOutput value = node.inputs[side];
      const NodeId target = Target(value, out);
      if (target < 0) continue;
      EpilogueStep step;
      step.op = op;
      step.parameter = node.attrs.Float("alpha");
      step.operand_first = side == 1;
      if (IsBinary(op)) {
        const NodeOutput operand = node.inputs[1 - side];
        const Shape product = graph_->shape({target, 0});
        if (operand.node == value.node ||
            !FitsEpilogue(graph_->shape(operand), out, product[product.rank() - 1])) {
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
  Redirects redirects_;
};

}  // namespace

Status FuseEpilogues(OptimizeContext*, Graph* graph) { return Fuser(graph).Run(); }

}  // namespace savedmodel
