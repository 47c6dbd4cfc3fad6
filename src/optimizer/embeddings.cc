// Sums of rows of tables that are picked by index: what lookups of embeddings are made of.
#include "src/kernels/array/gather.h"
#include "src/optimizer/patterns.h"

namespace savedmodel {
namespace {

class Embeddings : private PatternPass {
 public:
  Embeddings(OptimizeContext* context, Graph* graph) : PatternPass(context, graph) {}

  Status Run() {
    return ReplaceEach([&](NodeId id, const std::string& op) {
      if (op == "Sum" || op == "Mean") ReplaceGatherSum(id);
      if (op.rfind("SparseSegment", 0) == 0) ReplaceUniqueRows(id);
    });
  }

 private:
  // The sum or mean of rows of a matrix along the last axis of the indices that pick them.
  void ReplaceGatherSum(NodeId id) {
    const Node* node = As({id, 0}, graph_->node(id).op, 2);
    const Node* gather = node == nullptr ? nullptr : AsGatheredRows(node->inputs[0]);
    if (gather == nullptr || node->attrs.Bool("keep_dims")) return;
    const Shape params = graph_->shape(gather->inputs[0]);
    const Shape indices = graph_->shape(gather->inputs[1]);
    if (params.rank() != 2 || indices.rank() < 1) return;
    const int64_t last = indices.rank() - 1;
    if (!IsAxis(Constant(node->inputs[1]), last, indices.rank() + 1) || indices[last] < 1 ||
        indices[last] > kMostGathered) {
      return;
    }
    Attrs attrs;
    attrs.Set("mean", node->op == "Mean");
    attrs.Set("Tindices", graph_->type(gather->inputs[1]));
    Redirect(id, Make(id, "_GatherSum", {gather->inputs[0], gather->inputs[1]}, attrs));
  }

  // Sums of rows that were gathered once for each index that occurs, as tf.nn's embedding lookups
  // write them: the same rows are in the table itself.
  void ReplaceUniqueRows(NodeId id) {
    const std::string op = graph_->node(id).op;
    const size_t inputs = graph_->node(id).inputs.size();
    const Node* sum = inputs < 3 ? nullptr : As({id, 0}, op, inputs);
    const Node* gather = sum == nullptr ? nullptr : AsGatheredRows(sum->inputs[0]);
    if (gather == nullptr) return;
    const NodeOutput picked = gather->inputs[1];
    const Node* unique = As(picked, "Unique", 1);
    if (unique == nullptr || picked.index != 0 || sum->inputs[1] != NodeOutput{picked.node, 1}) {
      return;
    }
    Attrs attrs = sum->attrs;
    attrs.Set("Tidx", graph_->type(picked));
    std::vector<NodeOutput> direct = sum->inputs;
    direct[0] = gather->inputs[0];
    direct[1] = unique->inputs[0];
    Redirect(id, Make(id, op, std::move(direct), std::move(attrs)));
  }
};

}  // namespace

Status JoinEmbeddings(OptimizeContext* context, Graph* graph) {
  return Embeddings(context, graph).Run();
}

}  // namespace savedmodel
