#include "src/kernels/math/reach.h"

#include <cstring>

namespace savedmodel {

Reach::Reach(const Shape& operand, const Shape& result) {
  // Runs at least this long are read where they are, and tiles end with them.
  constexpr int64_t kLongRun = 256;
  constexpr int64_t kMostPattern = 2048;
  if (operand.num_elements() == result.num_elements()) return;
  kind_ = kOne;
  if (operand.num_elements() == 1) return;
  plan_ = PlanBroadcast({&operand}, result);
  kind_ = kScattered;
  period_ = plan_.inner.size;
  if (period_ >= kLongRun) {
    kind_ = kLongRuns;
    return;
  }
  // The outermost dimension that repeats what is inside it.
  int64_t inside = plan_.inner.size;
  for (size_t d = plan_.outer.size(); d-- > 0 && inside <= kMostPattern;) {
    const int64_t size = plan_.outer[d].size;
    if (plan_.outer[d].step[0] == 0 && inside * size >= kLongRun) {
      kind_ = kRepeated;
      pattern_ = inside;
      period_ = inside * size;
    }
    inside *= size;
  }
}

const float* Reach::Find(const float* data, int64_t begin, int64_t end, int64_t tile,
                         Held* held) const {
  if (kind_ == kScattered) {
    Copy(data, begin, end, held->scratch);
    return held->scratch;
  }
  if (kind_ == kRepeated) {
    const int64_t first = begin - begin % period_;
    if (held->repeated != first) {
      held->repeated = first;
      Copy(data, first, first + pattern_, held->scratch);
      const int64_t all = std::min(Scratch(tile), period_);
      for (int64_t done = pattern_; done < all;) {
        const int64_t more = std::min(done, all - done);
        std::memcpy(held->scratch + done, held->scratch, static_cast<size_t>(more) * sizeof(float));
        done += more;
      }
    }
    return held->scratch + begin % pattern_;
  }
  int64_t offset = begin % period_ * plan_.inner.step[0], at = begin / period_;
  for (size_t d = plan_.outer.size(); d-- > 0; at /= plan_.outer[d].size) {
    offset += at % plan_.outer[d].size * plan_.outer[d].step[0];
  }
  return data + offset;
}

void Reach::Copy(const float* data, int64_t begin, int64_t end, float* to) const {
  ForEachRun(plan_, begin, end, [&](int64_t, const auto& offsets, int64_t count) {
    const float* run = data + offsets[0];
    if (plan_.inner.step[0] == 1) {
      std::memcpy(to, run, static_cast<size_t>(count) * sizeof(float));
      to += count;
      return;
    }
    const float four[4] = {*run, *run, *run, *run};
    for (; count >= 4; count -= 4, to += 4) std::memcpy(to, four, sizeof four);
    to = std::copy_n(four, count, to);
  });
}

}  // namespace savedmodel
