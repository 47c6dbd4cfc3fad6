// Scalar functions of values of one shape, each used by the next alone, put into one op that
// computes them in one pass; and with them the sum or mean of rows that alone uses the last,
// and the functions of such sums and numbers. A choice by a comparison, and a comparison as a
// number, are such functions of what is compared; the comparison stays for others that use it.
#include <algorithm>
#include <string>
#include <vector>

#include "src/base/status_macros.h"
#include "src/base/strcat.h"
#include "src/kernels/math/fused_elementwise.h"
#include "src/optimizer/optimizer.h"
#include "src/optimizer/same_shapes.h"

namespace savedmodel {
namespace {

class ElementwiseFuser {
 public:
  ElementwiseFuser(OptimizeContext* context, Graph* graph, const std::vector<NodeId>& order)
      : context_(context),
        graph_(graph),
        same_shapes_(*graph, order),
        root_(graph->num_nodes(), kNone),
        sum_of_(graph->num_nodes(), kNone),
        num_functions_(graph->num_nodes(), 0),
        user_(graph->num_nodes(), kNone) {}

  void Run(const std::vector<NodeId>& order) {
    for (const NodeOutput& v : graph_->results) user_[v.node] = kSeveral;
    for (NodeId id : graph_->targets) user_[id] = kSeveral;
    // Users come before what they use.
    std::vector<std::vector<NodeId>> trees(graph_->num_nodes());
    for (auto it = order.rbegin(); it != order.rend(); ++it) {
      const NodeId id = *it;
      // All that use it compare in their own trees.
      if (user_[id] == kNone && IsComparison(id)) continue;
      if (CanFuse(id)) {
        const NodeId root = user_[id];
        const bool joins = root >= 0 && num_functions_[root] + 2 <= kMostFused &&
                           same_shapes_({id, 0}, Whole(root));
        root_[id] = joins ? root : id;
        trees[root_[id]].push_back(id);
        num_functions_[root_[id]] += graph_->node(id).inputs.size() == 3 ? 2 : 1;
      } else if (SumsRows(id)) {
        const NodeId root = user_[id];
        const bool joins = root >= 0 && sum_of_[root] == kNone &&
                           num_functions_[root] + 2 <= kMostFused &&
                           same_shapes_({id, 0}, {root, 0}) && NeedOnly(trees[root], id);
        root_[id] = joins ? root : id;
        sum_of_[root_[id]] = id;
        trees[root_[id]].push_back(id);
      }
      NoteUse(id);
    }
    for (NodeId root : order) {
      std::vector<NodeId>& tree = trees[root];
      std::reverse(tree.begin(), tree.end());
      // A sum of something else is no part of the tree.
      if (!tree.empty() && tree.front() == sum_of_[root]) {
        tree.erase(tree.begin());
        sum_of_[root] = kNone;
      }
      if (tree.size() >= 2 || (tree.size() == 1 && Condition(graph_->node(root)) != nullptr)) {
        Replace(tree);
      }
    }
    redirects_.Apply(graph_);
  }

 private:
  static constexpr NodeId kNone = -1, kSeveral = -2;

  // Of floats, giving bool.
  bool IsComparison(NodeId id) const {
    const Node& node = graph_->node(id);
    return node.registered != nullptr && node.registered->def->fusion.scalar >= ScalarOp::kEqual &&
           node.registered->def->fusion.scalar <= ScalarOp::kGreaterEqual &&
           node.control_inputs.empty() && graph_->type(node.inputs[0]) == DType::kFloat;
  }

  // The comparison that a choice of floats, or a cast to float, takes for each of its elements;
  // null where it takes none.
  const Node* Condition(const Node& node) const {
    const bool may_have = node.op == "SelectV2" || node.op == "Select" || node.op == "Cast";
    if (!may_have || !node.control_inputs.empty() || node.output_types[0] != DType::kFloat) {
      return nullptr;
    }
    const NodeOutput condition = node.inputs[0];
    return IsComparison(condition.node) ? &graph_->node(condition.node) : nullptr;
  }

  // What a function of a tree reads.
  std::vector<NodeOutput> Operands(NodeId id) const {
    std::vector<NodeOutput> operands = graph_->node(id).inputs;
    if (const Node* condition = Condition(graph_->node(id))) {
      operands.erase(operands.begin());
      operands.insert(operands.begin(), condition->inputs.begin(), condition->inputs.end());
    }
    return operands;
  }

  bool CanFuse(NodeId id) const {
    const Node& node = graph_->node(id);
    const bool is_function =
        Condition(node) != nullptr ? same_shapes_(node.inputs[0], {id, 0}) : IsScalarFunction(node);
    if (!is_function) return false;
    const std::vector<NodeOutput> operands = Operands(id);
    return std::all_of(operands.begin(), operands.end(),
                       [&](NodeOutput v) { return graph_->type(v) == DType::kFloat; });
  }

