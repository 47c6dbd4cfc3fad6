// Changes of layout between channels first and channels last, which converted models have around
// each convolution, meet and cancel: they are pushed behind the ops that can do with either.
//
//   op(Transpose(x)) = Transpose(op'(x)),  Transpose(Transpose(x)) = x
#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/base/status_macros.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {
namespace {

using Permutation = std::vector<int>;  // output dimension i is input dimension p[i]

class TransposePusher {
 public:
  TransposePusher(OptimizeContext* context, Graph* graph) : context_(context), graph_(graph) {}

  Status Run() {
    SM_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph_->TopologicalOrder());
    FindUsers(order);
    for (const NodeId id : order) {
      for (NodeOutput& v : graph_->node(id).inputs) v = redirects_.Resolve(v);
      if (!graph_->node(id).control_inputs.empty() || graph_->node(id).num_outputs() != 1) continue;
      if (const Permutation p = PermutationOf(*graph_, graph_->node(id)); !p.empty()) {
        Join(id, p);
      } else if (MayPush(graph_->node(id))) {
        Push(id);
      }
    }
    redirects_.Apply(graph_);
    return Status();
  }

 private:
  // ----------------------------------------------------------------------------- what is there

  // Whether it moves the channels of images from the end to dimension 1, or back.
  static bool IsLayout(const Permutation& p) {
    const int rank = static_cast<int>(p.size());
    if (rank < 4 || rank > 5 || p[0] != 0) return false;
    const bool to_first = p[1] == rank - 1, to_last = p[rank - 1] == 1;
    if (!to_first && !to_last) return false;
    for (int i = 1; i < rank; ++i) {
      const bool moved = to_first ? i == 1 : i == rank - 1;
      if (!moved && p[i] != (to_first ? i - 1 : i + 1)) return false;
    }
    return true;
  }

  static bool IsReduction(const Node& node) {
    return node.op == "Mean" || node.op == "Sum" || node.op == "Max" || node.op == "Min";
  }
  static bool IsPad(const Node& node) {
    return node.op == "Pad" || node.op == "PadV2" || node.op == "MirrorPad";
  }
  // Whether an op of its kind can come before the transpose instead of behind it.
  static bool MayPush(const Node& node) {
    const bool is_bias = node.op == "BiasAdd";
    return (IsScalarFunction(node) && !is_bias) || IsPad(node) || IsReduction(node) ||
           node.op == "ConcatV2" || (is_bias && node.attrs.String("data_format") == "NCHW");
  }

  void FindUsers(const std::vector<NodeId>& order) {
    uses_ = CountUses(*graph_);
    is_movable_.assign(graph_->num_nodes(), true);
    for (const NodeOutput& v : graph_->results) is_movable_[v.node] = false;
    for (const NodeId id : graph_->targets) is_movable_[id] = false;
    for (const NodeId id : order) {
      const Node& node = graph_->node(id);
      const bool follows = node.op == "Transpose" || (MayPush(node) && node.control_inputs.empty());
      for (const NodeOutput& v : node.inputs) {
        if (!follows) is_movable_[v.node] = false;
      }
      for (const NodeId c : node.control_inputs) is_movable_[c] = false;
    }
  }

  // The permutation of the transpose that makes `v`, where all users of `v` may follow.
  std::optional<Permutation> Before(NodeOutput v) const {
    if (!is_movable_[v.node]) return {};
    Permutation p = PermutationOf(*graph_, graph_->node(v.node));
    return IsLayout(p) ? std::optional<Permutation>(std::move(p)) : std::nullopt;
  }

  // ------------------------------------------------------------------------------ what is made

  static Permutation Inverse(const Permutation& p) {
    Permutation inverse(p.size());
    for (size_t i = 0; i < p.size(); ++i) inverse[p[i]] = static_cast<int>(i);
    return inverse;
  }

  static Shape Permuted(const Shape& shape, const Permutation& p) {
    if (shape.rank() != static_cast<int>(p.size())) return Shape::Unknown();
    std::vector<int64_t> dims;
    for (const int from : p) dims.push_back(shape[from]);
    return Shape(dims);
  }

