// Attention recognised in the products, masks and softmax that frameworks write it with, whatever
// order the dimensions are in: softmax(scale * Q K^T + bias, where a mask says) V.
#include <algorithm>
#include <numeric>

#include "src/optimizer/patterns.h"

namespace savedmodel {
namespace {

using Dims = std::vector<int64_t>;

// A value without the transpositions that made it: its dimension i is dimension dims[i] of `base`.
struct Operand {
  NodeOutput base;
  Dims dims;
};

// A batch of products. Dimensions of operands in the order batch…, free, summed; `out` says where
// batch…, the left one's free and the right one's free dimension are in the result.
struct Contraction {
  Operand left, right;
  Dims out;
};

class AttentionPass : private PatternPass {
 public:
  AttentionPass(OptimizeContext* context, Graph* graph) : PatternPass(context, graph) {}

  Status Run() {
    uses_ = CountUses(*graph_);
    return ReplaceEach([&](NodeId id, const std::string& op) {
      if (op == "Transpose") {
        MoveTranspose(id);
      } else if (op == "Einsum" || op == "MatMul" || op.compare(0, 11, "BatchMatMul") == 0) {
        ReplaceAttention(id);
      }
    });
  }

 private:
  // The permutation of a transposition; empty when `v` is none that is known.
  Dims Permutation(NodeOutput v) const {
    const Node* node = As(v, "Transpose", 2);
    const Tensor* perm = node == nullptr ? nullptr : Constant(node->inputs[1]);
    if (perm == nullptr || perm->shape().rank() != 1) return {};
    Dims dims(static_cast<size_t>(perm->num_elements()));
    for (size_t i = 0; i < dims.size(); ++i) {
      dims[i] = IntegerAt(*perm, static_cast<int64_t>(i));
      if (dims[i] < 0) dims[i] += static_cast<int64_t>(dims.size());
    }
    return dims;
  }

  Operand WithoutTransposes(NodeOutput v) const {
    Operand x{v, Dims(static_cast<size_t>(graph_->shape(v).rank()))};
    std::iota(x.dims.begin(), x.dims.end(), 0);
    for (Dims perm = Permutation(x.base); !perm.empty(); perm = Permutation(x.base)) {
      for (int64_t& d : x.dims) d = perm[d];
      x.base = graph_->node(x.base.node).inputs[0];
    }
    return x;
  }

  // Dimensions `dims` of `v`, in this order.
  Operand Select(NodeOutput v, const Dims& dims) const {
    Operand x = WithoutTransposes(v);
    Dims selected;
    for (const int64_t d : dims) selected.push_back(x.dims[d]);
    x.dims = std::move(selected);
    return x;
  }

  std::optional<Contraction> AsContraction(NodeOutput v) const {
    const Node& node = graph_->node(v.node);
    if (As(v, node.op, 2) == nullptr) return {};
    const Shape a = graph_->shape(node.inputs[0]), b = graph_->shape(node.inputs[1]);
    if (!a.fully_known() || !b.fully_known() || !graph_->shape(v).fully_known()) return {};
    if (node.op == "Einsum") return OfEquation(node);
    const bool batch = node.op.compare(0, 11, "BatchMatMul") == 0;
    const int rank = a.rank();
    if ((!batch && node.op != "MatMul") || b.rank() != rank || rank < 2) return {};
    const bool adjoint_a = node.attrs.Bool(batch ? "adj_x" : "transpose_a");
    const bool adjoint_b = node.attrs.Bool(batch ? "adj_y" : "transpose_b");
    Dims left, right, out(static_cast<size_t>(rank));
    for (int i = 0; i < rank - 2; ++i) {
      if (a[i] != b[i]) return {};
      left.push_back(i);
      right.push_back(i);
    }
    left.insert(left.end(), {rank - 2 + adjoint_a, rank - 1 - adjoint_a});
    right.insert(right.end(), {rank - 1 - adjoint_b, rank - 2 + adjoint_b});
    std::iota(out.begin(), out.end(), 0);
    return Contraction{Select(node.inputs[0], left), Select(node.inputs[1], right), out};
  }

