// Layers recognised in the many small ops that frameworks write them with: powers, activations,
// layer normalisation. Patterns are matched by what the ops compute, not by names; what else uses a
// part of a pattern keeps it alive.
#include <cmath>
#include <optional>

#include "src/optimizer/patterns.h"

namespace savedmodel {
namespace {

class Recognizer : private PatternPass {
 public:
  Recognizer(OptimizeContext* context, Graph* graph) : PatternPass(context, graph) {}

  Status Run() {
    return ReplaceEach([&](NodeId id, const std::string& op) {
      if (op == "Pow") ReplacePower(id);
      if (op == "Maximum" || op == "Minimum") ReplaceClip(id);
      if (op == "Mul" && (ReplaceGelu(id) || ReplaceGated(id))) return;
      if (op == "Mul" || op == "RealDiv") ReplaceHardSigmoid(id);
      if (op == "AddV2" || op == "Add") ReplaceLayerNorm(id);
    });
  }

 private:
  // --------------------------------------------------------------------------- parts of patterns

  bool IsSquare(NodeOutput v, NodeOutput x) const {
    if (const Node* node = As(v, "Square", 1)) return node->inputs[0] == x;
    const Node* node = As(v, "Mul", 2);
    return node != nullptr && node->inputs[0] == x && node->inputs[1] == x;
  }

  bool IsCube(NodeOutput v, NodeOutput x) const {
    if (const Node* node = As(v, "Pow", 2)) {
      return node->inputs[0] == x && IsNumber(node->inputs[1], 3);
    }
    return Either(v, "Mul", [&](NodeOutput a, NodeOutput b) { return a == x && IsSquare(b, x); });
  }

  // The last axis, its dimension kept.
  bool IsMeanOfRows(NodeOutput v, NodeOutput* x) const {
    const Node* node = As(v, "Mean", 2);
    if (node == nullptr || !node->attrs.Bool("keep_dims")) return false;
    const int rank = graph_->shape(node->inputs[0]).rank();
    *x = node->inputs[0];
    return rank >= 1 && IsAxis(Constant(node->inputs[1]), rank - 1, rank);
  }

  // A number for each of the last axis' elements of a tensor of `shape`.
  bool IsRow(NodeOutput v, const Shape& shape) const {
    const Shape own = graph_->shape(v);
    if (!own.fully_known() || own.rank() < 1 || own.rank() > shape.rank()) return false;
    const int64_t columns = shape[shape.rank() - 1];
    return columns > 0 && own.num_elements() == columns && own[own.rank() - 1] == columns;
  }

  // ------------------------------------------------------------------------------- replacements

  // Powers that are products and roots, as TensorFlow's own optimizer writes them.
  void ReplacePower(NodeId id) {
    const NodeOutput x = graph_->node(id).inputs[0];
    const std::optional<double> power = Number(graph_->node(id).inputs[1]);
    if (!power || graph_->shape(x) != graph_->shape({id, 0})) return;
    Attrs attrs;
    attrs.Set("T", DType::kFloat);
    if (*power == 2) Redirect(id, Make(id, "Square", {x}, attrs));
    if (*power == 0.5) Redirect(id, Make(id, "Sqrt", {x}, attrs));
    if (*power == -0.5) Redirect(id, Make(id, "Rsqrt", {x}, attrs));
    if (*power == 3) {
      const NodeOutput square = Make(id, "Square", {x}, attrs);
      Redirect(id, Make(id, "Mul", {x, square}, attrs));
    }
  }

  // Limits of 0, or 0 and 6, as clip_by_value and converters write Relu and Relu6.
  void ReplaceClip(NodeId id) {
    const Shape shape = graph_->shape({id, 0});
    const auto limited = [&](NodeOutput v, const char* op, double limit) {
      NodeOutput x;
      Either(v, op, [&](NodeOutput a, NodeOutput b) {
        const std::optional<double> number = Number(b);
        if (number && *number == limit && graph_->shape(a) == shape) x = a;
        return x.node >= 0;
      });
      return x;
    };
    const NodeOutput above = limited({id, 0}, "Maximum", 0), below = limited({id, 0}, "Minimum", 6);
    NodeOutput x;
    if (above.node >= 0) x = limited(above, "Minimum", 6);
    if (below.node >= 0) x = limited(below, "Maximum", 0);
    // What comes first may have become a Relu already.
    if (below.node >= 0 && x.node < 0) {
      const Node* relu = As(below, "Relu", 1);
      if (relu != nullptr) x = relu->inputs[0];
    }
    if (x.node >= 0) {
      Redirect(id, Make(id, "Relu6", {x}));
    } else if (above.node >= 0) {
      Redirect(id, Make(id, "Relu", {above}));
    }
  }

