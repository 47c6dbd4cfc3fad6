// Layers recognised in the many small ops that frameworks write them with: powers, GELU, layer
// normalisation, cells of recurrent layers. Patterns are matched by what the ops compute, not by
// names; what else uses a part of a pattern keeps it alive.
#include <algorithm>
#include <cmath>
#include <optional>

#include "src/base/status_macros.h"
#include "src/optimizer/patterns.h"

namespace savedmodel {
namespace {

class Recognizer : private PatternPass {
 public:
  Recognizer(OptimizeContext* context, Graph* graph) : PatternPass(context, graph) {}

  Status Run() {
    SM_ASSIGN_OR_RETURN(const std::vector<NodeId> order, graph_->TopologicalOrder());
    const int count = graph_->num_nodes();
    for (NodeId id : order) {
      for (NodeOutput& v : graph_->node(id).inputs) v = redirects_.Resolve(v);
      if (id >= count || graph_->type({id, 0}) != DType::kFloat) continue;
      const std::string op = graph_->node(id).op;
      if (op == "Pow") ReplacePower(id);
      if (op == "Maximum" || op == "Minimum") ReplaceClip(id);
      if (op == "Mul" && (ReplaceGelu(id) || ReplaceGated(id) || ReplaceLstmOutput(id))) continue;
      if (op == "Mul" || op == "RealDiv") ReplaceHardSigmoid(id);
      if (op == "AddV2" || op == "Add") {
        if (!ReplaceLayerNorm(id) && !ReplaceLstm(id)) ReplaceGru(id);
      }
    }
    redirects_.Apply(graph_);
    return Status();
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

  // Part `index` of a matrix `whole` that is cut into equal parts along its last axis, by a Split
  // or slice by slice.
  struct Part {
    NodeOutput part, whole;
    int index = -1;  // none
  };
  Part AsPart(NodeOutput v, int parts) const {
    if (graph_->shape(v).rank() != 2 || !graph_->shape(v).fully_known()) return {};
    if (const Node* slice = As(v, "StridedSlice", 4)) {
      return {v, slice->inputs[0], PartOfSlice(*slice, parts)};
    }
    const Node* node = As(v, "Split", 2);
    if (node == nullptr || node->num_outputs() != parts) return {};
    const Tensor* axis = Constant(node->inputs[0]);
    const int32_t* value = axis == nullptr ? nullptr : axis->data<int32_t>();
    if (value == nullptr || (*value != 1 && *value != -1)) return {};
    return {v, node->inputs[1], v.index};
  }

  bool IsPart(NodeOutput v, NodeOutput whole, int index, int parts) const {
    const Part part = AsPart(v, parts);
    return part.index == index && part.whole == whole;
  }

  // Which of so many equal parts of a matrix's columns a slice is; -1 where it is none.
  int PartOfSlice(const Node& slice, int parts) const {
    const Tensor *begin = Constant(slice.inputs[1]), *end = Constant(slice.inputs[2]),
                 *strides = Constant(slice.inputs[3]);
    const Shape whole = graph_->shape(slice.inputs[0]);
    const int64_t begin_mask = slice.attrs.Int("begin_mask"),
                  end_mask = slice.attrs.Int("end_mask");
    if (begin == nullptr || end == nullptr || strides == nullptr || begin->num_elements() != 2 ||
        end->num_elements() != 2 || strides->num_elements() != 2 || whole.rank() != 2 ||
        !whole.fully_known() || slice.attrs.Int("ellipsis_mask") != 0 ||
        slice.attrs.Int("new_axis_mask") != 0 || slice.attrs.Int("shrink_axis_mask") != 0 ||
        (begin_mask & 1) == 0 || (end_mask & 1) == 0 || IntegerAt(*strides, 0) != 1 ||
        IntegerAt(*strides, 1) != 1) {
      return -1;
    }
    const int64_t columns = whole[1], width = columns / parts;
    const auto at = [&](const Tensor& t) {
      const int64_t column = IntegerAt(t, 1);
      return column < 0 ? column + columns : std::min(column, columns);
    };
    const int64_t first = (begin_mask & 2) != 0 ? 0 : at(*begin);
    const int64_t last = (end_mask & 2) != 0 ? columns : at(*end);
    const bool is_part = width > 0 && width * parts == columns && first >= 0 &&
                         first % width == 0 && last - first == width;
    return is_part ? static_cast<int>(first / width) : -1;
  }

  bool AreAlike(NodeOutput a, NodeOutput b, NodeOutput c) const {
    return graph_->shape(a) == graph_->shape(b) && graph_->shape(a) == graph_->shape(c);
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

  bool ReplaceLayerNorm(NodeId id) {
    Normalization n;
    const bool found = Either({id, 0}, "AddV2", [&](NodeOutput a, NodeOutput b) {
      return IsScaledNorm(a, b, &n) || IsCenteredNorm(a, b, &n);
    });
    const Shape shape = graph_->shape(n.x.node < 0 ? NodeOutput{id, 0} : n.x);
    if (!found || !shape.known_rank() || graph_->shape({id, 0}) != shape ||
        !IsRow(n.gamma, shape) || !IsRow(n.beta, shape)) {
      return false;
    }
    Attrs attrs;
    attrs.Set("epsilon", static_cast<float>(n.epsilon));
    Redirect(id, Make(id, "_LayerNorm", {n.x, n.gamma, n.beta}, std::move(attrs)));
    return true;
  }

  // Sigmoid of a part of four, to which a number may have been added.
  bool IsGate(NodeOutput v, Part* part, double* bias) const {
    const Node* node = As(v, "Sigmoid", 1);
    if (node == nullptr) return false;
    NodeOutput x = node->inputs[0];
    *bias = 0;
    Either(x, "AddV2", [&](NodeOutput a, NodeOutput b) {
      const std::optional<double> number = Number(b);
      if (number) x = a, *bias = *number;
      return number.has_value();
    });
    *part = AsPart(x, 4);
    return part->index >= 0;
  }

  // next = sigmoid(forget) * state + sigmoid(input) * tanh(candidate)
  bool ReplaceLstm(NodeId id) {
    return Either({id, 0}, "AddV2", [&](NodeOutput kept, NodeOutput added) {
      Part forget, input, candidate;
      NodeOutput state;
      double forget_bias = 0, input_bias = 0;
      const bool found = Either(kept, "Mul",
                                [&](NodeOutput gate, NodeOutput s) {
                                  state = s;
                                  return IsGate(gate, &forget, &forget_bias);
                                }) &&
                         Either(added, "Mul", [&](NodeOutput gate, NodeOutput content) {
                           const Node* tanh = As(content, "Tanh", 1);
                           if (tanh == nullptr || !IsGate(gate, &input, &input_bias)) return false;
                           candidate = AsPart(tanh->inputs[0], 4);
                           return true;
                         });
      if (!found || input_bias != 0 || candidate.index < 0 || forget.whole != input.whole ||
          candidate.whole != input.whole || !AreAlike({id, 0}, state, forget.part)) {
        return false;
      }
      const int output = 6 - forget.index - input.index - candidate.index;
      const bool all = forget.index != input.index && forget.index != candidate.index &&
                       input.index != candidate.index;
      if (!all) return false;
      Attrs attrs;
      attrs.Set("order", std::vector<int64_t>{input.index, forget.index, candidate.index, output});
      attrs.Set("forget_bias", static_cast<float>(forget_bias));
      const NodeOutput cell = Make(id, "_LstmCell", {forget.whole, state}, std::move(attrs), 2);
      Redirect(id, {cell.node, 1});
      return true;
    });
  }

  // output = sigmoid(output gate) * tanh(next), of a cell that was recognised.
  bool ReplaceLstmOutput(NodeId id) {
    return Either({id, 0}, "Mul", [&](NodeOutput gate, NodeOutput content) {
      const Node* tanh = As(content, "Tanh", 1);
      Part output;
      double bias = 0;
      if (tanh == nullptr || !IsGate(gate, &output, &bias) || bias != 0) return false;
      const NodeOutput next = tanh->inputs[0];
      const Node* cell = As(next, "_LstmCell", 2);
      if (cell == nullptr || next.index != 1 || cell->inputs[0] != output.whole ||
          cell->attrs.Ints("order")[3] != output.index) {
        return false;
      }
      Redirect(id, {next.node, 0});
      return true;
    });
  }

  // sigmoid(x[index] + recurrent[index])
  bool IsGruGate(NodeOutput v, int index, Part* x, Part* recurrent) const {
    const Node* node = As(v, "Sigmoid", 1);
    const Node* sum = node == nullptr ? nullptr : As(node->inputs[0], "AddV2", 2);
    if (sum == nullptr) return false;
    *x = AsPart(sum->inputs[0], 3);
    *recurrent = AsPart(sum->inputs[1], 3);
    return x->index == index && recurrent->index == index;
  }

  // next = update * state + (1 - update) * tanh(x[2] + reset * recurrent[2])
  bool ReplaceGru(NodeId id) {
    return Either({id, 0}, "AddV2", [&](NodeOutput kept, NodeOutput added) {
      Part x, recurrent, x1, recurrent1;
      NodeOutput state, update;
      const bool found = Either(kept, "Mul", [&](NodeOutput gate, NodeOutput s) {
        state = s;
        update = gate;
        return IsGruGate(gate, 0, &x, &recurrent);
      });
      if (!found || !AreAlike({id, 0}, state, x.part) ||
          !AreAlike({id, 0}, state, recurrent.part)) {
        return false;
      }
      const bool rest = Either(added, "Mul", [&](NodeOutput left, NodeOutput content) {
        const Node* difference = As(left, "Sub", 2);
        const Node* tanh = As(content, "Tanh", 1);
        if (difference == nullptr || tanh == nullptr || !IsNumber(difference->inputs[0], 1) ||
            difference->inputs[1] != update) {
          return false;
        }
        return Either(tanh->inputs[0], "AddV2", [&](NodeOutput a, NodeOutput b) {
          return IsPart(a, x.whole, 2, 3) && Either(b, "Mul", [&](NodeOutput reset, NodeOutput r) {
                   return IsPart(r, recurrent.whole, 2, 3) &&
                          IsGruGate(reset, 1, &x1, &recurrent1) && x1.whole == x.whole &&
                          recurrent1.whole == recurrent.whole;
                 });
        });
      });
      if (!rest) return false;
      Redirect(id, Make(id, "_GruCell", {x.whole, recurrent.whole, state}));
      return true;
    });
  }
};

}  // namespace

Status RecognizeLayers(OptimizeContext* context, Graph* graph) {
  return Recognizer(context, graph).Run();
}

}  // namespace savedmodel
