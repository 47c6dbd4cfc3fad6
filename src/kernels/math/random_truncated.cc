// Normal numbers between given bounds, crops at random places, and a keyed permutation of indices.
#include <algorithm>
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/math_ops.h"
#include "src/kernels/math/philox.h"

namespace savedmodel {
namespace {

// ----------------------------------------------------------------------- truncated normal numbers

// Uniform and normal numbers of type T in groups of one generator step.
template <class T>
struct Groups {
  static constexpr int kSize = std::is_same_v<T, double> ? 2 : 4;
  using Group = std::array<T, kSize>;
  Group Uniform() {
    const Philox::Words w = generator.Next();
    if constexpr (std::is_same_v<T, double>) {
      return {UniformDouble(w[0], w[1]), UniformDouble(w[2], w[3])};
    } else {
      return {UniformFloat(w[0]), UniformFloat(w[1]), UniformFloat(w[2]), UniformFloat(w[3])};
    }
  }
  Group Normal() {
    const Group u = Uniform();
    if constexpr (std::is_same_v<T, double>) {
      return NormalPair(u[0], u[1]);
    } else {
      const auto a = NormalPair(u[0], u[1]), b = NormalPair(u[2], u[3]);
      return {a[0], a[1], b[0], b[1]};
    }
  }
  Philox generator;
};

template <class T>
struct TruncatedNormal {
  T mean, deviation, low, high;

  bool Valid() const {
    return deviation > 0 && low < high && std::isfinite(mean) &&
           (std::isfinite(low) || std::isfinite(high));
  }

