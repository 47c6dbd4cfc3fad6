#include "src/optimizer/same_shapes.h"

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
  if (!shape.fully_known()) return false;
  if (shape.rank() > 0 && (!into.known_rank() || shape.rank() > into.rank())) return false;
  for (int d = 1; d <= shape.rank(); ++d) {
    const int64_t size = shape[shape.rank() - d];
    if (size != 1 && size != into[into.rank() - d]) return false;
  }
  return true;
}

}  // namespace savedmodel
