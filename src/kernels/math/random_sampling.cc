// Samples of gamma, Poisson, binomial and categorical distributions, and shuffles.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/convert.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/math_ops.h"
#include "src/kernels/math/philox.h"

namespace savedmodel {
namespace {

// Rejection samplers give up after as many attempts: only for parameters without a distribution.
inline constexpr int kMaxAttempts = 10000;

inline constexpr DTypeSet kSampleTypes = kFloatDouble | Only(DType::kHalf) | kInt32Or64;

// A sample as T; integers have no infinity and get 0.
template <class T>
T SampleAs(double x) {
  if constexpr (std::is_integral_v<T>) {
    if (std::isinf(x)) return 0;
  }
  return Convert<T>(x);
}

// The elements of a parameter tensor as doubles.
StatusOr<std::vector<double>> AsDoubles(const Tensor& t) {
  std::vector<double> values(t.num_elements());
  Status status = VisitDType<kSampleTypes>(t.dtype(), [&](auto tag) -> Status {
    const auto* x = t.data<typename decltype(tag)::type>();
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(x[i]);
    return Status();
  });
  SM_RETURN_IF_ERROR(status);
  return values;
}

// Fills `out` [samples..., batches] with `draw(batch, doubles)`. Every element has `steps` steps of
// the generator of its own, so that order does not matter.
template <class Draw>
Status FillSamples(OpContext& ctx, const Philox& generator, uint64_t steps, int64_t batches,
                   Tensor& out, Draw draw) {
  const int64_t n = out.num_elements();
  if (n == 0 || batches == 0) return Status();
  const int64_t samples = n / batches;
  return VisitDType<kSampleTypes>(out.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    T* y = static_cast<T*>(out.raw_mutable_data());
    ctx.ParallelFor(n, 200, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        Philox at = generator;
        at.Skip(steps * static_cast<uint64_t>(i));
        PhiloxDoubles doubles(at);
        y[i % samples * batches + i / samples] = SampleAs<T>(draw(i / samples, doubles));
      }
    });
    return Status();
  });
}

// Marsaglia and Tsang's method; for alpha < 1 from alpha + 1.
double DrawGamma(double alpha, PhiloxDoubles& random) {
  if (!(alpha >= 0)) return std::numeric_limits<double>::quiet_NaN();
  if (alpha == 1) return -std::log1p(-random.Uniform());
  const double d = alpha + (alpha < 1 ? 2.0 / 3 : -1.0 / 3), c = 1.0 / 3 / std::sqrt(d);
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    const double x = random.Normal();
    double v = 1 + c * x;
    if (v <= 0) continue;
    v = v * v * v;
    const double u = random.Uniform();
    if (u < 1 - 0.0331 * (x * x) * (x * x) ||
        std::log(u) < 0.5 * x * x + d * (1 - v + std::log(v))) {
      return alpha < 1 ? d * v * std::pow(random.Uniform(), 1 / alpha) : d * v;
    }
  }
  return std::numeric_limits<double>::quiet_NaN();
}