  // Of an Einsum whose letters are all of a kind that a batch of products has.
  std::optional<Contraction> OfEquation(const Node& node) const {
    std::string text = node.attrs.String("equation");
    text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
    const size_t comma = text.find(','), arrow = text.find("->");
    if (comma == std::string::npos || arrow == std::string::npos || comma > arrow) return {};
    const std::string a = text.substr(0, comma), b = text.substr(comma + 1, arrow - comma - 1),
                      out = text.substr(arrow + 2);
    for (const std::string& term : {a, b, out}) {
      for (size_t i = 0; i < term.size(); ++i) {
        if (term[i] == '.' || term.find(term[i], i + 1) != std::string::npos) return {};
      }
    }
    Dims left, right, place;
    std::string free_a, free_b, summed;
    for (size_t i = 0; i < out.size(); ++i) {
      const size_t in_a = a.find(out[i]), in_b = b.find(out[i]);
      if (in_a != std::string::npos && in_b != std::string::npos) {
        left.push_back(static_cast<int64_t>(in_a));
        right.push_back(static_cast<int64_t>(in_b));
        place.push_back(static_cast<int64_t>(i));
      } else {
        (in_b == std::string::npos ? free_a : free_b) += out[i];
      }
    }
    for (const char c : a) {
      if (out.find(c) == std::string::npos && b.find(c) != std::string::npos) summed += c;
    }
    if (free_a.size() != 1 || free_b.size() != 1 || summed.size() != 1 || a.size() != out.size() ||
        b.size() != out.size()) {
      return {};
    }
    const auto at = [](const std::string& term, const std::string& letter) {
      return static_cast<int64_t>(term.find(letter));
    };
    left.insert(left.end(), {at(a, free_a), at(a, summed)});
    right.insert(right.end(), {at(b, free_b), at(b, summed)});
    place.insert(place.end(), {at(out, free_a), at(out, free_b)});
    return Contraction{Select(node.inputs[0], left), Select(node.inputs[1], right), place};
  }

  // What leads to the argument of a softmax. Dimensions of `scores` as of the softmax.
  struct Scores {
    Contraction product;
    float scale = 1;
    std::vector<NodeOutput> bias, mask;  // none or one
    float fill = 0;                      // where the mask is false
  };

  bool IsScores(NodeOutput v, const Shape& shape, Scores* s) const {
    const Scaled scaled = Unscale(v);
    if (graph_->shape(scaled.x) != shape) return false;
    std::optional<Contraction> product = AsContraction(scaled.x);
    if (!product) return false;
    s->product = std::move(*product);
    s->scale = static_cast<float>(scaled.factor);
    return true;
  }

  bool ReadScores(NodeOutput v, Scores* s) const {
    const Shape shape = graph_->shape(v);
    if (const Node* select = As(v, "SelectV2", 3)) {
      const std::optional<double> fill = Number(select->inputs[2]);
      if (!fill || !graph_->shape(select->inputs[0]).fully_known()) return false;
      s->mask = {WithoutOnes(select->inputs[0])};
      s->fill = static_cast<float>(*fill);
      v = select->inputs[1];
    }
    if (IsScores(v, shape, s)) return true;
    return Either(v, "AddV2", [&](NodeOutput x, NodeOutput bias) {
      if (!graph_->shape(bias).fully_known() || !IsScores(x, shape, s)) return false;
      s->bias = {bias};
      return true;
    });
  }

  // A mask that was widened by "and" with nothing but true, as Keras does.
  NodeOutput WithoutOnes(NodeOutput mask) const {
    NodeOutput narrow = mask;
    Either(mask, "LogicalAnd", [&](NodeOutput ones, NodeOutput rest) {
      const Tensor* value = Constant(ones);
      if (value == nullptr || !graph_->shape(rest).fully_known()) return false;
      const bool* all = value->data<bool>();
      if (!std::all_of(all, all + value->num_elements(), [](bool b) { return b; })) return false;
      narrow = rest;
      return true;
    });
    return narrow;
  }

