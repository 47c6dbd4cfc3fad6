// Which values have the same shape in every run, also where that shape is not known.
#pragma once

#include <vector>

#include "savedmodel/span.h"
#include "src/graph/graph.h"

namespace savedmodel {

// Of a graph as it is when this is made. Scalar functions hand shapes on; what is known of shapes
// does the rest.
class SameShapes {
 public:
  // `order`: the graph's nodes, inputs first.
  SameShapes(const Graph& graph, Span<const NodeId> order);

  bool operator()(NodeOutput a, NodeOutput b) const;

 private:
  // The earliest value known to have the shape of `v`.
  NodeOutput Origin(NodeOutput v) const { return v.index == 0 ? origins_[v.node] : v; }
  // Whether broadcasting `v` with `other` gives the shape of `other`.
  bool Adapts(NodeOutput v, NodeOutput other) const;

  const Graph& graph_;
  std::vector<NodeOutput> origins_;  // of the first output of each node
};

}  // namespace savedmodel