// Knuth's method for small rates, Hoermann's transformed rejection for others.
double DrawPoisson(double rate, double most, PhiloxDoubles& random) {
  if (rate < 10) {
    const double limit = std::exp(-rate);
    double product = 1;
    for (double x = 0;; ++x) {
      product *= random.Uniform();
      if (product <= limit) return x;
    }
  }
  if (!std::isfinite(rate)) return rate;
  const double b = 0.931 + 2.53 * std::sqrt(rate), a = -0.059 + 0.02483 * b;
  const double inv_alpha = 1.1239 + 1.1328 / (b - 3.4);
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    const double u = random.Uniform() - 0.5, v = random.Uniform();
    const double distance = 0.5 - std::abs(u);
    const double k = std::floor((2 * a / distance + b) * u + rate + 0.43);
    if (k > most) continue;
    if (distance >= 0.07 && v <= 0.9277 - 3.6224 / (b - 2)) return k;
    if (k < 0 || (distance < 0.013 && v > distance)) continue;
    const double s = std::log(v * inv_alpha / (a / (distance * distance) + b));
    if (s <= -rate + k * std::log(rate) - std::lgamma(k + 1)) return k;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

// Sums geometric variables: the number of successes for small count * p.
double DrawBinomialByInversion(double count, double p, PhiloxDoubles& random) {
  double sum = 0;
  for (int successes = 0; successes < kMaxAttempts; ++successes) {
    sum += std::ceil(std::log(random.Uniform()) / std::log1p(-p));
    if (sum > count) return successes;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

// What Stirling's formula leaves of ln(k!).
double StirlingTail(double k) {
  static constexpr double kTail[] = {0.0810614667953272,  0.0413406959554092, 0.0276779256849983,
                                     0.02079067210376509, 0.0166446911898211, 0.0138761288230707,
                                     0.0118967099458917,  0.0104112652619720, 0.00925546218271273,
                                     0.00833056343336287};
  if (k >= 0 && k <= 9) return kTail[static_cast<int>(k)];
  const double square = (k + 1) * (k + 1);
  return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / square) / square) / (k + 1);
}

// Hoermann's transformed rejection ("BTRS"), for count * p >= 10 and p <= 1/2.
double DrawBinomialByRejection(double count, double p, PhiloxDoubles& random) {
  const double deviation = std::sqrt(count * p * (1 - p)), b = 1.15 + 2.53 * deviation;
  const double a = -0.0873 + 0.0248 * b + 0.01 * p, c = count * p + 0.5;
  const double v_r = 0.92 - 4.2 / b, r = p / (1 - p);
  const double alpha = (2.83 + 5.1 / b) * deviation, m = std::floor((count + 1) * p);
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    const double u = random.Uniform() - 0.5, v = random.Uniform();
    const double distance = 0.5 - std::abs(u);
    const double k = std::floor((2 * a / distance + b) * u + c);
    if (distance >= 0.07 && v <= v_r) return k;
    if (!(k >= 0 && k <= count)) continue;
    const double bound = (m + 0.5) * std::log((m + 1) / (r * (count - m + 1))) +
                         (count + 1) * std::log((count - m + 1) / (count - k + 1)) +
                         (k + 0.5) * std::log(r * (count - k + 1) / (k + 1)) + StirlingTail(m) +
                         StirlingTail(count - m) - StirlingTail(k) - StirlingTail(count - k);
    if (std::log(v * alpha / (a / (distance * distance) + b)) <= bound) return k;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

double DrawBinomial(double count, double p, PhiloxDoubles& random) {
  if (count <= 0 || p <= 0) return 0;
  if (p >= 1) return count;
  if (p != p || count != count) return std::numeric_limits<double>::quiet_NaN();
  const double rare = p <= 0.5 ? p : 1 - p;
  const double drawn = count * rare >= 10 ? DrawBinomialByRejection(count, rare, random)
                                          : DrawBinomialByInversion(count, rare, random);
  return p <= 0.5 ? drawn : count - drawn;
}

double MostOf(DType dtype) {
  switch (dtype) {
    case DType::kInt32:
      return std::numeric_limits<int32_t>::max();
    case DType::kInt64:
      return static_cast<double>(std::numeric_limits<int64_t>::max());
    case DType::kHalf:
      return 65504;
    case DType::kFloat:
      return std::numeric_limits<float>::max();
    default:
      return std::numeric_limits<double>::max();
  }
}

// ------------------------------------------------------------------------- gamma and Poisson ops

// Output shape: input 0's values, then the shape of the parameters (input 1).
Status AppendedShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(RandomShape(ctx));
  std::vector<int64_t> dims;
  if (!ctx.IntValues(0, &dims) || !ctx.input(1).known_rank()) {
    ctx.set_output(0, Shape::Unknown());
    return Status();
  }
  ctx.set_output(0, Shape(dims).Concat(ctx.input(1)));
  return Status();
}

// INVALID_ARGUMENT unless the output's shape ends with that of the parameters.
Status CheckEndsWith(const Shape& out, const Shape& parameters) {
  const int extra = out.rank() - parameters.rank();
  SM_CHECK_ARG(extra >= 0 && out.Slice(extra, out.rank()) == parameters, "the output's shape ", out,
               " must end with the parameters' shape ", parameters);
  return Status();
}

Status SampleGamma(OpContext& ctx, const Philox& generator, const Tensor& alphas) {
  SM_ASSIGN_OR_RETURN(const std::vector<double> alpha, AsDoubles(alphas));
  return FillSamples(ctx, generator, kReservedWords, alphas.num_elements(), ctx.output(0),
                     [&](int64_t batch, PhiloxDoubles& r) { return DrawGamma(alpha[batch], r); });
}

Status SamplePoisson(OpContext& ctx, const Philox& generator, const Tensor& rates) {
  SM_ASSIGN_OR_RETURN(const std::vector<double> rate, AsDoubles(rates));
  const double most = MostOf(ctx.output_dtype(0));
  const auto draw = [&](int64_t batch, PhiloxDoubles& r) {
    return DrawPoisson(rate[batch], most, r);
  };
  return FillSamples(ctx, generator, kReservedWords, rates.num_elements(), ctx.output(0), draw);
}

using SampleFn = Status (*)(OpContext&, const Philox&, const Tensor&);

// Inputs shape, parameters.
template <SampleFn sample>
StatusOr<KernelPtr> BuildStatefulSample(BuildContext& build) {
  return MakeKernel([state = StatefulPhilox(build)](OpContext& ctx) {
    const int64_t n = ctx.output(0).num_elements();
    return sample(ctx, state.Reserve(ctx, n), ctx.input(1));
  });
}

// Inputs shape, seed, parameters.
template <SampleFn sample>
Status RunStatelessSample(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Philox generator, PhiloxFromSeed(ctx.input(1)));
  SM_RETURN_IF_ERROR(CheckEndsWith(ctx.output(0).shape(), ctx.input(2).shape()));
  return sample(ctx, generator, ctx.input(2));
}