  // Whether it is the sum or mean along the last axis of rows that are short enough.
  bool SumsRows(NodeId id) const {
    const Node& node = graph_->node(id);
    if ((node.op != "Sum" && node.op != "Mean") || !node.control_inputs.empty() ||
        graph_->type({id, 0}) != DType::kFloat) {
      return false;
    }
    const Shape shape = graph_->shape(node.inputs[0]);
    const int last = shape.rank() - 1;
    return last >= 0 && IsAxis(graph_->constant(node.inputs[1]), last, shape.rank()) &&
           shape[last] >= 2 && shape[last] <= kMostSummed;
  }

  // A value of the shape that functions have to have now to join the tree of `root`.
  NodeOutput Whole(NodeId root) const {
    return sum_of_[root] >= 0 ? graph_->node(sum_of_[root]).inputs[0] : NodeOutput{root, 0};
  }

  // Whether the functions have no operands but each other, `sum` and single numbers.
  bool NeedOnly(const std::vector<NodeId>& functions, NodeId sum) const {
    return std::all_of(functions.begin(), functions.end(), [&](NodeId id) {
      const std::vector<NodeOutput> operands = Operands(id);
      return std::all_of(operands.begin(), operands.end(), [&](NodeOutput v) {
        return v.node == sum || graph_->shape(v).num_elements() == 1 ||
               std::find(functions.begin(), functions.end(), v.node) != functions.end();
      });
    });
  }

  // Tells what node `id` uses that it does: by the tree it is in.
  void NoteUse(NodeId id) {
    const Node& node = graph_->node(id);
    for (const NodeOutput& v : root_[id] >= 0 ? Operands(id) : node.inputs) {
      NodeId& user = user_[v.node];
      user = root_[id] >= 0 && (user == kNone || user == root_[id]) ? root_[id] : kSeveral;
    }
    for (NodeId c : node.control_inputs) user_[c] = kSeveral;
  }

  // `tree`: its nodes, each after what it uses; the root last.
  void Replace(const std::vector<NodeId>& tree) {
    const NodeId root = tree.back();
    const NodeId sum = sum_of_[root];
    std::vector<NodeOutput> inputs;
    std::vector<FusedFunction> functions;
    std::vector<int> result_of;  // of each node of the tree: number of the function
    std::string ops;
    int before_sum = 0;
    for (NodeId id : tree) {
      const Node& node = graph_->node(id);
      ops += StrCat(ops.empty() ? "" : ", ", node.op);
      result_of.push_back(static_cast<int>(functions.size()) - (id == sum ? 1 : 0));
      if (id == sum) {
        before_sum = static_cast<int>(functions.size());
        continue;
      }
      const auto operand = [&](NodeOutput v) -> int {
        const auto member = std::find(tree.begin(), tree.end(), v.node);
        if (member != tree.end()) return -1 - result_of[member - tree.begin()];
        const auto known = std::find(inputs.begin(), inputs.end(), v);
        if (known == inputs.end()) return inputs.push_back(v), static_cast<int>(inputs.size()) - 1;
        return static_cast<int>(known - inputs.begin());
      };
      const std::vector<NodeOutput> from = Operands(id);
      const Node* condition = Condition(node);
      FusedFunction f;
      f.op = (condition == nullptr ? node : *condition).registered->def->fusion.scalar;
      f.parameter = node.attrs.Float("alpha");
      f.x = operand(from.front());
      f.y = f.z = operand(from.size() == 1 ? from[0] : from[1]);
      functions.push_back(f);
      if (from.size() == 4) {
        FusedFunction select;
        select.op = ScalarOp::kSelect;
        select.x = -static_cast<int>(functions.size());
        select.y = operand(from[2]);
        select.z = operand(from[3]);
        functions.push_back(select);
        ++result_of.back();
      }
    }
    Node node;
    node.name = graph_->node(root).name;
    node.op = sum >= 0 ? "_ElementwiseSum" : "_Elementwise";
    node.registered = context_->env.registry->Find(node.op);
    node.attrs.Set("N", static_cast<int64_t>(inputs.size()));
    node.attrs.Set("ops", std::move(ops));
    SetFunctions(functions, &node.attrs);
    if (sum >= 0) {
      node.attrs.Set("mean", graph_->node(sum).op == "Mean");
      node.attrs.Set("keep_dims", graph_->node(sum).attrs.Bool("keep_dims"));
      node.attrs.Set("of_sums", static_cast<int64_t>(functions.size()) - before_sum);
    }
    node.inputs = std::move(inputs);
    node.output_types = {DType::kFloat};
    node.output_shapes = {graph_->shape({root, 0})};
    redirects_.Set({root, 0}, {graph_->AddNode(std::move(node)), 0});
  }

  OptimizeContext* context_;
  Graph* graph_;
  const SameShapes same_shapes_;
  std::vector<NodeId> root_;        // of the tree that a node is in
  std::vector<NodeId> sum_of_;      // the sum in the tree of a root
  std::vector<int> num_functions_;  // in the tree of a root
  std::vector<NodeId> user_;        // root of the tree that all users of a node are in
  Redirects redirects_;
};

}  // namespace

Status FuseElementwise(OptimizeContext* context, Graph* graph) {
  SM_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph->TopologicalOrder());
  ElementwiseFuser(context, graph, order).Run(order);
  return Status();
}

}  // namespace savedmodel