  // Calls `emit(sample)` until it returns false. Three rejection samplers, each where it accepts
  // often: from the normal itself, from a uniform, from an exponential distribution.
  template <class Emit>
  void Sample(Groups<T>& random, Emit emit) const {
    constexpr int kMostAttempts = 1000;
    T from = low, to = high, scale = deviation;
    if ((std::isinf(from) && from < 0) || to < mean) {  // mirrored, so that `from` bounds
      std::swap(from, to);
      scale = -scale;
    }
    const T least = (from - mean) / scale, most = (to - mean) / scale;
    const T root = std::sqrt(least * least + 4);
    const T cutoff = 2 * std::exp(T(0.5) + least * (least - root) / 4) / (least + root);
    int attempts = 0;
    const auto give = [&](bool accept, T z) {  // false when done
      if (!accept && ++attempts < kMostAttempts) return true;
      attempts = 0;
      return emit(z * scale + mean);
    };
    if ((least < T(-1.7) && most >= 0) || (most > T(1.7) && least <= 0)) {
      while (true) {
        for (const T z : random.Normal()) {
          if (!give(z >= least && z <= most, z)) return;
        }
      }
    } else if (most - least < cutoff) {
      const T plus = least < 0 ? T(0) : least * least;
      while (true) {
        const auto place = random.Uniform(), u = random.Uniform();
        for (int i = 0; i < Groups<T>::kSize; ++i) {
          const T z = place[i] * (most - least) + least;
          if (!give(u[i] <= std::exp((plus - z * z) / 2), z)) return;
        }
      }
    } else {
      const T alpha = (least + root) / 2;
      while (true) {
        const auto u = random.Uniform();
        for (int i = 0; i + 1 < Groups<T>::kSize; i += 2) {
          const T z = -std::log(u[i]) / alpha + least;
          const T x = least < alpha ? alpha - z : least - alpha;
          if (!give(u[i + 1] <= std::exp(-x * x / 2) && z < most, z)) return;
        }
      }
    }
  }
};

// Samples `per_batch` numbers for each of `batches`; sample s of batch b goes to
// b * batch_step + s * sample_step. Parameter inputs start at `first`; `at(b, k)` is the element
// of parameter k for batch b.
template <class T, class At>
Status SampleTruncated(OpContext& ctx, const Philox& generator, int first, int64_t batches,
                       int64_t per_batch, int64_t batch_step, int64_t sample_step, At at) {
  using C = ComputeType<T>;
  T* y = ctx.out<T>(0);
  Groups<C> random{generator};
  for (int64_t b = 0; b < batches && per_batch > 0; ++b) {
    SM_RETURN_IF_ERROR(ctx.CheckInterrupt());
    C p[4];
    for (int k = 0; k < 4; ++k) p[k] = static_cast<C>(ctx.in<T>(first + k)[at(b, k)]);
    const TruncatedNormal<C> distribution{p[0], p[1], p[2], p[3]};
    SM_CHECK_ARG(distribution.Valid(), "Invalid parameters: mean ", static_cast<double>(p[0]),
                 ", standard deviation ", static_cast<double>(p[1]), ", bounds ",
                 static_cast<double>(p[2]), " and ", static_cast<double>(p[3]));
    int64_t s = 0;
    distribution.Sample(random, [&](C sample) {
      y[b * batch_step + s * sample_step] = T(sample);
      return ++s < per_batch;
    });
  }
  return Status();
}

// Parameters are scalars or have an element for each index of the output's first dimension.
StatusOr<KernelPtr> BuildParameterized(BuildContext& build) {
  return MakeKernel([state = StatefulPhilox(build)](OpContext& ctx) -> Status {
    const Shape& out = ctx.output(0).shape();
    SM_CHECK_ARG(out.rank() > 0, "shape must not be empty");
    if (out.num_elements() == 0) return Status();
    std::array<bool, 4> single;
    for (int k = 0; k < 4; ++k) {
      const Shape& in = ctx.input(1 + k).shape();
      single[k] = in.num_elements() == 1;
      SM_CHECK_ARG(in.rank() <= 1 && (single[k] || in.num_elements() == out[0]), "parameter ", k,
                   " has shape ", in, ", expected a scalar or [", out[0], "]");
    }
    const int64_t per_batch = out.num_elements() / out[0];
    const Philox generator = state.Reserve(ctx, out.num_elements() * 2);
    return VisitDType<kFloats>(ctx.output_dtype(0), [&](auto tag) {
      return SampleTruncated<typename decltype(tag)::type>(
          ctx, generator, 1, out[0], per_batch, per_batch, 1,
          [&](int64_t b, int k) { return single[k] ? 0 : b; });
    });
  });
}

// Inputs shape, seed, and four parameters that broadcast to the end of the shape.
Status RunStatelessParameterized(OpContext& ctx) {
  SM_ASSIGN_OR_RETURN(const Philox generator, PhiloxFromSeed(ctx.input(1)));
  const Shape& out = ctx.output(0).shape();
  Shape batch;
  for (int k = 0; k < 4; ++k) {
    SM_ASSIGN_OR_RETURN(batch, shape::BroadcastShapes(batch, ctx.input(2 + k).shape()));
  }
  const int extra = out.rank() - batch.rank();
  SM_CHECK_ARG(extra >= 0 && out.Slice(extra, out.rank()) == batch, "shape ", out,
               " must end with the parameters' broadcast shape ", batch);
  const int64_t batches = batch.num_elements();
  if (out.num_elements() == 0) return Status();
  std::vector<std::array<int64_t, 4>> at(batches);
  const BroadcastPlan plan = PlanBroadcast(
      {&ctx.input(2).shape(), &ctx.input(3).shape(), &ctx.input(4).shape(), &ctx.input(5).shape()},
      batch);
  ForEachRun(plan, 0, batches, [&](int64_t b, const auto& from, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      for (int k = 0; k < 4; ++k) at[b + i][k] = from[k] + i * plan.inner.step[k];
    }
  });
  return VisitDType<kFloats>(ctx.output_dtype(0), [&](auto tag) {
    return SampleTruncated<typename decltype(tag)::type>(
        ctx, generator, 2, batches, out.num_elements() / batches, 1, batches,
        [&](int64_t b, int k) { return at[b][k]; });
  });
}

// ------------------------------------------------------------------------------------------ crops

Status CropShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 3));
  SM_CHECK_ARG(ctx.input(1).CompatibleWith(Shape({2})), "size must have shape [2], found ",
               ctx.input(1));
  std::vector<int64_t> size;
  if (!ctx.input(0).known_rank() || !ctx.IntValues(1, &size)) {
    ctx.set_output(0, Shape::UnknownOfRank(3));
    return Status();
  }
  const Shape& image = ctx.input(0);
  for (int d = 0; d < 2; ++d) {
    SM_CHECK_ARG(size[d] > 0, "size must be positive, found [", size[0], ",", size[1], "]");
    if (image[d] != -1 && size[d] > image[d]) {
      return FailedPrecondition("cannot crop ", image, " to size [", size[0], ",", size[1], "]");
    }
  }
  ctx.set_output(0, Shape({size[0], size[1], image[2]}));
  return Status();
}

