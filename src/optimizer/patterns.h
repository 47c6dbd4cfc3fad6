// What passes that recognise patterns share: matching by what ops compute, replacing.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {

// x times a number.
struct Scaled {
  NodeOutput x;
  double factor = 1;
};

inline bool Near(double a, double b) { return std::abs(a - b) <= 1e-5 * std::abs(b); }

// A pass over a graph that puts one op in place of several. What else uses a part of a pattern
// keeps it alive.
class PatternPass {
 protected:
  PatternPass(OptimizeContext* context, Graph* graph) : context_(context), graph_(graph) {}

  // Calls replace(id, op) for each node that gives floats, producers first, when its inputs are
  // what was put in their place, and applies the redirects.
  template <class F>
  Status ReplaceEach(F&& replace) {
    SM_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph_->TopologicalOrder());
    for (NodeId id : order) {
      for (NodeOutput& v : graph_->node(id).inputs) v = redirects_.Resolve(v);
      if (graph_->type({id, 0}) != DType::kFloat) continue;
      const std::string op = graph_->node(id).op;  // of the node, which may move
      replace(id, op);
    }
    redirects_.Apply(graph_);
    return Status();
  }

  // The node of `v` when it is a plain `op` with `inputs` inputs that waits for nothing.
  const Node* As(NodeOutput v, std::string_view op, size_t inputs) const {
    const Node& node = graph_->node(v.node);
    const bool same = node.op == op || (op == "AddV2" && node.op == "Add");
    return same && node.inputs.size() == inputs && node.control_inputs.empty() &&
                   node.epilogue.empty()
               ? &node
               : nullptr;
  }

  // Both orders of the operands of a commutative `op`.
  template <class F>
  bool Either(NodeOutput v, std::string_view op, F&& fn) const {
    const Node* node = As(v, op, 2);
    return node != nullptr &&
           (fn(node->inputs[0], node->inputs[1]) || fn(node->inputs[1], node->inputs[0]));
  }

  // The value of `v` when it is a constant that waits for nothing.
  const Tensor* Constant(NodeOutput v) const {
    return graph_->node(v.node).control_inputs.empty() ? graph_->constant(v) : nullptr;
  }

  // The one number that constant `v` holds.
  std::optional<double> Number(NodeOutput v) const {
    const Tensor* t = Constant(v);
    if (t == nullptr || t->num_elements() != 1 || t->dtype() != DType::kFloat) return {};
    return *t->data<float>();
  }
  bool IsNumber(NodeOutput v, double expected) const {
    const std::optional<double> number = Number(v);
    return number && Near(*number, expected);
  }

  // `v` without the products with numbers, quotients by them and negations that made it.
  Scaled Unscale(NodeOutput v) const {
    Scaled s{v};
    for (int hops = 0; hops < 4; ++hops) {
      if (const Node* node = As(s.x, "Neg", 1)) {
        s = {node->inputs[0], -s.factor};
      } else if (const Node* node = As(s.x, "RealDiv", 2)) {
        const std::optional<double> by = Number(node->inputs[1]);
        if (!by || *by == 0) break;
        s = {node->inputs[0], s.factor / *by};
      } else if (!Either(s.x, "Mul", [&](NodeOutput x, NodeOutput by) {
                   const std::optional<double> number = Number(by);
                   if (number) s = {x, s.factor * *number};
                   return number.has_value();
                 })) {
        break;
      }
    }
    return s;
  }

  bool IsScaled(NodeOutput v, NodeOutput x, double factor) const {
    const Scaled s = Unscale(v);
    return s.x == x && Near(s.factor, factor);
  }

  // The node that gathers whole rows of its first input, `v`.
  const Node* AsGatheredRows(NodeOutput v) const {
    const Node* gather = As(v, "GatherV2", 3);
    if (gather == nullptr || gather->attrs.Int("batch_dims") != 0) return nullptr;
    const Tensor* axis = Constant(gather->inputs[2]);
    const DType dtype = graph_->type(gather->inputs[1]);
    const bool rows = axis != nullptr && IntegerAt(*axis, 0) == 0 &&
                      graph_->shape(gather->inputs[0]).rank() >= 1 &&
                      (dtype == DType::kInt32 || dtype == DType::kInt64);
    return rows ? gather : nullptr;
  }

  // The first of the columns of a matrix that a StridedSlice takes; -1 for slices of another kind.
  int64_t FirstColumn(const Node& slice) const {
    const Tensor *begin = Constant(slice.inputs[1]), *strides = Constant(slice.inputs[3]);
    const auto mask = [&](const char* name) { return slice.attrs.Int(name); };
    if (begin == nullptr || strides == nullptr || begin->num_elements() != 2 ||
        strides->num_elements() != 2 || IntegerAt(*strides, 0) != 1 ||
        IntegerAt(*strides, 1) != 1 || (mask("begin_mask") & 1) == 0 ||
        (mask("end_mask") & 1) == 0 || mask("ellipsis_mask") != 0 || mask("new_axis_mask") != 0 ||
        mask("shrink_axis_mask") != 0) {
      return -1;
    }
    if ((mask("begin_mask") & 2) != 0) return 0;
    const int64_t first = IntegerAt(*begin, 1), columns = graph_->shape(slice.inputs[0])[1];
    return first >= 0 ? first : columns < 0 ? -1 : std::max<int64_t>(0, columns + first);
  }

  // A new node of `op`, the outputs of which have the shape of that of `id`.
  NodeOutput Make(NodeId id, const std::string& op, std::vector<NodeOutput> inputs,
                  Attrs attrs = Attrs(), int outputs = 1) {
    Node node;
    node.name = graph_->node(id).name;
    node.op = op;
    node.registered = context_->env.registry->Find(op);
    node.inputs = std::move(inputs);
    node.attrs = std::move(attrs);
    node.control_inputs = graph_->node(id).control_inputs;
    node.output_types.assign(outputs, DType::kFloat);
    node.output_shapes.assign(outputs, graph_->shape({id, 0}));
    return {graph_->AddNode(std::move(node)), 0};
  }
  void Redirect(NodeId id, NodeOutput to) {
    redirects_.Set({id, 0}, to);
    redirects_.SetControl(id, to.node);
  }

  OptimizeContext* context_;
  Graph* graph_;
  Redirects redirects_;
};

}  // namespace savedmodel
