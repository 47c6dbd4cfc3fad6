// Shapes that are inferred while a plan runs.
#pragma once

#include <vector>

#include "savedmodel/span.h"
#include "src/graph/node_context.h"

namespace savedmodel {

// The output shapes of one step, kept as long as its inputs have the same shapes: from run to run
// they seldom change. Not kept where they depend on values of inputs that are not constant.
class InferredShapes {
 public:
  Status Infer(const Node& node, Span<Tensor* const> inputs,
               FunctionRef<bool(size_t input)> is_constant);
  const std::vector<Shape>& outputs() const { return outputs_; }

 private:
  bool AreOf(Span<Tensor* const> inputs) const;

  std::vector<Shape> inputs_, outputs_;
  bool is_kept_ = false, depends_on_values_ = false;
};

}  // namespace savedmodel
