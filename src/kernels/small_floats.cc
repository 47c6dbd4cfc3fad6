#include "src/kernels/small_floats.h"

#include <algorithm>

#include "savedmodel/float16.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/math/broadcast.h"

namespace savedmodel {
namespace {

constexpr int64_t kBlock = 512;  // floats that stay in the cache between conversions

// Where the n results of the elements at `at` are computed: floats in `block`.
float* Results(const float*, void*, int64_t, float* block) { return block; }
bool* Results(const bool*, void* y, int64_t at, float*) { return static_cast<bool*>(y) + at; }
void Finish(DType dtype, const float* results, int64_t n, void* y, int64_t at) {
  NarrowFloats(dtype, results, n, static_cast<uint16_t*>(y) + at);
}
void Finish(DType, const bool*, int64_t, void*, int64_t) {}

}  // namespace

void WidenToFloats(DType dtype, const void* x, int64_t n, float* y) {
  const VectorCode& code = Vectors();
  const auto* bits = static_cast<const uint16_t*>(x);
  const bool is_half = dtype == DType::kHalf;
  const int64_t whole = n - n % code.lanes;
  (is_half ? code.widen_half : code.widen)(bits, whole, y);
  for (int64_t i = whole; i < n; ++i) {
    y[i] = is_half ? half::FromBits(bits[i]) : bfloat16::FromBits(bits[i]);
  }
}

void NarrowFloats(DType dtype, const float* x, int64_t n, void* y) {
  const VectorCode& code = Vectors();
  auto* bits = static_cast<uint16_t*>(y);
  const bool is_half = dtype == DType::kHalf;
  const int64_t whole = n - n % code.lanes;
  (is_half ? code.narrow_half : code.narrow)(x, whole, bits);
  for (int64_t i = whole; i < n; ++i) {
    bits[i] = is_half ? half(x[i]).bits : bfloat16(x[i]).bits;
  }
}

template <class R>
void MapSmallFloats(OpContext& ctx, double cost,
                    absl::FunctionRef<void(const float* x, R* y, int64_t n)> loop) {
  const DType dtype = ctx.input(0).dtype();
  const auto* x = static_cast<const uint16_t*>(ctx.input(0).raw_data());
  void* y = ctx.output(0).raw_mutable_data();
  ctx.ParallelFor(ctx.input(0).num_elements(), cost, [&](int64_t begin, int64_t end) {
    float block[kBlock];
    for (int64_t at = begin; at < end; at += kBlock) {
      const int64_t n = std::min(kBlock, end - at);
      WidenToFloats(dtype, x + at, n, block);
      R* const results = Results(static_cast<R*>(nullptr), y, at, block);
      loop(block, results, n);
      Finish(dtype, results, n, y, at);
    }
  });
}
template void MapSmallFloats(OpContext&, double,
                             absl::FunctionRef<void(const float*, float*, int64_t)>);
template void MapSmallFloats(OpContext&, double,
                             absl::FunctionRef<void(const float*, bool*, int64_t)>);

template <class R>
void ZipSmallFloats(OpContext& ctx, double cost, const Tensor& x, const Tensor& y, Tensor& z,
                    absl::FunctionRef<void(const float* x, int64_t x_step, const float* y,
                                           int64_t y_step, R* z, int64_t n)>
                        loop) {
  const DType dtype = x.dtype();
  const auto* a = static_cast<const uint16_t*>(x.raw_data());
  const auto* b = static_cast<const uint16_t*>(y.raw_data());
  void* const c = z.raw_mutable_data();
  const BroadcastPlan plan = PlanBroadcast({&x.shape(), &y.shape()}, z.shape());
  const int64_t a_step = plan.inner.step[0], b_step = plan.inner.step[1];
  ctx.ParallelFor(z.num_elements(), cost, [&](int64_t begin, int64_t end) {
    float first[kBlock], second[kBlock];
    ForEachRun(plan, begin, end, [&](int64_t at, const auto& from, int64_t count) {
      for (int64_t i = 0; i < count; i += kBlock) {
        const int64_t n = std::min(kBlock, count - i);
        WidenToFloats(dtype, a + from[0] + i * a_step, a_step == 0 ? 1 : n, first);
        WidenToFloats(dtype, b + from[1] + i * b_step, b_step == 0 ? 1 : n, second);
        R* const results =
            Results(static_cast<R*>(nullptr), c, at + i, a_step == 1 ? first : second);
        loop(first, a_step, second, b_step, results, n);
        Finish(dtype, results, n, c, at + i);
      }
    });
  });
}
template void ZipSmallFloats(
    OpContext&, double, const Tensor&, const Tensor&, Tensor&,
    absl::FunctionRef<void(const float*, int64_t, const float*, int64_t, float*, int64_t)>);
template void ZipSmallFloats(
    OpContext&, double, const Tensor&, const Tensor&, Tensor&,
    absl::FunctionRef<void(const float*, int64_t, const float*, int64_t, bool*, int64_t)>);

}  // namespace savedmodel