  bool ReplaceAttention(NodeId id) {
    const std::optional<Contraction> product = AsContraction({id, 0});
    if (!product) return false;
    return ReplaceAttention(id, product->left, product->right, product->out, false) ||
           ReplaceAttention(id, product->right, product->left, product->out, true);
  }

  // `weights` are the left factor of the product at `id`, or the right one when `swapped`.
  bool ReplaceAttention(NodeId id, const Operand& weights, Operand values, Dims out, bool swapped) {
    const Node* softmax = As(weights.base, "Softmax", 1);
    const size_t rank = weights.dims.size(), batch = rank - 2;
    if (softmax == nullptr || uses_[weights.base.node] != 1 ||
        weights.dims[rank - 1] != static_cast<int64_t>(rank) - 1) {
      return false;
    }
    Scores s;
    if (!ReadScores(softmax->inputs[0], &s)) return false;
    // The query's free dimension is the weights' row, the key's is what the softmax goes over.
    Contraction& c = s.product;
    if (c.out[batch] == static_cast<int64_t>(rank) - 1) {
      std::swap(c.left, c.right);
      std::swap(c.out[batch], c.out[batch + 1]);
    }
    if (c.out[batch] != weights.dims[batch]) return false;
    Dims query, key;
    for (size_t i = 0; i < batch; ++i) {
      const auto at = std::find(c.out.begin(), c.out.end(), weights.dims[i]) - c.out.begin();
      query.push_back(c.left.dims[at]);
      key.push_back(c.right.dims[at]);
    }
    query.insert(query.end(), c.left.dims.begin() + batch, c.left.dims.end());
    key.insert(key.end(), c.right.dims.begin() + batch, c.right.dims.end());
    std::swap(values.dims[batch], values.dims[batch + 1]);
    if (swapped) std::swap(out[batch], out[batch + 1]);
    // Rows of the query and of the result are consecutive floats.
    if (query.back() != static_cast<int64_t>(rank) - 1 ||
        out.back() != static_cast<int64_t>(rank) - 1) {
      return false;
    }
    Attrs attrs;
    attrs.Set("query_dims", query);
    attrs.Set("key_dims", key);
    attrs.Set("value_dims", values.dims);
    attrs.Set("output_dims", out);
    attrs.Set("score_dims", weights.dims);
    attrs.Set("scale", s.scale);
    attrs.Set("fill", s.fill);
    attrs.Set("num_biases", static_cast<int64_t>(s.bias.size()));
    attrs.Set("num_masks", static_cast<int64_t>(s.mask.size()));
    std::vector<NodeOutput> inputs = {c.left.base, c.right.base, values.base};
    inputs.insert(inputs.end(), s.bias.begin(), s.bias.end());
    inputs.insert(inputs.end(), s.mask.begin(), s.mask.end());
    const NodeOutput made = Make(id, "_Attention", std::move(inputs), std::move(attrs));
    uses_.resize(made.node + 1, 0);
    uses_[made.node] = uses_[id];
    Redirect(id, made);
    return true;
  }

  // Lets attention write in the order that a transposition behind it would make.
  void MoveTranspose(NodeId id) {
    const Dims perm = Permutation({id, 0});
    if (perm.empty()) return;
    const NodeId attention = graph_->node(id).inputs[0].node;
    const Node& node = graph_->node(attention);
    if (node.op != "_Attention" || uses_[attention] != 1) return;
    Dims out = node.attrs.Ints("output_dims");
    for (int64_t& d : out) d = std::find(perm.begin(), perm.end(), d) - perm.begin();
    if (out.back() != static_cast<int64_t>(out.size()) - 1) return;
    Attrs attrs = node.attrs;
    attrs.Set("output_dims", out);
    Redirect(id, Make(id, "_Attention", node.inputs, std::move(attrs)));
  }

  std::vector<int> uses_;  // by node
};

}  // namespace

Status RecognizeAttention(OptimizeContext* context, Graph* graph) {
  return AttentionPass(context, graph).Run();
}

}  // namespace savedmodel
