// Cells of recurrent layers in the small ops that frameworks write them with: patterns are matched
// by what the ops compute, not by names.
#pragma once

#include <string>

#include "src/optimizer/patterns.h"

namespace savedmodel {

// The op `op` of scale * x.
struct Activation {
  std::string op;  // empty: none
  NodeOutput x;
  double scale = 1;

  explicit operator bool() const { return !op.empty(); }
  bool IsPlain(std::string_view name) const { return op == name && scale == 1; }
  bool IsAs(const Activation& other) const { return op == other.op && scale == other.scale; }
};

// A value within [-most, most].
struct Clipped {
  NodeOutput x;
  float most = 0;  // 0: any value
};

// next = forget * state + input * candidate, clipped; output = gate * activation of next
struct LstmPattern {
  Activation input, forget, candidate, output;
  NodeOutput state, next;
  float clip = 0;  // as Clipped::most
};

// next = update * state + (1 - update) * candidate
struct GruPattern {
  Activation update, candidate;
  NodeOutput state;
};

class CellPatterns : protected PatternPass {
 public:
  CellPatterns(OptimizeContext* context, Graph* graph) : PatternPass(context, graph) {}

  // Functions of one value that cells have.
  Activation AsActivation(NodeOutput v) const {
    if (const Activation clipped = AsClippedLine(v)) return clipped;
    for (const char* op : {"Tanh", "Sigmoid", "Relu", "Relu6", "Elu", "Selu", "Softplus",
                           "Softsign", "_HardSigmoid"}) {
      if (const Node* node = As(v, op, 1)) return {op, node->inputs[0]};
    }
    return {};
  }

  // `v` itself where it is not clipped.
  Clipped AsClipped(NodeOutput v) const {
    Clipped found{v};
    (void)Either(v, "Maximum", [&](NodeOutput below, NodeOutput low) {
      return Either(below, "Minimum", [&](NodeOutput x, NodeOutput high) {
        const std::optional<double> most = Number(high), least = Number(low);
        if (!most || !least || !(*most > 0) || *least != -*most) return false;
        found = {x, static_cast<float>(*most)};
        return true;
      });
    });
    return found;
  }

  // All but the output, of which `v` is made.
  bool MatchLstmState(NodeOutput v, LstmPattern* p) const {
    return Either(v, "AddV2", [&](NodeOutput kept, NodeOutput added) {
      return Either(kept, "Mul",
                    [&](NodeOutput gate, NodeOutput state) {
                      p->forget = AsActivation(gate);
                      p->state = state;
                      return static_cast<bool>(p->forget);
                    }) &&
             Either(added, "Mul", [&](NodeOutput gate, NodeOutput content) {
               p->input = AsActivation(gate);
               p->candidate = AsActivation(content);
               return p->input && p->input.IsAs(p->forget) && p->candidate;
             });
    });
  }

  bool MatchLstm(NodeOutput output, LstmPattern* p) const {
    return Either(output, "Mul", [&](NodeOutput gate, NodeOutput content) {
      const Activation squashed = AsActivation(content);
      p->output = AsActivation(gate);
      if (!p->output || !squashed) return false;
      const Clipped state = AsClipped(squashed.x);
      p->next = squashed.x;
      p->clip = state.most;
      return MatchLstmState(state.x, p) && p->output.IsAs(p->forget) && squashed.IsAs(p->candidate);
    });
  }

  bool MatchGru(NodeOutput v, GruPattern* p) const {
    return Either(v, "AddV2", [&](NodeOutput kept, NodeOutput added) {
      return Either(kept, "Mul", [&](NodeOutput gate, NodeOutput state) {
        p->update = AsActivation(gate);
        p->state = state;
        return p->update && Either(added, "Mul", [&](NodeOutput left, NodeOutput content) {
                 const Node* rest = As(left, "Sub", 2);
                 p->candidate = AsActivation(content);
                 return p->candidate && rest != nullptr && IsNumber(rest->inputs[0], 1) &&
                        rest->inputs[1] == gate;
               });
      });
    });
  }

 private:
  // x / 5 + 1 / 2 within [0, 1]: the hard sigmoid of older frameworks.
  Activation AsClippedLine(NodeOutput v) const {
    Activation found;
    const Node* relu = As(v, "Relu", 1);  // a maximum, as RecognizeLayers leaves it
    if (relu == nullptr) return found;
    (void)Either(relu->inputs[0], "Minimum", [&](NodeOutput line, NodeOutput one) {
      return IsNumber(one, 1) && Either(line, "AddV2", [&](NodeOutput product, NodeOutput half) {
               const Scaled scaled = Unscale(product);
               if (!IsNumber(half, 0.5) || !Near(scaled.factor, 0.2)) return false;
               found = {"_HardSigmoid", scaled.x, 1.2};  // a sixth of 1.2 x
               return true;
             });
    });
    return found;
  }
};

}  // namespace savedmodel
