// Fake quantisation: values rounded to what a few bits can hold.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/isa/vector_code.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

struct Levels {
  int lowest = 0, highest = 255;
};

StatusOr<Levels> ReadLevels(const Attrs& attrs) {
  const int64_t bits = attrs.Int("num_bits");
  SM_CHECK_ARG(bits >= 2 && bits <= 16, "found num_bits ", bits, ", expected 2 to 16");
  return Levels{attrs.Bool("narrow_range") ? 1 : 0, (1 << bits) - 1};
}

// Values that the levels stand for: `low` + level * `scale`, of which 0 is one.
struct Nudged {
  float low = 0, high = 0, scale = 0;
};

Nudged Nudge(float min, float max, const Levels& levels) {
  const float lowest = static_cast<float>(levels.lowest);
  const float highest = static_cast<float>(levels.highest);
  Nudged n;
  n.scale = (max - min) / (highest - lowest);
  const float zero = lowest - min / n.scale;
  const float nudged_zero = zero < lowest ? lowest : zero > highest ? highest : std::round(zero);
  n.low = (lowest - nudged_zero) * n.scale;
  n.high = (highest - nudged_zero) * n.scale;
  return n;
}

void RoundAll(OpContext& ctx, const Nudged& n) {
  ctx.ParallelFor(ctx.input(0).num_elements(), 0.15, [&](int64_t begin, int64_t end) {
    Vectors().round_to_levels(ctx.in<float>(0) + begin, end - begin, n.low, n.high, n.scale,
                              ctx.out<float>(0) + begin);
  });
}

StatusOr<KernelPtr> BuildArgs(BuildContext& build) {
  const float min = build.attrs().Float("min"), max = build.attrs().Float("max");
  SM_CHECK_ARG(min < max, "found min ", min, " and max ", max, ", expected min < max");
  SM_ASSIGN_OR_RETURN(const Levels levels, ReadLevels(build.attrs()));
  const Nudged n = Nudge(min, max, levels);
  return MakeKernel([n](OpContext& ctx) -> Status {
    RoundAll(ctx, n);
    return Status();
  });
}

Status VarsShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 0));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(2, 0));
  ctx.set_output(0, ctx.input(0));
  return Status();
}

StatusOr<KernelPtr> BuildVars(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const Levels levels, ReadLevels(build.attrs()));
  return MakeKernel([levels](OpContext& ctx) -> Status {
    const float min = ctx.in<float>(1)[0], max = ctx.in<float>(2)[0];
    if (min == 0 && max == 0) {
      std::fill_n(ctx.out<float>(0), ctx.input(0).num_elements(), 0.0f);
      return Status();
    }
    RoundAll(ctx, Nudge(min, max, levels));
    return Status();
  });
}

Status PerChannelShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 1));
  ctx.set_output(0, ctx.input(0));
  for (int i = 1; i <= 2; ++i) {
    SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 1));
    if (!ctx.input(0).known_rank() || !ctx.input(i).known_rank()) continue;
    const int64_t channels = ctx.input(0)[ctx.input(0).rank() - 1];
    SM_CHECK_ARG(channels < 0 || ctx.input(i)[0] < 0 || ctx.input(i)[0] == channels, "input ", i,
                 " has ", ctx.input(i)[0], " values, expected ", channels);
  }
  return Status();
}

StatusOr<KernelPtr> BuildPerChannel(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const Levels levels, ReadLevels(build.attrs()));
  return MakeKernel([levels](OpContext& ctx) -> Status {
    const Shape& shape = ctx.input(0).shape();
    const int64_t channels = shape[shape.rank() - 1];
    const int64_t rows = channels == 0 ? 0 : shape.num_elements() / channels;
    std::vector<float> low, high, scale;
    std::vector<int64_t> zeros;  // channels whose range is 0 alone
    for (int64_t c = 0; c < channels; ++c) {
      const float min = ctx.in<float>(1)[c], max = ctx.in<float>(2)[c];
      const bool zero = min == 0 && max == 0;
      if (zero) zeros.push_back(c);
      const Nudged n = zero ? Nudged{0, 0, 1} : Nudge(min, max, levels);
      low.push_back(n.low);
      high.push_back(n.high);
      scale.push_back(n.scale);
    }
    const float half = 0.5f;
    const auto step = [](ScalarOp op, const std::vector<float>& operand) {
      return VectorStep{.op = op, .operand = operand.data(), .column_stride = 1};
    };
    const std::array<VectorStep, 8> steps = {step(ScalarOp::kMaximum, low),
                                             step(ScalarOp::kMinimum, high),
                                             step(ScalarOp::kSub, low),
                                             step(ScalarOp::kDiv, scale),
                                             VectorStep{.op = ScalarOp::kAdd, .operand = &half},
                                             VectorStep{.op = ScalarOp::kFloor},
                                             step(ScalarOp::kMul, scale),
                                             step(ScalarOp::kAdd, low)};
    float* const y = ctx.out<float>(0);
    ctx.ParallelFor(rows, 0.5 * static_cast<double>(channels), [&](int64_t begin, int64_t end) {
      const int64_t some = std::max<int64_t>(1, 4096 / channels);  // rows that stay in cache
      for (int64_t row = begin; row < end; row += some) {
        const int64_t last = std::min(end, row + some);
        std::copy(ctx.in<float>(0) + row * channels, ctx.in<float>(0) + last * channels,
                  y + row * channels);
        Vectors().apply(steps.data(), static_cast<int>(steps.size()), y, channels, row, last,
                        channels);
        for (int64_t r = row; r < last; ++r) {
          for (const int64_t c : zeros) y[r * channels + c] = 0;
        }
      }
    });
    return Status();
  });
}

