#include "src/kernels/math/elementwise.h"

#include <algorithm>
#include <vector>

#include "src/kernels/math/reach.h"

namespace savedmodel {

void BinaryFloatLoop(ScalarOp op, const float* a, int64_t a_step, const float* b, int64_t b_step,
                     float* z, int64_t n) {
  ArrayStep step;
  step.op = op;
  step.x = a;
  step.y = b;
  step.x_step = a_step;
  step.y_step = b_step;
  step.result = z;
  Vectors().run_steps(&step, 1, n);
}

bool BinaryFloatRepeated(OpContext& ctx, ScalarOp op, const Tensor& x, const Tensor& y, Tensor& z) {
  constexpr int64_t kTile = 1024;
  if (z.num_elements() < kTile) return false;
  const Reach reaches[2] = {{x.shape(), z.shape()}, {y.shape(), z.shape()}};
  if (!reaches[0].is_repeated() && !reaches[1].is_repeated()) return false;
  if (reaches[0].is_scattered() || reaches[1].is_scattered()) return false;
  const float* const operands[2] = {x.data<float>(), y.data<float>()};
  float* const results = z.mutable_data<float>();
  ctx.ParallelFor(z.num_elements(), 0.2, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch[2];
    Reach::Held held[2];
    for (const int i : {0, 1}) {
      scratch[i].resize(static_cast<size_t>(reaches[i].Scratch(kTile)));
      held[i].scratch = scratch[i].data();
    }
    for (int64_t at = begin, tile_end = 0; at < end; at = tile_end) {
      tile_end = std::min(at + kTile, end);
      for (const Reach& reach : reaches) tile_end = reach.TileEnd(at, tile_end);
      const auto operand = [&](int i) {
        return reaches[i].At(operands[i], at, tile_end, kTile, &held[i]);
      };
      BinaryFloatLoop(op, operand(0), reaches[0].step(), operand(1), reaches[1].step(),
                      results + at, tile_end - at);
    }
  });
  return true;
}

}  // namespace savedmodel
