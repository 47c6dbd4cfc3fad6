// Pooling over regions whose sizes vary, so that the ratio of sizes need not be whole.
#include <algorithm>
#include <cmath>
#include <random>
#include <type_traits>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/philox.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

struct FractionalAttrs {
  std::vector<float> ratio;
  bool pseudo_random = false, overlapping = false;
  uint64_t seed = 0, seed2 = 0;
};

// One ratio for each dimension, of which batch and channels stay as they are.
Status CheckRatio(const std::vector<float>& ratio) {
  SM_CHECK_ARG(ratio.size() == 4, "pooling_ratio has ", ratio.size(), " values, expected 4");
  for (float r : ratio) SM_CHECK_ARG(r >= 1, "found pooling_ratio ", r, ", expected at least 1");
  if (ratio[0] != 1 || ratio[3] != 1) {
    return Unimplemented("fractional pooling over batch or channels");
  }
  return Status();
}

int64_t OutputSize(int64_t input, float ratio) {
  return input < 0 ? -1 : static_cast<int64_t>(std::floor(static_cast<float>(input) / ratio));
}

Status FractionalShape(ShapeContext& ctx) {
  const std::vector<float>& ratio = ctx.attrs().Get<std::vector<float>>("pooling_ratio");
  SM_RETURN_IF_ERROR(CheckRatio(ratio));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  const Shape& in = ctx.input(0);
  if (!in.known_rank()) return Status();
  const int64_t rows = OutputSize(in[1], ratio[1]), columns = OutputSize(in[2], ratio[2]);
  SM_CHECK_ARG(rows != 0 && columns != 0, "input ", in, " is too small for the pooling ratio");
  ctx.set_output(0, Shape({in[0], rows, columns, in[3]}));
  ctx.set_output(1, Shape({rows < 0 ? -1 : rows + 1}));
  ctx.set_output(2, Shape({columns < 0 ? -1 : columns + 1}));
  return Status();
}

// Widths of `output` regions that together cover `input`: one of two neighbouring sizes each.
std::vector<int64_t> RegionWidths(int64_t input, int64_t output, bool pseudo_random,
                                  PhiloxWords* words) {
  const int64_t k = input / output;
  std::vector<int64_t> widths(output, k);
  if (!pseudo_random) {
    for (int64_t i = 0; i < input % output; ++i) ++widths[i];
    for (int64_t i = 0; i + 1 < output; ++i) {
      std::swap(widths[i], widths[i + words->Next() % static_cast<uint32_t>(output - i)]);
    }
    return widths;
  }
  const double alpha = static_cast<double>(input) / static_cast<double>(output);
  const double limit = std::min((k + 2) / alpha - 1, (input + 1 - k) / alpha - (output - 1));
  const uint32_t high = words->Next(), low = words->Next();
  const double u = UniformDouble(high, low) * limit;
  int64_t previous = 1;
  for (int64_t i = 0; i < output; ++i) {
    const int64_t next =
        i + 1 == output ? input + 1 : static_cast<int64_t>(std::ceil(alpha * (i + 1 + u)));
    widths[i] = next - previous;
    previous = next;
  }
  return widths;
}

// Boundaries of the regions, from 0 to `input`. Takes its random words from `generator`.
void Boundaries(int64_t input, int64_t output, bool pseudo_random, Philox* generator,
                int64_t* bounds) {
  PhiloxWords words(*generator);
  generator->Skip(pseudo_random ? 1 : static_cast<uint64_t>((output + 3) / 4));
  const std::vector<int64_t> widths = RegionWidths(input, output, pseudo_random, &words);
  bounds[0] = 0;
  for (int64_t i = 0; i < output; ++i) bounds[i + 1] = std::min(input, bounds[i] + widths[i]);
}