  // New nodes; `is_movable`: whether all that will use it may come before a transpose.
  NodeId Add(Node node, bool is_movable = true) {
    is_movable_.push_back(is_movable);
    uses_.push_back(1);
    return graph_->AddNode(std::move(node));
  }
  NodeOutput AddConst(std::string name, Tensor value) {
    is_movable_.push_back(true);
    uses_.push_back(1);
    return {graph_->AddConst(std::move(name), std::move(value)), 0};
  }
  NodeOutput AddTranspose(const std::string& name, NodeOutput v, const Permutation& p,
                          bool is_movable) {
    const std::vector<int32_t> dims(p.begin(), p.end());
    Node node;
    node.name = name;
    node.op = "Transpose";
    node.registered = context_->env.registry->Find(node.op);
    node.attrs.Set("T", graph_->type(v));
    node.attrs.Set("Tperm", DType::kInt32);
    node.inputs = {v, AddConst(name + "/perm", Tensor::Vector(dims))};
    node.output_types = {graph_->type(v)};
    node.output_shapes = {Permuted(graph_->shape(v), p)};
    return {Add(std::move(node), is_movable), 0};
  }

  void Replace(NodeId id, NodeOutput by) {
    redirects_.Set({id, 0}, by);
    redirects_.SetControl(id, by.node);
  }
  // `moved` stands where node `id` did, before transpose `p`.
  void ReplaceByTranspose(NodeId id, Node moved, const Permutation& p) {
    moved.output_shapes = {Permuted(graph_->shape({id, 0}), Inverse(p))};
    const NodeOutput v = {Add(std::move(moved)), 0};
    Replace(id, AddTranspose(graph_->node(id).name, v, p, is_movable_[id]));
  }

  // A transpose of a transpose, or of the zeros around an image, which a convolution can take.
  void Join(NodeId id, const Permutation& outer) {
    const NodeOutput v = graph_->node(id).inputs[0];
    const std::string name = graph_->node(id).name;
    const Permutation inner = PermutationOf(*graph_, graph_->node(v.node));
    if (!inner.empty()) {
      const NodeOutput x = graph_->node(v.node).inputs[0];
      Permutation both;
      for (const int from : outer) both.push_back(inner[from]);
      const bool cancel = std::is_sorted(both.begin(), both.end());
      Replace(id, cancel ? x : AddTranspose(name, x, both, is_movable_[id]));
    } else if (IsPad(graph_->node(v.node)) && uses_[v.node] == 1 && IsLayout(outer) &&
               graph_->node(v.node).control_inputs.empty()) {
      Node pad = graph_->node(v.node);
      if (!MovePaddings(Inverse(outer), &pad)) return;
      pad.inputs[0] = AddTranspose(name, pad.inputs[0], outer, true);
      pad.output_shapes = {graph_->shape({id, 0})};
      Replace(id, {Add(std::move(pad), is_movable_[id]), 0});
    }
  }

  void Push(NodeId id) {
    Node node = graph_->node(id);
    // The permutation of the inputs that have one, which is to be the same for all.
    std::optional<Permutation> p;
    for (const NodeOutput& v : node.inputs) {
      if (!p) p = Before(v);
    }
    if (!p) return;
    if (IsReduction(node)) return PushReduction(id, *p);
    const bool is_concat = node.op == "ConcatV2";
    const size_t values = IsPad(node) ? 1 : node.inputs.size() - (is_concat ? 1 : 0);
    for (size_t i = 0; i < values; ++i) {
      const std::optional<NodeOutput> moved = Moved(node, i, *p);
      if (!moved) return;
      node.inputs[i] = *moved;
    }
    if (IsPad(node) && !MovePaddings(*p, &node)) return;
    if (is_concat && !MoveAxis(*p, &node)) return;
    if (node.op == "BiasAdd") node.attrs.Set("data_format", std::string("NHWC"));
    ReplaceByTranspose(id, std::move(node), *p);
  }

