// TensorQueue, the class.
#include "src/kernels/state/queue.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "src/base/status_macros.h"

namespace savedmodel {

StatusOr<ResourceRef> TensorQueue::Clone() const {
  auto copy = std::make_shared<TensorQueue>(spec_);
  std::lock_guard<std::mutex> lock(mutex_);
  copy->tuples_ = tuples_;
  copy->random_ = random_;
  copy->closed_ = closed_;
  return ResourceRef(std::move(copy));
}

Status TensorQueue::CheckTuple(const Tuple& tuple) const {
  SM_CHECK_ARG(tuple.size() == spec_.dtypes.size(), "found ", tuple.size(),
               " components, the queue's tuples have ", spec_.dtypes.size());
  for (size_t i = 0; i < tuple.size(); ++i) {
    const Shape shape = spec_.shapes.empty() ? Shape::Unknown() : spec_.shapes[i];
    SM_CHECK_ARG(tuple[i].dtype() == spec_.dtypes[i] && shape.CompatibleWith(tuple[i].shape()),
                 "component ", i, " is ", tuple[i].TypeString(), ", expected ", spec_.dtypes[i],
                 shape);
  }
  return Status();
}

Status TensorQueue::Wait(std::unique_lock<std::mutex>& lock, const RunState& run) {
  constexpr auto kSlice = std::chrono::milliseconds(5);
  changed_.wait_for(lock, kSlice);
  return run.CheckInterrupt();
}

Status TensorQueue::Enqueue(std::vector<Tuple> tuples, const RunState& run) {
  for (const Tuple& tuple : tuples) SM_RETURN_IF_ERROR(CheckTuple(tuple));
  std::unique_lock<std::mutex> lock(mutex_);
  for (Tuple& tuple : tuples) {
    while (!closed_ && spec_.capacity >= 0 &&
           static_cast<int64_t>(tuples_.size()) >= spec_.capacity) {
      SM_RETURN_IF_ERROR(Wait(lock, run));
    }
    if (closed_) return Status(StatusCode::kCancelled, "the queue is closed");
    tuples_.push_back(std::move(tuple));
    changed_.notify_all();
  }
  return Status();
}

TensorQueue::Tuple TensorQueue::TakeOne() {
  auto it = tuples_.begin();
  if (spec_.order == Order::kShuffle) it += static_cast<int64_t>(random_() % tuples_.size());
  if (spec_.order == Order::kPriority) {
    it = std::min_element(tuples_.begin(), tuples_.end(), [](const Tuple& a, const Tuple& b) {
      return *a[0].data<int64_t>() < *b[0].data<int64_t>();
    });
  }
  Tuple tuple = std::move(*it);
  tuples_.erase(it);
  return tuple;
}

StatusOr<std::vector<TensorQueue::Tuple>> TensorQueue::Dequeue(int64_t n, bool fewer,
                                                               const RunState& run) {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto size = [&] { return static_cast<int64_t>(tuples_.size()); };
  while (!closed_ && size() < n + (n > 0 ? spec_.min_after_dequeue : 0)) {
    SM_RETURN_IF_ERROR(Wait(lock, run));
  }
  if (size() < n) {
    if (!fewer || size() == 0) {
      return OutOfRange("the queue is closed and has ", size(), " tuples, ", n, " were asked for");
    }
    n = size();
  }
  std::vector<Tuple> taken;
  for (int64_t i = 0; i < n; ++i) taken.push_back(TakeOne());
  changed_.notify_all();
  return taken;
}

void TensorQueue::Close() {
  std::lock_guard<std::mutex> lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

bool TensorQueue::closed() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return closed_;
}

int64_t TensorQueue::size() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<int64_t>(tuples_.size());
}

}  // namespace savedmodel