// Pools region rows [r0, r1), columns [c0, c1) of one channel.
template <bool average, class T>
T PoolRegion(const T* x, int64_t width, int64_t channels, int64_t r0, int64_t r1, int64_t c0,
             int64_t c1) {
  T result = x[(r0 * width + c0) * channels];
  T sum = T(0);
  for (int64_t r = r0; r < r1; ++r) {
    for (int64_t c = c0; c < c1; ++c) {
      const T v = x[(r * width + c) * channels];
      if constexpr (average) {
        sum += v;
      } else {
        result = std::max(result, v);
      }
    }
  }
  return average ? sum / static_cast<T>((r1 - r0) * (c1 - c0)) : result;
}

template <bool average>
Status RunFractional(OpContext& ctx, const FractionalAttrs& attrs) {
  const Shape &in = ctx.input(0).shape(), &out = ctx.output(0).shape();
  const int64_t rows = out[1], columns = out[2], channels = out[3];
  Philox generator(attrs.seed, attrs.seed2);
  int64_t *row_bounds = ctx.out<int64_t>(1), *column_bounds = ctx.out<int64_t>(2);
  Boundaries(in[1], rows, attrs.pseudo_random, &generator, row_bounds);
  Boundaries(in[2], columns, attrs.pseudo_random, &generator, column_bounds);
  const int64_t overlap = attrs.overlapping ? 1 : 0;
  return VisitDType<kFloatDouble | kInt32Or64>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* y = ctx.out<T>(0);
    for (int64_t n = 0; n < out[0]; ++n) {
      const T* image = ctx.in<T>(0) + n * in[1] * in[2] * channels;
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t r0 = std::min(in[1] - 1, row_bounds[r]);
        const int64_t r1 = std::clamp(row_bounds[r + 1] + overlap, r0 + 1, in[1]);
        for (int64_t c = 0; c < columns; ++c) {
          const int64_t c0 = std::min(in[2] - 1, column_bounds[c]);
          const int64_t c1 = std::clamp(column_bounds[c + 1] + overlap, c0 + 1, in[2]);
          for (int64_t ch = 0; ch < channels; ++ch) {
            *y++ = PoolRegion<average>(image + ch, in[2], channels, r0, r1, c0, c1);
          }
        }
      }
    }
    return Status();
  });
}

template <bool average>
StatusOr<KernelPtr> BuildFractional(BuildContext& build) {
  const Attrs& list = build.attrs();
  FractionalAttrs attrs{list.Get<std::vector<float>>("pooling_ratio"), list.Bool("pseudo_random"),
                        list.Bool("overlapping"), static_cast<uint64_t>(list.Int("seed")),
                        static_cast<uint64_t>(list.Int("seed2"))};
  SM_RETURN_IF_ERROR(CheckRatio(attrs.ratio));
  const bool seeded = attrs.seed != 0 || attrs.seed2 != 0;
  SM_CHECK_ARG(!seeded || list.Bool("deterministic"),
               "seed and seed2 must be 0 unless deterministic is true");
  if (!seeded) {
    std::random_device device;
    attrs.seed = device();
    attrs.seed2 = device();
  }
  return MakeKernel([attrs](OpContext& ctx) { return RunFractional<average>(ctx, attrs); });
}

#define SM_FRACTIONAL                                                                     \
  "(value: T) -> (output: T, row_pooling_sequence: int64, col_pooling_sequence: int64); " \
  "pooling_ratio: list(float) >= 4; pseudo_random: bool = false; "                        \
  "overlapping: bool = false; deterministic: bool = false; seed: int = 0; "               \
  "seed2: int = 0; T: {float,double,int32,int64}"

constexpr OpDef kOps[] = {
    {.signature = "FractionalAvgPool" SM_FRACTIONAL,
     .shape = FractionalShape,
     .build = BuildFractional<true>},
    {.signature = "FractionalMaxPool" SM_FRACTIONAL,
     .shape = FractionalShape,
     .build = BuildFractional<false>},
};
#undef SM_FRACTIONAL
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> FractionalPoolOps() { return kOps; }

}  // namespace savedmodel
