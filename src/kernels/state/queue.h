// TensorQueue: what every queue op works on.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <random>
#include <vector>

#include "savedmodel/op.h"
#include "savedmodel/resource.h"

namespace savedmodel {

// A queue of tuples of tensors. Thread-safe; waiting ends when the run is interrupted.
class TensorQueue final : public Resource {
 public:
  enum class Order : uint8_t { kFifo, kPadding, kShuffle, kPriority };
  struct Spec {
    Order order = Order::kFifo;
    std::vector<DType> dtypes;
    std::vector<Shape> shapes;  // of the components; empty where not declared
    int64_t capacity = -1;      // negative for any number of tuples
    int64_t min_after_dequeue = 0;
    uint64_t seed = 0;
  };
  using Tuple = std::vector<Tensor>;

  explicit TensorQueue(Spec spec) : spec_(std::move(spec)), random_(spec_.seed) {}
  std::string_view kind() const override { return "queue"; }
  StatusOr<ResourceRef> Clone() const override;
  const Spec& spec() const { return spec_; }

  // Adds tuples one by one as there is room. CANCELLED once the queue is closed.
  Status Enqueue(std::vector<Tuple> tuples, const RunState& run);
  // Takes `n` tuples, or what is left of a closed queue if `fewer`.
  // OUT_OF_RANGE when a closed queue has not enough.
  StatusOr<std::vector<Tuple>> Dequeue(int64_t n, bool fewer, const RunState& run);
  void Close();
  bool closed() const;
  int64_t size() const;

 private:
  Status CheckTuple(const Tuple& tuple) const;
  Tuple TakeOne();
  // Waits for a change; an error once the run is interrupted.
  Status Wait(std::unique_lock<std::mutex>& lock, const RunState& run);

  const Spec spec_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Tuple> tuples_;
  std::mt19937_64 random_;
  bool closed_ = false;
};

}  // namespace savedmodel
