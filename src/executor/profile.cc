#include "src/executor/profile.h"

#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "savedmodel/profile.h"

namespace savedmodel {

namespace internal {
std::atomic<bool> profiling{false};
}

namespace {

using Clock = std::chrono::steady_clock;

struct Recording {
  std::mutex mutex;
  Clock::time_point start;
  std::vector<StepTiming> steps;
};

Recording& TheRecording() {
  static Recording* const recording = new Recording();  // outlives threads that still record
  return *recording;
}

thread_local StepTimer* innermost = nullptr;

int64_t Nanoseconds(Clock::duration d) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(d).count();
}

}  // namespace

StepTimer::StepTimer(const Node& node)
    : node_(node), outer_(std::exchange(innermost, this)), start_(Clock::now()) {}

StepTimer::~StepTimer() {
  const int64_t taken = Nanoseconds(Clock::now() - start_);
  innermost = outer_;
  if (outer_ != nullptr) outer_->inner_ns_ += taken;
  Recording& recording = TheRecording();
  std::lock_guard<std::mutex> lock(recording.mutex);
  if (!IsProfiling()) return;
  recording.steps.push_back({.node = node_.name,
                             .op = node_.op,
                             .thread = std::hash<std::thread::id>()(std::this_thread::get_id()),
                             .start_ns = Nanoseconds(start_ - recording.start),
                             .duration_ns = taken,
                             .self_ns = taken - inner_ns_});
}

bool StartProfile() {
  Recording& recording = TheRecording();
  std::lock_guard<std::mutex> lock(recording.mutex);
  if (IsProfiling()) return false;
  recording.start = Clock::now();
  recording.steps.clear();
  internal::profiling = true;
  return true;
}

std::vector<StepTiming> StopProfile() {
  Recording& recording = TheRecording();
  std::lock_guard<std::mutex> lock(recording.mutex);
  internal::profiling = false;
  return std::exchange(recording.steps, {});
}

}  // namespace savedmodel