  // What stands for operand i of `node` before transpose `p`, if anything does.
  std::optional<NodeOutput> Moved(const Node& node, size_t i, const Permutation& p) {
    const NodeOutput v = node.inputs[i];
    if (const std::optional<Permutation> own = Before(v)) {
      if (*own != p) return {};
      return graph_->node(v.node).inputs[0];
    }
    const int rank = static_cast<int>(p.size());
    if (node.op == "BiasAdd") {
      // Channels go from dimension 1 to the last, where the bias has them.
      const bool fits = i == 1 && p[1] == rank - 1;
      return fits ? std::optional<NodeOutput>(v) : std::nullopt;
    }
    const Tensor* value = graph_->constant(v);
    if (!IsScalarFunction(node) || value == nullptr || value->dtype() != DType::kFloat) return {};
    const Shape shape = value->shape();
    if (value->num_elements() == 1) return v;
    // Elements along one dimension keep their order.
    if (shape.rank() > rank) return {};
    std::vector<int64_t> dims(rank, 1);
    for (int d = 0; d < shape.rank(); ++d) {
      if (shape[d] != 1 && shape[d] != value->num_elements()) return {};
      dims[p[rank - shape.rank() + d]] = shape[d];
    }
    StatusOr<Tensor> moved = Tensor::FromVector(value->ToVector<float>(), Shape(dims));
    if (!moved.ok()) return {};
    return AddConst(graph_->node(v.node).name, *std::move(moved));
  }

  // Row i of the paddings becomes row p[i].
  bool MovePaddings(const Permutation& p, Node* pad) {
    const Tensor* paddings = graph_->constant(pad->inputs[1]);
    const int64_t rank = static_cast<int64_t>(p.size());
    if (paddings == nullptr || paddings->num_elements() != 2 * rank) return false;
    std::vector<int64_t> rows(2 * p.size());
    for (int64_t i = 0; i < rank; ++i) {
      rows[2 * p[i]] = IntegerAt(*paddings, 2 * i);
      rows[2 * p[i] + 1] = IntegerAt(*paddings, 2 * i + 1);
    }
    StatusOr<Tensor> moved = Tensor::FromVector(rows, {rank, 2});
    if (!moved.ok()) return false;
    pad->inputs[1] = AddConst(pad->name + "/paddings", *std::move(moved));
    pad->attrs.Set("Tpaddings", DType::kInt64);
    return true;
  }

  bool MoveAxis(const Permutation& p, Node* concat) {
    const Tensor* axis = graph_->constant(concat->inputs.back());
    const int rank = static_cast<int>(p.size());
    if (axis == nullptr || axis->num_elements() != 1) return false;
    const int64_t at = IntegerAt(*axis, 0) + (IntegerAt(*axis, 0) < 0 ? rank : 0);
    if (at < 0 || at >= rank) return false;
    concat->inputs.back() = AddConst(concat->name + "/axis", Tensor::Scalar<int32_t>(p[at]));
    concat->attrs.Set("Tidx", DType::kInt32);
    return true;
  }

  // Those which keep the order of the dimensions that they leave need no transpose.
  void PushReduction(NodeId id, const Permutation& p) {
    Node node = graph_->node(id);
    const Tensor* axes = graph_->constant(node.inputs[1]);
    if (axes == nullptr || !Before(node.inputs[0])) return;
    const int rank = static_cast<int>(p.size());
    std::vector<int32_t> moved_axes;
    std::vector<bool> is_reduced(rank, false);
    for (int64_t i = 0; i < axes->num_elements(); ++i) {
      const int64_t axis = IntegerAt(*axes, i) + (IntegerAt(*axes, i) < 0 ? rank : 0);
      if (axis < 0 || axis >= rank) return;
      is_reduced[axis] = true;
      moved_axes.push_back(p[axis]);
    }
    const bool keep_dims = node.attrs.Bool("keep_dims");
    int last = -1;
    for (int i = 0; i < rank && !keep_dims; ++i) {
      if (is_reduced[i]) continue;
      if (p[i] < last) return;
      last = p[i];
    }
    node.inputs = {graph_->node(node.inputs[0].node).inputs[0],
                   AddConst(node.name + "/axes", Tensor::Vector(moved_axes))};
    node.attrs.Set("Tidx", DType::kInt32);
    if (keep_dims) return ReplaceByTranspose(id, std::move(node), p);
    Replace(id, {Add(std::move(node), is_movable_[id]), 0});
  }

  OptimizeContext* context_;
  Graph* graph_;
  std::vector<bool> is_movable_;  // by node: all that use it may come before a transpose
  std::vector<int> uses_;         // by node
  Redirects redirects_;
};

}  // namespace

Status PushTransposes(OptimizeContext* context, Graph* graph) {
  return TransposePusher(context, graph).Run();
}

}  // namespace savedmodel