  // 1 + erf(x / sqrt(2)), or 1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)).
  std::string GeluOf(NodeOutput v, NodeOutput x) const {
    if (const Node* node = As(v, "Erfc", 1)) {
      return IsScaled(node->inputs[0], x, -M_SQRT1_2) ? "_Gelu" : "";
    }
    std::string op;
    Either(v, "AddV2", [&](NodeOutput one, NodeOutput f) {
      if (!IsNumber(one, 1)) return false;
      if (const Node* node = As(f, "Erf", 1)) {
        op = IsScaled(node->inputs[0], x, M_SQRT1_2) ? "_Gelu" : "";
      } else if (const Node* node = As(f, "Tanh", 1)) {
        op = IsGeluPolynomial(node->inputs[0], x) ? "_GeluTanh" : "";
      }
      return !op.empty();
    });
    return op;
  }

  bool IsGeluPolynomial(NodeOutput v, NodeOutput x) const {
    const Scaled s = Unscale(v);
    if (!Near(s.factor, std::sqrt(M_2_PI))) return false;
    return Either(s.x, "AddV2", [&](NodeOutput a, NodeOutput b) {
      const Scaled cube = Unscale(b);
      return a == x && Near(cube.factor, 0.044715) && IsCube(cube.x, x);
    });
  }

  bool ReplaceGelu(NodeId id) {
    const Scaled all = Unscale({id, 0});
    return Either(all.x, "Mul", [&](NodeOutput a, NodeOutput b) {
      const Scaled x = Unscale(a), f = Unscale(b);
      const std::string op = GeluOf(f.x, x.x);
      if (op.empty() || !Near(all.factor * x.factor * f.factor, 0.5) ||
          graph_->shape(x.x) != graph_->shape({id, 0})) {
        return false;
      }
      Redirect(id, Make(id, op, {x.x}));
      return true;
    });
  }

  // relu6(x + 3) / 6, and x times that.
  void ReplaceHardSigmoid(NodeId id) {
    const Scaled s = Unscale({id, 0});
    if (!Near(s.factor, 1.0 / 6) || graph_->shape(s.x) != graph_->shape({id, 0})) return;
    const NodeOutput x = BeforeShiftedRelu6(s.x);
    if (x.node >= 0) return Redirect(id, Make(id, "_HardSigmoid", {x}));
    Either(s.x, "Mul", [&](NodeOutput by, NodeOutput relu6) {
      if (BeforeShiftedRelu6(relu6) != by) return false;
      Redirect(id, Make(id, "_HardSwish", {by}));
      return true;
    });
  }
  // The value of which `v` is relu6(x + 3); none for others.
  NodeOutput BeforeShiftedRelu6(NodeOutput v) const {
    NodeOutput x;
    const Node* relu6 = As(v, "Relu6", 1);
    const bool found =
        relu6 != nullptr && Either(relu6->inputs[0], "AddV2", [&](NodeOutput a, NodeOutput b) {
          x = a;
          return IsNumber(b, 3) && graph_->shape(a) == graph_->shape(v);
        });
    return found ? x : NodeOutput();
  }

  // x times a function of x: Swish, Mish, HardSwish.
  bool ReplaceGated(NodeId id) {
    return Either({id, 0}, "Mul", [&](NodeOutput x, NodeOutput gate) {
      if (const Node* hard = As(gate, "_HardSigmoid", 1); hard != nullptr && hard->inputs[0] == x) {
        Redirect(id, Make(id, "_HardSwish", {x}));
        return true;
      }
      const Node* tanh = As(gate, "Tanh", 1);
      const Node* inner =
          tanh == nullptr ? As(gate, "Sigmoid", 1) : As(tanh->inputs[0], "Softplus", 1);
      if (inner == nullptr || inner->inputs[0] != x) return false;
      Redirect(id, Make(id, tanh == nullptr ? "_Swish" : "_Mish", {x}));
      return true;
    });
  }

