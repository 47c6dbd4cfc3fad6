// How the floats of an operand meet the elements of a result that it is broadcast to, for loops
// that go over the result tile by tile.
#pragma once

#include <algorithm>

#include "savedmodel/shape.h"
#include "src/kernels/math/broadcast.h"

namespace savedmodel {

class Reach {
 public:
  Reach(const Shape& operand, const Shape& result);

  bool is_repeated() const { return kind_ == kRepeated; }
  bool is_scattered() const { return kind_ == kScattered; }
  // Of the elements that At gives.
  int64_t step() const { return kind_ == kOne ? 0 : kind_ == kLongRuns ? plan_.inner.step[0] : 1; }

  // What one thread has of the operand at hand.
  struct Held {
    float* scratch = nullptr;
    int64_t repeated = -1;  // which pattern the scratch holds
  };
  // Floats of scratch that it needs for tiles of `tile` elements.
  int64_t Scratch(int64_t tile) const {
    return kind_ == kRepeated ? tile + pattern_ : kind_ == kScattered ? tile : 0;
  }
  // The end of the tile that begins at element `at` of the result and should end at `end`.
  int64_t TileEnd(int64_t at, int64_t end) const {
    return kind_ == kLongRuns || kind_ == kRepeated ? std::min(end, at + period_ - at % period_)
                                                    : end;
  }
  // The elements that meet elements [begin, end) of the result, a tile, at step().
  const float* At(const float* data, int64_t begin, int64_t end, int64_t tile, Held* held) const {
    if (kind_ == kEach) return data + begin;
    return kind_ == kOne ? data : Find(data, begin, end, tile, held);
  }

 private:
  // Those of runs and patterns.
  const float* Find(const float* data, int64_t begin, int64_t end, int64_t tile, Held* held) const;
  // Copies what meets elements [begin, end).
  void Copy(const float* data, int64_t begin, int64_t end, float* to) const;

  enum Kind : uint8_t {
    kEach,      // one for each
    kOne,       // the same for all
    kLongRuns,  // a long run of the result meets consecutive elements, or one
    kRepeated,  // a pattern of elements over and over, then perhaps another
    kScattered  // anything else: copied for each tile
  };
  Kind kind_ = kEach;
  BroadcastPlan plan_;  // unless kEach or kOne
  int64_t period_ = 0;  // elements that the same run, or pattern, meets
  int64_t pattern_ = 0;
};

}  // namespace savedmodel
