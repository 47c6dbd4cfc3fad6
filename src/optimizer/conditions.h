// When the nodes of a graph with Switch and Merge run.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "src/graph/graph.h"

namespace savedmodel {

// Holds where `parent` holds and `gate` lets a value through.
struct Condition {
  int parent = -1;
  int depth = 0;
  // A predicate, and the output of its Switches: 0 where it is false, 1 where it is true. What is
  // neither is a condition of its own, of which no more is known.
  NodeOutput gate;
  int side = -1;

  bool is_predicate() const { return side == 0 || side == 1; }
};

// The conditions under which nodes run and values are there: a tree below one that always holds. A
// node runs under the lowest condition of its inputs where all of these lie on one path.
class Conditions {
 public:
  static constexpr int kAlways = 0;

  // `graph` must outlive this and stay as it is. INVALID_ARGUMENT for a graph with cycles. Stops
  // where conditions are more than `most_depth` deep, which deepest() then says.
  Status Find(const Graph& graph, int most_depth);

  // The nodes that are alive, inputs first.
  const std::vector<NodeId>& order() const { return order_; }
  int deepest() const { return deepest_; }
  const Condition& operator[](int c) const { return all_[c]; }
  // The condition under which node `id` runs.
  int Of(NodeId id) const { return of_node_[id]; }
  // The condition under which there is a value `v`.
  int Of(NodeOutput v);
  // A Merge of the two sides of one predicate.
  bool Joins(NodeId merge) const { return joins_[merge]; }
  // What `v` is, seen through identities.
  NodeOutput Original(NodeOutput v) const { return v.index == 0 ? copied_[v.node] : v; }
  // The condition that holds where `a` and `b` do, if it is one of them.
  std::optional<int> Both(int a, int b) const;

 private:
  int Under(int parent, NodeOutput gate, int side);
  // The lowest condition that holds where any of `a` and `b` does.
  int Common(int a, int b) const;
  int Find(NodeId id);
  bool JoinsSides(const Node& merge);

  const Graph* graph_ = nullptr;
  std::vector<NodeId> order_;
  std::vector<Condition> all_;
  std::map<std::tuple<int, NodeId, int32_t, int>, int> known_;
  std::vector<int> of_node_;
  std::vector<std::array<int, 2>> of_side_;  // by Switch: of its outputs, or -1
  std::vector<bool> joins_;
  std::vector<NodeOutput> copied_;  // by node: what output 0 is, seen through identities
  int deepest_ = 0;
};

}  // namespace savedmodel