// ------------------------------------------------------------------------------------- gradients

// Gradients pass where values lie inside the range; the rest counts for the end that cut them.
// Input 0 holds gradients, input 1 values; every `step`th from `first` is of this channel.
struct RangeGradient {
  float min = 0, max = 0;
};
RangeGradient PassInside(OpContext& ctx, const Nudged& n, bool zero, int64_t first, int64_t step) {
  const float* g = ctx.in<float>(0);
  const float* x = ctx.in<float>(1);
  float* y = ctx.out<float>(0);
  RangeGradient sum;
  for (int64_t i = first; i < ctx.input(1).num_elements(); i += step) {
    const bool below = !zero && x[i] < n.low, above = !zero && x[i] > n.high;
    if (below) sum.min += g[i];
    if (above) sum.max += g[i];
    y[i] = below || above || (!zero && std::isnan(x[i])) ? 0.0f : g[i];
  }
  return sum;
}

Status CheckSameShape(const ShapeContext& ctx) {
  SM_CHECK_ARG(ctx.input(0).CompatibleWith(ctx.input(1)), "gradients have shape ", ctx.input(0),
               ", inputs ", ctx.input(1));
  return Status();
}

Status ArgsGradientShape(ShapeContext& ctx) {
  ctx.set_output(0, ctx.input(0));
  return CheckSameShape(ctx);
}

StatusOr<KernelPtr> BuildArgsGradient(BuildContext& build) {
  const float min = build.attrs().Float("min"), max = build.attrs().Float("max");
  SM_CHECK_ARG(min < max, "found min ", min, " and max ", max, ", expected min < max");
  SM_ASSIGN_OR_RETURN(const Levels levels, ReadLevels(build.attrs()));
  return MakeKernel([n = Nudge(min, max, levels)](OpContext& ctx) -> Status {
    PassInside(ctx, n, false, 0, 1);
    return Status();
  });
}

// Of one range for all (`per_channel` false), or of one for each index of the last dimension.
template <bool per_channel>
Status RangeGradientShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(CheckSameShape(ctx));
  if (per_channel) SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, 1));
  ctx.set_output(0, ctx.input(0));
  for (int i = 2; i <= 3; ++i) {
    SM_RETURN_IF_ERROR(ctx.ExpectRank(i, per_channel ? 1 : 0));
    ctx.set_output(i - 1, ctx.input(i));
    if (!per_channel || !ctx.input(0).known_rank() || !ctx.input(i).known_rank()) continue;
    const int64_t channels = ctx.input(0)[ctx.input(0).rank() - 1], found = ctx.input(i)[0];
    SM_CHECK_ARG(channels < 0 || found < 0 || found == channels, "input ", i, " has ", found,
                 " values, expected ", channels);
  }
  return Status();
}

StatusOr<KernelPtr> BuildRangeGradient(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const Levels levels, ReadLevels(build.attrs()));
  return MakeKernel([levels](OpContext& ctx) -> Status {
    const int64_t channels = ctx.input(2).num_elements();
    for (int64_t c = 0; c < channels; ++c) {
      const float min = ctx.in<float>(2)[c], max = ctx.in<float>(3)[c];
      const RangeGradient sum =
          PassInside(ctx, Nudge(min, max, levels), min == 0 && max == 0, c, channels);
      ctx.out<float>(1)[c] = sum.min;
      ctx.out<float>(2)[c] = sum.max;
    }
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "FakeQuantWithMinMaxArgs(inputs: float) -> (outputs: float); min: float = -6.0; "
                  "max: float = 6.0; num_bits: int = 8; narrow_range: bool = false",
     .shape = shape::SameAsInput0,
     .build = BuildArgs,
     .in_place = InPlace::kInput0},
    {.signature = "FakeQuantWithMinMaxArgsGradient(gradients: float, inputs: float) -> "
                  "(backprops: float); min: float = -6.0; max: float = 6.0; num_bits: int = 8; "
                  "narrow_range: bool = false",
     .shape = ArgsGradientShape,
     .build = BuildArgsGradient},
    {.signature = "FakeQuantWithMinMaxVars(inputs: float, min: float, max: float) -> "
                  "(outputs: float); num_bits: int = 8; narrow_range: bool = false",
     .shape = VarsShape,
     .build = BuildVars,
     .in_place = InPlace::kInput0},
    {.signature = "FakeQuantWithMinMaxVarsGradient(gradients: float, inputs: float, min: float, "
                  "max: float) -> (backprops_wrt_input: float, backprop_wrt_min: float, "
                  "backprop_wrt_max: float); num_bits: int = 8; narrow_range: bool = false",
     .shape = RangeGradientShape<false>,
     .build = BuildRangeGradient},
    {.signature = "FakeQuantWithMinMaxVarsPerChannel(inputs: float, min: float, max: float) -> "
                  "(outputs: float); num_bits: int = 8; narrow_range: bool = false",
     .shape = PerChannelShape,
     .build = BuildPerChannel,
     .in_place = InPlace::kInput0},
    {.signature = "FakeQuantWithMinMaxVarsPerChannelGradient(gradients: float, inputs: float, "
                  "min: float, max: float) -> (backprops_wrt_input: float, backprop_wrt_min: "
                  "float, backprop_wrt_max: float); num_bits: int = 8; narrow_range: bool = false",
     .shape = RangeGradientShape<true>,
     .build = BuildRangeGradient},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> FakeQuantOps() { return kOps; }

}  // namespace savedmodel