// Inputs shape, key, counter, algorithm, parameters.
template <SampleFn sample>
Status RunStatelessSampleV3(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Philox generator,
                      PhiloxFromKey(ctx.input(1), ctx.input(2), ctx.input(3)));
  SM_RETURN_IF_ERROR(CheckEndsWith(ctx.output(0).shape(), ctx.input(4).shape()));
  return sample(ctx, generator, ctx.input(4));
}

// Steps of the generator that one binomial sample has for itself.
inline constexpr uint64_t kBinomialSteps = 42;

// Inputs shape, seed, counts, probabilities, the last two broadcast to the end of the shape.
Status RunStatelessBinomial(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Philox generator, PhiloxFromSeed(ctx.input(1)));
  const Shape &counts = ctx.input(2).shape(), &probs = ctx.input(3).shape();
  SM_ASSIGN_OR_RETURN(const Shape batch_shape, shape::BroadcastShapes(counts, probs));
  SM_RETURN_IF_ERROR(CheckEndsWith(ctx.output(0).shape(), batch_shape));
  SM_ASSIGN_OR_RETURN(const std::vector<double> count, AsDoubles(ctx.input(2)));
  SM_ASSIGN_OR_RETURN(const std::vector<double> prob, AsDoubles(ctx.input(3)));
  const int64_t batches = batch_shape.num_elements();
  std::vector<int64_t> count_at(batches), prob_at(batches);
  const BroadcastPlan plan = PlanBroadcast({&counts, &probs}, batch_shape);
  ForEachRun(plan, 0, batches, [&](int64_t at, const auto& from, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      count_at[at + i] = from[0] + i * plan.inner.step[0];
      prob_at[at + i] = from[1] + i * plan.inner.step[1];
    }
  });
  return FillSamples(ctx, generator, kBinomialSteps, batches, ctx.output(0),
                     [&](int64_t batch, PhiloxDoubles& r) {
                       return DrawBinomial(count[count_at[batch]], prob[prob_at[batch]], r);
                     });
}

// -------------------------------------------------------------------------------- categorical ops

Status MultinomialShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 2));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 0));
  const int64_t batches = ctx.input(0).known_rank() ? ctx.input(0)[0] : -1;
  int64_t samples = -1;
  if (ctx.IntValue(1, &samples)) {
    SM_CHECK_ARG(samples >= 0, "num_samples should be nonnegative, got ", samples);
    SM_CHECK_ARG(!ctx.input(0).fully_known() || ctx.input(0)[1] > 0,
                 "num_classes should be positive, got ", ctx.input(0)[1]);
  }
  ctx.set_output(0, Shape({batches, samples}));
  return Status();
}