StatusOr<KernelPtr> BuildCrop(BuildContext& build) {
  return MakeKernel([state = StatefulPhilox(build)](OpContext& ctx) -> Status {
    const Shape &in = ctx.input(0).shape(), &out = ctx.output(0).shape();
    PhiloxWords words(state.ReserveWords(ctx, 2));
    int64_t corner[2] = {0, 0};
    for (int d = 0; d < 2; ++d) {
      if (in[d] > out[d]) corner[d] = words.Next() % (in[d] - out[d] + 1);
    }
    const size_t pixel = static_cast<size_t>(in[2]) * DTypeSize(ctx.input(0).dtype());
    const char* x = static_cast<const char*>(ctx.input(0).raw_data());
    char* y = static_cast<char*>(ctx.output(0).raw_mutable_data());
    for (int64_t row = 0; row < out[0]; ++row) {
      const char* from = x + ((corner[0] + row) * in[1] + corner[1]) * pixel;
      std::copy_n(from, out[1] * pixel, y + row * out[1] * pixel);
    }
    return Status();
  });
}

// ------------------------------------------------------------------------------ keyed permutation

// The block cipher Simon over blocks of twice `width` bits, with few rounds: enough to shuffle.
class IndexCipher {
 public:
  IndexCipher(int width, const std::array<uint64_t, 3>& key, int rounds)
      : width_(width), mask_(width == 64 ? ~uint64_t{0} : (uint64_t{1} << width) - 1) {
    uint64_t z = 0x7369f885192c0ef5u & mask_;
    for (uint64_t k : key) keys_.push_back(k & mask_);
    for (int i = 3; i < rounds; ++i) {
      const uint64_t last = keys_[i - 1];
      keys_.push_back((0xfffffffcu & mask_) ^ (z & 1) ^ keys_[i - 3] ^ Left(last, width_ - 3) ^
                      Left(last, width_ - 4));
      z >>= 1;
    }
  }

  uint64_t Encrypt(uint64_t block) const {
    uint64_t high = (block >> width_) & mask_, low = block & mask_;
    for (size_t i = 0; i + 1 < keys_.size(); i += 2) {
      high ^= Mix(low) ^ keys_[i];
      low ^= Mix(high) ^ keys_[i + 1];
    }
    return high << width_ | low;
  }

 private:
  uint64_t Left(uint64_t x, int n) const { return (x << n | x >> (width_ - n)) & mask_; }
  uint64_t Mix(uint64_t x) const { return (Left(x, 1) & Left(x, 8)) ^ Left(x, 2); }

  int width_;
  uint64_t mask_;
  std::vector<uint64_t> keys_;
};

Status IndexShuffleShape(ShapeContext& ctx) {
  const Shape &index = ctx.input(0), &seed = ctx.input(1), &most = ctx.input(2);
  if (!index.known_rank() || !seed.known_rank() || !most.known_rank()) return Status();
  SM_CHECK_ARG(index.rank() <= 1 && most.rank() <= 1 && (seed.rank() == 1 || seed.rank() == 2),
               "found index ", index, ", seed ", seed, ", max_index ", most,
               "; expected at most vectors, and a seed of shape [3] or [n,3]");
  const int64_t seed_size = seed[seed.rank() - 1];
  SM_CHECK_ARG(seed_size == 3 || seed_size == -1, "seed has shape ", seed,
               ", expected a last dimension of 3");
  Shape out;
  for (const Shape& batch : {index, seed.Slice(0, seed.rank() - 1), most}) {
    if (batch.rank() == 0) continue;
    if (out.rank() == 0) {
      out = batch;
      continue;
    }
    SM_ASSIGN_OR_RETURN(out, shape::BroadcastShapes(out, batch));
  }
  ctx.set_output(0, std::move(out));
  return Status();
}

