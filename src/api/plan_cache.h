// The plans of one function, by the shapes of its arguments.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/executor/plan.h"

namespace savedmodel::api {

// Bounds what plans take: those used last stay. Where many shapes come, calls of a short function
// are served by one common plan, which knows no more of them than what they have in common, until
// the same shapes have come a few times: compiling would take longer than many runs. Not
// thread-safe.
class PlanCache {
 public:
  // The plan for these shapes, which becomes the one used last; null where there is none.
  std::shared_ptr<const Plan> Find(Span<const Shape> shapes);
  void Add(Span<const Shape> shapes, std::shared_ptr<const Plan> plan);

  // For a call with shapes for which there is no plan: whether the common one is to serve it.
  bool WantsCommon(Span<const Shape> shapes);
  // The common plan; null where there is none that fits these shapes, and one for CommonShapes is
  // to be set.
  std::shared_ptr<const Plan> FindCommon(Span<const Shape> shapes) const;
  std::vector<Shape> CommonShapes(Span<const Shape> shapes) const;
  void SetCommon(std::vector<Shape> shapes, std::shared_ptr<const Plan> plan) {
    common_ = {std::move(shapes), std::move(plan)};
  }

 private:
  struct Entry {
    std::vector<Shape> shapes;
    std::shared_ptr<const Plan> plan;
  };

  void DropOld();

  std::deque<Entry> entries_;  // those used last come first
  Entry common_;
  int num_added_ = 0;
  int64_t largest_arena_ = 0;
  std::unordered_map<std::string, int> calls_;  // that the common plan served, by shapes
};

}  // namespace savedmodel::api
