#include "src/kernels/math/philox.h"

#include <algorithm>
#include <mutex>
#include <random>

#include "savedmodel/resource.h"
#include "src/base/resource_table.h"
#include "src/kernels/math/elementwise.h"

namespace savedmodel {
namespace {

class PhiloxResource final : public Resource {
 public:
  explicit PhiloxResource(const Philox& generator) : generator_(generator) {}
  std::string_view kind() const override { return "random generator"; }
  StatusOr<ResourceRef> Clone() const override {
    std::lock_guard<std::mutex> lock(mutex_);
    return ResourceRef(std::make_shared<PhiloxResource>(generator_));
  }
  Philox Reserve(uint64_t steps) {
    std::lock_guard<std::mutex> lock(mutex_);
    const Philox reserved = generator_;
    generator_.Skip(steps);
    return reserved;
  }

 private:
  mutable std::mutex mutex_;
  Philox generator_;
};

// Elements made from one step of the generator.
template <class T>
constexpr int64_t kGroup = sizeof(T) == 8 ? 2 : 4;

template <class T>
T UniformElement(const Philox::Words& w, int64_t i) {
  if constexpr (std::is_same_v<T, float>) {
    return UniformFloat(w[i]);
  } else if constexpr (std::is_same_v<T, double>) {
    return UniformDouble(w[2 * i], w[2 * i + 1]);
  } else if constexpr (std::is_same_v<T, half>) {
    return half(float(half::FromBits(static_cast<uint16_t>(0x3c00u | (w[i] & 0x3ffu)))) - 1.0f);
  } else {
    return bfloat16(float(bfloat16::FromBits(static_cast<uint16_t>(0x3f80u | (w[i] & 0x7fu)))) -
                    1.0f);
  }
}

template <class T>
struct UniformGroup {
  std::array<T, kGroup<T>> operator()(Philox& generator) const {
    const Philox::Words w = generator.Next();
    std::array<T, kGroup<T>> group;
    for (int64_t i = 0; i < kGroup<T>; ++i) group[i] = UniformElement<T>(w, i);
    return group;
  }
};

template <class T>
struct NormalGroup {
  std::array<T, kGroup<T>> operator()(Philox& generator) const {
    const Philox::Words w = generator.Next();
    if constexpr (std::is_same_v<T, double>) {
      return NormalPair(UniformDouble(w[0], w[1]), UniformDouble(w[2], w[3]));
    } else {
      const auto a = NormalPair(UniformFloat(w[0]), UniformFloat(w[1]));
      const auto b = NormalPair(UniformFloat(w[2]), UniformFloat(w[3]));
      return {T(a[0]), T(a[1]), T(b[0]), T(b[1])};
    }
  }
};

// Normal numbers, drawn again while they are 2 or more from 0.
template <class T>
struct TruncatedNormalGroup {
  std::array<T, kGroup<T>> operator()(Philox& generator) const {
    PhiloxWords words(generator);
    std::array<T, kGroup<T>> group;
    int64_t filled = 0;
    while (true) {
      for (const auto x : Pair(words)) {
        if (std::abs(x) < 2) group[filled++] = T(x);
        if (filled == kGroup<T>) return group;
      }
    }
  }
  static auto Pair(PhiloxWords& words) {
    const uint32_t w0 = words.Next(), w1 = words.Next();
    if constexpr (std::is_same_v<T, double>) {
      const uint32_t w2 = words.Next(), w3 = words.Next();
      return NormalPair(UniformDouble(w0, w1), UniformDouble(w2, w3));
    } else {
      return NormalPair(UniformFloat(w0), UniformFloat(w1));
    }
  }
};

template <class T>
struct IntGroup {
  std::array<T, kGroup<T>> operator()(Philox& generator) const {
    const Philox::Words w = generator.Next();
    std::array<T, kGroup<T>> group;
    for (int64_t i = 0; i < kGroup<T>; ++i) {
      if constexpr (sizeof(T) == 8) {
        group[i] = static_cast<T>(w[2 * i] | uint64_t{w[2 * i + 1]} << 32);
      } else {
        group[i] = static_cast<T>(w[i]);
      }
    }
    return group;
  }
};

// Fills `out` by groups; group g starts g * `steps` steps behind `generator`.
template <class T, class Group>
void Fill(OpContext& ctx, const Philox& generator, uint64_t steps, Group group_of, Tensor& out) {
  T* y = static_cast<T*>(out.raw_mutable_data());
  const int64_t n = out.num_elements(), groups = (n + kGroup<T> - 1) / kGroup<T>;
  ctx.ParallelFor(groups, 40, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      Philox at = generator;
      at.Skip(static_cast<uint64_t>(g) * steps);
      const auto group = group_of(at);
      std::copy_n(group.begin(), std::min(kGroup<T>, n - g * kGroup<T>), y + g * kGroup<T>);
    }
  });
}

}  // namespace

StatusOr<Philox> PhiloxFromSeed(const Tensor& seed) {
  SM_CHECK_ARG(seed.shape() == Shape({2}), "seed must have shape [2], not ", seed.shape());
  uint64_t seeds[2] = {};
  SM_RETURN_IF_ERROR(VisitDType<kInts>(seed.dtype(), [&](auto tag) -> Status {
    const auto* values = seed.data<typename decltype(tag)::type>();
    for (int i = 0; i < 2; ++i) seeds[i] = static_cast<uint64_t>(values[i]);
    return Status();
  }));
  // Mixing lets either half of the seed be weak.
  const Philox::Words mix = Philox(0x02461e293ec8f720u, seeds[0], seeds[1]).Next();
  return Philox(mix[0] | uint64_t{mix[1]} << 32, 0, mix[2] | uint64_t{mix[3]} << 32);
}

