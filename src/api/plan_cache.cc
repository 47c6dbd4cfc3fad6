#include "src/api/plan_cache.h"

#include <algorithm>

namespace savedmodel::api {
namespace {

// Plans other than those used last are dropped where there are more steps than these in all, and
// so is the memory that they keep for their next run where it is more than these bytes.
constexpr int64_t kMostSteps = 1 << 14;
constexpr int64_t kMostIdleBytes = 64 << 20;

// A function is short where values between its steps take no more than these bytes. It is compiled
// for so many shapes at once, and for others when they come so often.
constexpr int64_t kShortArena = 256 << 10;
constexpr int kShapesAtOnce = 16;
constexpr int kCallsForPlan = 4;
constexpr size_t kMostCounted = 1 << 16;

bool Fits(const std::vector<Shape>& known, Span<const Shape> shapes) {
  return std::equal(known.begin(), known.end(), shapes.begin(), shapes.end(),
                    [](const Shape& a, const Shape& b) { return a.CompatibleWith(b); });
}

Shape WhatIsCommon(const Shape& a, const Shape& b) {
  if (!a.known_rank() || !b.known_rank() || a.rank() != b.rank()) return Shape::Unknown();
  std::vector<int64_t> dims = a.ToVector();
  for (int i = 0; i < a.rank(); ++i) {
    if (a[i] != b[i]) dims[i] = -1;
  }
  return Shape(dims);
}

}  // namespace

std::shared_ptr<const Plan> PlanCache::Find(Span<const Shape> shapes) {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return std::equal(entry.shapes.begin(), entry.shapes.end(), shapes.begin(), shapes.end());
  });
  if (found == entries_.end()) return nullptr;
  if (found != entries_.begin()) {
    std::rotate(entries_.begin(), found, found + 1);
    if (entries_.front().plan->idle_bytes() == 0) DropOld();  // it will take memory
  }
  return entries_.front().plan;
}

void PlanCache::Add(Span<const Shape> shapes, std::shared_ptr<const Plan> plan) {
  ++num_added_;
  largest_arena_ = std::max(largest_arena_, plan->arena_bytes());
  entries_.push_front({{shapes.begin(), shapes.end()}, std::move(plan)});
  DropOld();
}

void PlanCache::DropOld() {
  Tensor spare;
  int64_t steps = 0, idle_bytes = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Plan& plan = *entries_[i].plan;
    steps += plan.num_steps() + 1;
    if (i == 0) continue;
    if (steps > kMostSteps) {
      entries_.erase(entries_.begin() + static_cast<int64_t>(i), entries_.end());
      break;
    }
    idle_bytes += plan.idle_bytes();
    if (idle_bytes <= kMostIdleBytes) continue;
    Tensor arena = plan.DropIdleFrames();
    if (!arena.has_value()) continue;
    // Its pages are there: the plan that is to run next can have it.
    if (!spare.has_value() || spare.num_elements() < arena.num_elements()) spare = std::move(arena);
  }
  if (spare.has_value()) entries_.front().plan->OfferArena(std::move(spare));
}

bool PlanCache::WantsCommon(Span<const Shape> shapes) {
  if (num_added_ < kShapesAtOnce || largest_arena_ > kShortArena) return false;
  std::string key;
  for (const Shape& s : shapes) key += s.ToString();
  if (calls_.size() >= kMostCounted) calls_.clear();
  int& calls = calls_[key];
  if (++calls < kCallsForPlan) return true;
  calls_.erase(key);
  return false;
}

std::shared_ptr<const Plan> PlanCache::FindCommon(Span<const Shape> shapes) const {
  return common_.plan != nullptr && Fits(common_.shapes, shapes) ? common_.plan : nullptr;
}

std::vector<Shape> PlanCache::CommonShapes(Span<const Shape> shapes) const {
  std::vector<Shape> common(shapes.begin(), shapes.end());
  const auto add = [&](const Entry& entry) {
    for (size_t i = 0; i < entry.shapes.size(); ++i) {
      common[i] = WhatIsCommon(common[i], entry.shapes[i]);
    }
  };
  for (const Entry& entry : entries_) add(entry);
  add(common_);
  return common;
}

}  // namespace savedmodel::api
