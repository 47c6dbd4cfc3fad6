#include "src/optimizer/same_shapes.h"

#include "src/kernels/math/broadcast.h"
#include "src/optimizer/optimizer.h"

namespace savedmodel {

SameShapes::SameShapes(const Graph& graph, Span<const NodeId> order) : graph_(graph) {
  for (NodeId id = 0; id < graph.num_nodes(); ++id) origins_.push_back({id, 0});
  for (const NodeId id : order) {
    const Node& node = graph.node(id);
    if (!IsScalarFunction(node)) continue;
    const NodeOutput x = node.inputs.front(), y = node.inputs.back();
    if (Adapts(y, x)) {
      origins_[id] = Origin(x);
    } else if (Adapts(x, y)) {
      origins_[id] = Origin(y);
    }
  }
}

bool SameShapes::operator()(NodeOutput a, NodeOutput b) const {
  if (Origin(a) == Origin(b)) return true;
  const Shape shape = graph_.shape(a);
  return shape.fully_known() && shape == graph_.shape(b);
}

bool SameShapes::Adapts(NodeOutput v, NodeOutput other) const {
  if ((*this)(v, other)) return true;
  const Shape shape = graph_.shape(v), into = graph_.shape(other);
  return shape.fully_known() && (shape.rank() == 0 || BroadcastsTo(shape, into));
}

}  // namespace savedmodel
