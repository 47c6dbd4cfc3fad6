// The body or condition of a While, read with what the loop's inputs tell of its variables.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "src/base/status_macros.h"
#include "src/optimizer/patterns.h"

namespace savedmodel {

// A graph of its own. Variables are counted as the loop's inputs are; -1 stands for none.
class LoopFunction : protected PatternPass {
 public:
  LoopFunction(OptimizeContext* context, Graph graph)
      : PatternPass(context, &own_), own_(std::move(graph)) {}

  // Gives variables the shapes that they have in `loop`, of which `body` is the body, and those
  // that do not change their values.
  Status Specialize(const Graph& outer, NodeId loop, const LoopFunction& body) {
    const Node& node = outer.node(loop);
    for (size_t i = 0; i < own_.args.size(); ++i) {
      Node& arg = own_.node(own_.args[i]);
      const Tensor* constant =
          body.IsUnchanged(static_cast<int>(i)) ? outer.constant(node.inputs[i]) : nullptr;
      arg.output_shapes = {outer.shape({loop, static_cast<int>(i)})};
      if (constant != nullptr) known_.emplace_back(static_cast<int>(i), *constant);
    }
    SM_RETURN_IF_ERROR(InferAndFold(context_, &own_));
    return MergeCommon(context_, &own_);
  }

  const Graph& graph() const { return own_; }
  size_t num_args() const { return own_.args.size(); }
  size_t num_results() const { return own_.results.size(); }

  // The variable that `v` is at the start of a turn.
  int Variable(NodeOutput v) const {
    for (size_t i = 0; i < own_.args.size(); ++i) {
      if (NodeOutput{own_.args[i], 0} == v) return static_cast<int>(i);
    }
    return -1;
  }
  bool IsUnchanged(int i) const {
    return i >= 0 && i < static_cast<int>(own_.results.size()) && Variable(own_.results[i]) == i;
  }
  // Whether variable i grows by one.
  bool IsCounter(int i) const {
    return i >= 0 && Either(own_.results[i], "AddV2", [&](NodeOutput from, NodeOutput by) {
             return Variable(from) == i && IntegerOf(by) == 1;
           });
  }

  // The unchanged variable that is a list, item `time` of which is `v`; -1 when `v` is none.
  int ListOfItem(NodeOutput v, int time) const {
    const Node* item = As(v, "TensorListGetItem", 3);
    const int list = item == nullptr ? -1 : Variable(item->inputs[0]);
    return IsUnchanged(list) && Variable(item->inputs[1]) == time ? list : -1;
  }

  // A constant, of this graph or of the loop's input; null when it is none.
  const Tensor* Known(NodeOutput v) const {
    if (const Tensor* constant = Constant(v)) return constant;
    const auto is = [i = Variable(v)](const auto& known) { return known.first == i; };
    const auto found = std::find_if(known_.begin(), known_.end(), is);
    return found == known_.end() ? nullptr : &found->second;
  }
  // One of an integer; -1 when it is none.
  int64_t IntegerOf(NodeOutput v) const {
    const Tensor* t = Known(v);
    return t == nullptr ? -1 : Integer(*t);
  }
  static int64_t Integer(const Tensor& t) {
    const bool integer = t.dtype() == DType::kInt32 || t.dtype() == DType::kInt64;
    return integer && t.num_elements() == 1 ? IntegerAt(t, 0) : -1;
  }

  // That `variable` is less than a number, or, where that is -1, than another variable.
  struct Limit {
    int variable = -1;
    int64_t number = -1;
    int other = -1;
  };
  // The limits of a condition "a < limit and b < limit and …". False for others.
  bool ReadLimits(std::vector<Limit>* limits) const {
    return own_.results.size() == 1 && ReadLimits(own_.results[0], limits);
  }

 private:
  bool ReadLimits(NodeOutput v, std::vector<Limit>* limits) const {
    if (const Node* same = As(v, "Identity", 1)) return ReadLimits(same->inputs[0], limits);
    if (const Node* both = As(v, "LogicalAnd", 2)) {
      return ReadLimits(both->inputs[0], limits) && ReadLimits(both->inputs[1], limits);
    }
    const Node* less = As(v, "Less", 2);
    if (less == nullptr) return false;
    const Limit limit{.variable = Variable(less->inputs[0]),
                      .number = IntegerOf(less->inputs[1]),
                      .other = Variable(less->inputs[1])};
    limits->push_back(limit);
    return limit.variable >= 0 && (limit.number >= 0 || limit.other >= 0);
  }

 protected:
  Graph own_;

 private:
  std::vector<std::pair<int, Tensor>> known_;  // unchanged variables with constant values
};

}  // namespace savedmodel