StatusOr<std::vector<uint64_t>> AsUnsigned(const Tensor& t) {
  constexpr DTypeSet kIndexTypes = kInt32Or64 | Only(DType::kUInt32) | Only(DType::kUInt64);
  std::vector<uint64_t> values(t.num_elements());
  SM_RETURN_IF_ERROR(VisitDType<kIndexTypes>(t.dtype(), [&](auto tag) -> Status {
    const auto* x = t.data<typename decltype(tag)::type>();
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint64_t>(x[i]);
    return Status();
  }));
  return values;
}

// The place of `index` in a permutation of [0, most]: encrypted until it falls inside.
StatusOr<uint64_t> Shuffled(uint64_t index, const std::array<uint64_t, 3>& key, uint64_t most,
                            int rounds) {
  SM_CHECK_ARG(index <= most && most <= static_cast<uint64_t>(INT64_MAX), "index ", index,
               " is outside [0, ", most, "]");
  int bits = 16;
  while (bits < 63 && most > uint64_t{1} << bits) ++bits;
  const IndexCipher cipher((bits + 1) / 2, key, rounds);
  do {
    index = cipher.Encrypt(index);
  } while (index > most);
  return index;
}

StatusOr<KernelPtr> BuildIndexShuffle(BuildContext& build) {
  const int64_t rounds = build.attrs().Int("rounds");
  SM_CHECK_ARG(rounds >= 4 && rounds % 2 == 0 && rounds <= 1024,
               "rounds must be even and >= 4, found ", rounds);
  return MakeKernel([rounds = static_cast<int>(rounds)](OpContext& ctx) -> Status {
    SM_ASSIGN_OR_RETURN(const std::vector<uint64_t> index, AsUnsigned(ctx.input(0)));
    SM_ASSIGN_OR_RETURN(const std::vector<uint64_t> seed, AsUnsigned(ctx.input(1)));
    SM_ASSIGN_OR_RETURN(const std::vector<uint64_t> most, AsUnsigned(ctx.input(2)));
    const size_t n = static_cast<size_t>(ctx.output(0).num_elements());
    std::vector<uint64_t> result(n);
    for (size_t i = 0; i < n; ++i) {
      const uint64_t* s = seed.data() + (seed.size() == 3 ? 0 : 3 * i);
      SM_ASSIGN_OR_RETURN(result[i],
                          Shuffled(index[index.size() == 1 ? 0 : i],
                                   {s[0] & 0xffffffffu, s[1] & 0xffffffffu, s[2] & 0xffffffffu},
                                   most[most.size() == 1 ? 0 : i], rounds));
    }
    constexpr DTypeSet kIndexTypes = kInt32Or64 | Only(DType::kUInt32) | Only(DType::kUInt64);
    return VisitDType<kIndexTypes>(ctx.output_dtype(0), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      std::transform(result.begin(), result.end(), ctx.out<T>(0),
                     [](uint64_t x) { return static_cast<T>(x); });
      return Status();
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature =
         "ParameterizedTruncatedNormal(shape: T, means: dtype, stdevs: dtype, minvals: dtype, "
         "maxvals: dtype) -> (output: dtype); seed: int = 0; seed2: int = 0; dtype: {half,"
         "bfloat16,float,double}; T: {int32,int64}",
     .effects = Effects::kRandom,
     .shape = RandomShape,
     .build = BuildParameterized},
    {.signature =
         "RandomCrop(image: T, size: int64) -> (output: T); T: {uint8,int8,int16,int32,int64,"
         "float,double}; seed: int = 0; seed2: int = 0",
     .effects = Effects::kRandom,
     .shape = CropShape,
     .build = BuildCrop},
    {.signature =
         "RandomIndexShuffle(index: dtype, seed: Tseed, max_index: dtype) -> (output: dtype); "
         "rounds: int = 4; dtype: {int32,uint32,int64,uint64}; Tseed: {int32,uint32,int64,"
         "uint64}",
     .shape = IndexShuffleShape,
     .build = BuildIndexShuffle},
    {.signature =
         "StatelessParameterizedTruncatedNormal(shape: S, seed: Tseed, means: dtype, stddevs: "
         "dtype, minvals: dtype, maxvals: dtype) -> (output: dtype); S: {int32,int64}; Tseed: "
         "{int32,int64} = int64; dtype: {half,float,double}",
     .shape = RandomShape,
     .build = BuildPlain<RunStatelessParameterized>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> RandomTruncatedOps() { return kOps; }

}  // namespace savedmodel
