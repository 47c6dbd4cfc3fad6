// Samples of class numbers for sampled losses, with how often each class is to be expected.
#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/math_ops.h"
#include "src/kernels/math/philox.h"

namespace savedmodel {
namespace {

struct SamplerAttrs {
  int64_t num_sampled = 1, range = 1;
  bool unique = false;
};

uint64_t NextWide(PhiloxWords& words) {
  const uint64_t low = words.Next();
  return uint64_t{words.Next()} << 32 | low;
}

// All classes alike.
class UniformClasses {
 public:
  explicit UniformClasses(int64_t range) : range_(static_cast<uint64_t>(range)) {}
  double Probability(int64_t) const { return 1.0 / static_cast<double>(range_); }
  int64_t Sample(PhiloxWords& words) const {
    if ((range_ & (range_ - 1)) == 0) return static_cast<int64_t>(NextWide(words) & (range_ - 1));
    // Numbers above the last multiple of the range would favour low classes.
    const uint64_t end = UINT64_MAX - UINT64_MAX % range_;
    uint64_t x;
    do {
      x = NextWide(words);
    } while (x >= end);
    return static_cast<int64_t>(x % range_);
  }

 private:
  uint64_t range_;
};

// Class k with a probability of log((k + 2) / (k + 1)) / log(range + 1): Zipf's law, about.
class LogUniformClasses {
 public:
  explicit LogUniformClasses(int64_t range)
      : range_(range), log_range_(std::log1p(static_cast<double>(range))) {}
  double Probability(int64_t k) const {
    const double x = static_cast<double>(k);
    return std::log((x + 2.0) / (x + 1.0)) / log_range_;
  }
  int64_t Sample(PhiloxWords& words) const {
    const uint32_t high = words.Next();
    const double x = std::exp(UniformDouble(high, words.Next()) * log_range_);
    constexpr double kMost = 9.0e18;  // fits an int64
    return (static_cast<int64_t>(std::min(x, kMost)) - 1) % range_;
  }

 private:
  int64_t range_;
  double log_range_;
};

Status SamplerShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  const int64_t num_true = ctx.attrs().Int("num_true"), n = ctx.attrs().Int("num_sampled");
  const Shape& classes = ctx.input(0);
  SM_CHECK_ARG(!classes.known_rank() || classes[1] < 0 || classes[1] == num_true,
               "true_classes has shape ", classes, ", expected ", num_true, " classes in each row");
  ctx.set_output(0, Shape({n}));
  ctx.set_output(1, Shape({classes.known_rank() ? classes[0] : -1, num_true}));
  ctx.set_output(2, Shape({n}));
  return Status();
}

// Draws the classes; returns how many draws that took.
template <class Classes>
StatusOr<int64_t> Draw(OpContext& ctx, const SamplerAttrs& attrs, const Classes& classes,
                       PhiloxWords words, int64_t* samples) {
  std::unordered_set<int64_t> seen;
  int64_t tries = 0;
  for (int64_t picked = 0; picked < attrs.num_sampled;) {
    if (++tries % 1024 == 0) SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
    const int64_t k = classes.Sample(words);
    if (attrs.unique && !seen.insert(k).second) continue;
    samples[picked++] = k;
  }
  return tries;
}

template <class Classes>
StatusOr<KernelPtr> BuildSampler(BuildContext& build) {
  const SamplerAttrs attrs{.num_sampled = build.attrs().Int("num_sampled"),
                           .range = build.attrs().Int("range_max"),
                           .unique = build.attrs().Bool("unique")};
  SM_CHECK_ARG(!attrs.unique || attrs.num_sampled <= attrs.range, "found ", attrs.range,
               " classes, from which ", attrs.num_sampled, " unique ones cannot be sampled");
  return MakeKernel([attrs, generator = StatefulPhilox(build)](OpContext& ctx) -> Status {
    constexpr uint64_t kReserved = 2048;
    const Classes classes(attrs.range);
    const PhiloxWords words(
        generator.ReserveWords(ctx, kReserved * static_cast<uint64_t>(attrs.num_sampled)));
    int64_t* samples = ctx.out<int64_t>(0);
    SM_ASSIGN_OR_RETURN(const int64_t tries, Draw(ctx, attrs, classes, words, samples));
    const auto expected = [&](int64_t k) {
      const double p = classes.Probability(k);
      return static_cast<float>(tries == attrs.num_sampled
                                    ? p * static_cast<double>(tries)
                                    : -std::expm1(static_cast<double>(tries) * std::log1p(-p)));
    };
    const int64_t num_true = ctx.input(0).num_elements();
    for (int64_t i = 0; i < num_true; ++i) {
      const int64_t k = ctx.in<int64_t>(0)[i];
      SM_CHECK_ARG(k >= 0 && k < attrs.range, "found class ", k, ", expected 0 to ",
                   attrs.range - 1);
      ctx.out<float>(1)[i] = expected(k);
    }
    for (int64_t i = 0; i < attrs.num_sampled; ++i) ctx.out<float>(2)[i] = expected(samples[i]);
    return Status();
  });
}

#define SM_SAMPLER                                                                            \
  "(true_classes: int64) -> (sampled_candidates: int64, true_expected_count: float, "         \
  "sampled_expected_count: float); num_true: int >= 1; num_sampled: int >= 1; unique: bool; " \
  "range_max: int >= 1; seed: int = 0; seed2: int = 0"

constexpr OpDef kOps[] = {
    {.signature = "LogUniformCandidateSampler" SM_SAMPLER,
     .effects = Effects::kRandom,
     .shape = SamplerShape,
     .build = BuildSampler<LogUniformClasses>},
    {.signature = "UniformCandidateSampler" SM_SAMPLER,
     .effects = Effects::kRandom,
     .shape = SamplerShape,
     .build = BuildSampler<UniformClasses>},
};
#undef SM_SAMPLER
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> CandidateSamplingOps() { return kOps; }

}  // namespace savedmodel