  // The mean of x's rows whose variance, plus a number, `v` is the root of one over.
  struct Normalization {
    NodeOutput x, mean, gamma, beta;
    double epsilon = 0;
  };
  bool IsInverseDeviation(NodeOutput v, Normalization* n) const {
    const Node* root = As(v, "Rsqrt", 1);
    if (root == nullptr) return false;
    return Either(root->inputs[0], "AddV2", [&](NodeOutput variance, NodeOutput epsilon) {
      const std::optional<double> number = Number(epsilon);
      NodeOutput squares;
      if (!number || !IsMeanOfRows(variance, &squares)) return false;
      n->epsilon = *number;
      return IsSquaredDeviation(squares, n);
    });
  }
  bool IsSquaredDeviation(NodeOutput v, Normalization* n) const {
    const Node* difference = As(v, "SquaredDifference", 2);
    if (const Node* square = As(v, "Square", 1)) difference = As(square->inputs[0], "Sub", 2);
    if (difference == nullptr) return false;
    n->x = difference->inputs[0];
    n->mean = difference->inputs[1];
    NodeOutput averaged;
    return IsMeanOfRows(n->mean, &averaged) && averaged == n->x;
  }

  // x * (gamma / deviation) + (beta - mean * (gamma / deviation))
  bool IsScaledNorm(NodeOutput product, NodeOutput shift, Normalization* n) const {
    NodeOutput scale;
    const bool scaled = Either(product, "Mul", [&](NodeOutput x, NodeOutput by) {
      scale = by;
      return Either(by, "Mul", [&](NodeOutput inverse, NodeOutput gamma) {
        n->gamma = gamma;
        return IsInverseDeviation(inverse, n) && n->x == x;
      });
    });
    if (!scaled) return false;
    const auto is_product = [&](NodeOutput v, double sign) {
      return Either(v, "Mul", [&](NodeOutput a, NodeOutput b) {
        return b == scale && IsScaled(a, n->mean, sign);
      });
    };
    if (const Node* difference = As(shift, "Sub", 2)) {
      n->beta = difference->inputs[0];
      return is_product(difference->inputs[1], 1);
    }
    return Either(shift, "AddV2", [&](NodeOutput a, NodeOutput b) {
      n->beta = b;
      return is_product(a, -1);
    });
  }

  // (x - mean) / deviation * gamma + beta
  bool IsCenteredNorm(NodeOutput product, NodeOutput beta, Normalization* n) const {
    n->beta = beta;
    return Either(product, "Mul", [&](NodeOutput normal, NodeOutput gamma) {
      n->gamma = gamma;
      return Either(normal, "Mul", [&](NodeOutput centered, NodeOutput inverse) {
        const Node* difference = As(centered, "Sub", 2);
        return difference != nullptr && IsInverseDeviation(inverse, n) &&
               difference->inputs[0] == n->x && difference->inputs[1] == n->mean;
      });
    });
  }

  void ReplaceLayerNorm(NodeId id) {
    Normalization n;
    const bool found = Either({id, 0}, "AddV2", [&](NodeOutput a, NodeOutput b) {
      return IsScaledNorm(a, b, &n) || IsCenteredNorm(a, b, &n);
    });
    const Shape shape = graph_->shape(n.x.node < 0 ? NodeOutput{id, 0} : n.x);
    if (!found || !shape.known_rank() || graph_->shape({id, 0}) != shape ||
        !IsRow(n.gamma, shape) || !IsRow(n.beta, shape)) {
      return;
    }
    Attrs attrs;
    attrs.Set("epsilon", static_cast<float>(n.epsilon));
    Redirect(id, Make(id, "_LayerNorm", {n.x, n.gamma, n.beta}, std::move(attrs)));
  }
};

}  // namespace

Status RecognizeLayers(OptimizeContext* context, Graph* graph) {
  return Recognizer(context, graph).Run();
}

}  // namespace savedmodel