Status CheckRandomAlgorithm(int64_t algorithm) {
  SM_CHECK_ARG(algorithm == 1 || algorithm == 3, "unsupported random algorithm ", algorithm,
               ", expected 1 (Philox) or 3 (automatic)");
  return Status();
}

StatusOr<Philox> PhiloxFromKey(const Tensor& key, const Tensor& counter, const Tensor& algorithm) {
  SM_CHECK_ARG(algorithm.shape().rank() == 0, "algorithm must be a scalar, not ",
               algorithm.shape());
  SM_RETURN_IF_ERROR(CheckRandomAlgorithm(*algorithm.data<int32_t>()));
  SM_CHECK_ARG(key.shape() == Shape({1}), "key must have shape [1], not ", key.shape());
  SM_CHECK_ARG(counter.shape().rank() == 1 && counter.shape()[0] >= 2,
               "counter must be a vector of at least 2 elements, not ", counter.shape());
  const uint64_t* c = counter.data<uint64_t>();
  return Philox(*key.data<uint64_t>(), c[0], c[1]);
}

StatefulPhilox::StatefulPhilox(const BuildContext& build)
    : key_(ResourceTable::Key("random generator", "", build.node_name())),
      seed_(static_cast<uint64_t>(build.attrs().Int("seed"))),
      seed2_(static_cast<uint64_t>(build.attrs().Int("seed2"))) {}

Philox StatefulPhilox::ReserveWords(OpContext& ctx, uint64_t words) const {
  ResourceRef resource = ctx.run().resources->GetOrCreate(key_, [&]() -> ResourceRef {
    uint64_t seed = seed_, seed2 = seed2_;
    if (seed == 0 && seed2 == 0) {
      std::random_device device;
      seed = device() | uint64_t{device()} << 32;
      seed2 = device() | uint64_t{device()} << 32;
    }
    return std::make_shared<PhiloxResource>(Philox(seed, seed2));
  });
  return static_cast<PhiloxResource&>(*resource).Reserve((words + 3) / 4);
}

Status RandomShapeFromInput(ShapeContext& ctx, int input) {
  const Shape& in = ctx.input(input);
  SM_CHECK_ARG(!in.known_rank() || in.rank() == 1, "shape must be a vector, found shape ", in);
  std::vector<int64_t> dims;
  if (!ctx.IntValues(input, &dims)) {
    if (in.fully_known()) ctx.set_output(0, Shape::UnknownOfRank(static_cast<int>(in[0])));
    return Status();
  }
  for (int64_t d : dims) SM_CHECK_ARG(d >= 0, "shape has a dimension ", d, ", expected >= 0");
  SM_ASSIGN_OR_RETURN(Shape out, Shape::Make(dims));
  ctx.set_output(0, std::move(out));
  return Status();
}

Status RandomShape(ShapeContext& ctx) { return RandomShapeFromInput(ctx, 0); }

Status FillRandom(OpContext& ctx, Distribution distribution, const Philox& generator, Tensor& out) {
  if (distribution == Distribution::kFullInt) {
    constexpr DTypeSet kWide = kInt32Or64 | Only(DType::kUInt32) | Only(DType::kUInt64);
    return VisitDType<kWide>(out.dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      Fill<T>(ctx, generator, 1, IntGroup<T>(), out);
      return Status();
    });
  }
  return VisitDType<kFloats>(out.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    if (distribution == Distribution::kUniform) {
      Fill<T>(ctx, generator, 1, UniformGroup<T>(), out);
    } else if (distribution == Distribution::kNormal) {
      Fill<T>(ctx, generator, 1, NormalGroup<T>(), out);
    } else {
      Fill<T>(ctx, generator, kGroup<T> * kReservedWords / 4, TruncatedNormalGroup<T>(), out);
    }
    return Status();
  });
}

Status FillUniformInt(OpContext& ctx, const Philox& generator, const Tensor& low,
                      const Tensor& high, Tensor& out) {
  SM_CHECK_ARG(low.shape().rank() == 0 && high.shape().rank() == 0,
               "minval and maxval must be scalars, found shapes ", low.shape(), " and ",
               high.shape());
  if (out.num_elements() == 0) return Status();
  constexpr DTypeSet kWide = kInt32Or64 | Only(DType::kUInt32) | Only(DType::kUInt64);
  return VisitDType<kWide>(out.dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    using U = std::make_unsigned_t<T>;
    const T least = *low.data<T>(), limit = *high.data<T>();
    SM_CHECK_ARG(least < limit, "Need minval < maxval, got ", least, " >= ", limit);
    const U range = static_cast<U>(limit) - static_cast<U>(least);
    const auto group_of = [least, range](Philox& at) {
      auto group = IntGroup<T>()(at);
      for (T& x : group) {
        x = static_cast<T>(static_cast<U>(least) + static_cast<U>(x) % range);
      }
      return group;
    };
    Fill<T>(ctx, generator, 1, group_of, out);
    return Status();
  });
}

}  // namespace savedmodel