// Cumulative unnormalised probabilities of one row; logits that are not finite have none.
template <class T>
void Accumulate(const T* logits, std::vector<double>* sums) {
  double most = std::numeric_limits<double>::lowest(), total = 0;
  for (size_t j = 0; j < sums->size(); ++j) {
    const double logit = static_cast<double>(logits[j]);
    if (std::isfinite(logit)) most = std::max(most, logit);
  }
  for (size_t j = 0; j < sums->size(); ++j) {
    const double logit = static_cast<double>(logits[j]);
    if (std::isfinite(logit)) total += std::exp(logit - most);
    (*sums)[j] = total;
  }
}

Status SampleCategories(OpContext& ctx, const Philox& generator) {
  const Shape& out = ctx.output(0).shape();
  const size_t classes = static_cast<size_t>(ctx.input(0).shape()[1]);
  PhiloxWords words(generator);
  return VisitDType<kReals>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    const auto* logits = ctx.in<typename decltype(tag)::type>(0);
    return VisitDType<kInt32Or64>(ctx.output_dtype(0), [&](auto out_tag) -> Status {
      auto* y = ctx.out<typename decltype(out_tag)::type>(0);
      std::vector<double> sums(classes);
      for (int64_t row = 0; row < out[0]; ++row) {
        SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
        Accumulate(logits + row * classes, &sums);
        for (int64_t i = 0; i < out[1]; ++i) {
          const uint32_t high = words.Next(), low = words.Next();
          const double target = UniformDouble(high, low) * sums.back();
          *y++ = static_cast<std::decay_t<decltype(*y)>>(
              std::upper_bound(sums.begin(), sums.end(), target) - sums.begin());
        }
      }
      return Status();
    });
  });
}

StatusOr<KernelPtr> BuildMultinomial(BuildContext& build) {
  return MakeKernel([state = StatefulPhilox(build)](OpContext& ctx) {
    const Shape& out = ctx.output(0).shape();
    const uint64_t words = static_cast<uint64_t>(out[0]) * 2 * ((out[1] + 3) / 4 * 4);
    return SampleCategories(ctx, state.Reserve(ctx, words));
  });
}

// Inputs logits, num_samples, seed.
Status RunStatelessMultinomial(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Philox generator, PhiloxFromSeed(ctx.input(2)));
  return SampleCategories(ctx, generator);
}

// ---------------------------------------------------------------------------------------- shuffles

// Output 0 is input 0 with rows permuted: row i changes places with one of the rows from i on.
Status ShuffleRows(OpContext& ctx, const Philox& generator) {
  const Tensor& in = ctx.input(0);
  if (in.shape().rank() == 0 || in.num_elements() == 0) {
    return ctx.ForwardInput(0, 0, in.shape());
  }
  const int64_t rows = in.shape()[0], row_size = in.num_elements() / rows;
  std::vector<int64_t> order(rows);
  std::iota(order.begin(), order.end(), 0);
  PhiloxWords words(generator);
  for (int64_t i = 0; i + 1 < rows; ++i) {
    const uint64_t word = words.Next();
    std::swap(order[i], order[i + word % static_cast<uint64_t>(rows - i)]);
  }
  SM_RETURN_IF_ERROR(ctx.AllocateOutput(0, in.shape()));
  return VisitByElementSize(in.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* x = static_cast<const T*>(in.raw_data());
    T* y = static_cast<T*>(ctx.output(0).raw_mutable_data());
    for (int64_t i = 0; i < rows; ++i) {
      std::copy_n(x + order[i] * row_size, row_size, y + i * row_size);
    }
    return Status();
  });
}

StatusOr<KernelPtr> BuildShuffle(BuildContext& build) {
  return MakeKernel([state = StatefulPhilox(build)](OpContext& ctx) {
    const Shape& in = ctx.input(0).shape();
    return ShuffleRows(ctx, state.ReserveWords(ctx, in.rank() == 0 ? 0 : in[0]));
  });
}

// Inputs value, key, counter, algorithm.
Status RunStatelessShuffle(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Philox generator,
                      PhiloxFromKey(ctx.input(1), ctx.input(2), ctx.input(3)));
  return ShuffleRows(ctx, generator);
}

constexpr OpDef kOps[] = {
    {.signature =
         "Multinomial(logits: T, num_samples: int32) -> (output: output_dtype); seed: int = 0; "
         "seed2: int = 0; T: {float,double,int32,uint8,int16,int8,int64,bfloat16,uint16,half,"
         "uint32,uint64}; output_dtype: {int32,int64} = int64",
     .effects = Effects::kRandom,
     .shape = MultinomialShape,
     .build = BuildMultinomial},
    {.signature =
         "RandomGamma(shape: S, alpha: T) -> (output: T); seed: int = 0; seed2: int = 0; S: "
         "{int32,int64}; T: {half,float,double}",
     .effects = Effects::kRandom,
     .shape = AppendedShape,
     .build = BuildStatefulSample<SampleGamma>},
    {.signature =
         "RandomPoisson(shape: S, rate: dtype) -> (output: dtype); seed: int = 0; seed2: int = "
         "0; S: {int32,int64}; dtype: {half,float,double}",
     .effects = Effects::kRandom,
     .shape = AppendedShape,
     .build = BuildStatefulSample<SamplePoisson>},
    {.signature =
         "RandomPoissonV2(shape: S, rate: R) -> (output: dtype); seed: int = 0; seed2: int = "
         "0; S: {int32,int64}; R: {half,float,double,int32,int64} = double; dtype: {half,float,"
         "double,int32,int64} = int64",
     .effects = Effects::kRandom,
     .shape = AppendedShape,
     .build = BuildStatefulSample<SamplePoisson>},
    {.signature = "RandomShuffle(value: T) -> (output: T); seed: int = 0; seed2: int = 0; T: type",
     .effects = Effects::kRandom,
     .shape = shape::SameAsInput0,
     .build = BuildShuffle},
    {.signature =
         "StatelessMultinomial(logits: T, num_samples: int32, seed: Tseed) -> (output: "
         "output_dtype); T: {float,double,int32,uint8,int16,int8,int64,bfloat16,uint16,half,"
         "uint32,uint64}; Tseed: {int32,int64} = int64; output_dtype: {int32,int64} = int64",
     .shape = MultinomialShape,
     .build = BuildPlain<RunStatelessMultinomial>},
    {.signature =
         "StatelessRandomBinomial(shape: S, seed: Tseed, counts: T, probs: T) -> (output: "
         "dtype); S: {int32,int64}; Tseed: {int32,int64} = int64; T: {half,float,double,int32,"
         "int64} = double; dtype: {half,float,double,int32,int64} = int64",
     .shape = RandomShape,
     .build = BuildPlain<RunStatelessBinomial>},
    {.signature = "StatelessRandomGammaV2(shape: T, seed: Tseed, alpha: dtype) -> (output: dtype); "
                  "dtype: {half,float,double}; T: {int32,int64}; Tseed: {int32,int64} = int64",
     .shape = RandomShape,
     .build = BuildPlain<RunStatelessSample<SampleGamma>>},
    {.signature =
         "StatelessRandomGammaV3(shape: shape_dtype, key: uint64, counter: uint64, alg: int32, "
         "alpha: dtype) -> (output: dtype); dtype: {half,float,double}; shape_dtype: {int32,"
         "int64} = int32",
     .shape = RandomShape,
     .build = BuildPlain<RunStatelessSampleV3<SampleGamma>>},
    {.signature =
         "StatelessRandomPoisson(shape: T, seed: Tseed, lam: Rtype) -> (output: dtype); Rtype: "
         "{half,float,double,int32,int64}; dtype: {half,float,double,int32,int64}; T: {int32,"
         "int64}; Tseed: {int32,int64} = int64",
     .shape = RandomShape,
     .build = BuildPlain<RunStatelessSample<SamplePoisson>>},
    {.signature =
         "StatelessShuffle(value: T, key: uint64, counter: uint64, alg: int32) -> (output: T); "
         "T: type",
     .shape = shape::SameAsInput0,
     .build = BuildPlain<RunStatelessShuffle>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> RandomSamplingOps() { return kOps; }

}  // namespace savedmodel
