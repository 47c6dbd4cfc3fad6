// Sum, Mean, Prod, Max, Min, All, Any, EuclideanNorm.
//
// A reducer is a struct with an accumulator type Acc and static functions: Identity, Load (element
// to accumulator), Combine, Finish (accumulator and number of elements to result).
#include <algorithm>
#include <cmath>
#include <limits>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/kernels/math/convert.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/integer_math.h"
#include "src/kernels/math/math_ops.h"
#include "src/kernels/math/reduction_loops.h"
#include "src/kernels/small_floats.h"

namespace savedmodel {
namespace {

template <class T>
struct SumReducer {
  using Acc = ComputeType<T>;
  static constexpr ScalarOp kOp = ScalarOp::kAdd;
  static Acc Identity() { return Acc(0); }
  static Acc Load(const T& x) { return Acc(x); }
  static Acc Combine(const Acc& a, const Acc& b) { return WrapAdd(a, b); }
  static T Finish(const Acc& a, int64_t) { return T(a); }
};

// Integers are summed in 64 bits.
template <class T>
struct MeanReducer {
  using Acc = std::conditional_t<std::is_integral_v<T>,
                                 std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>,
                                 ComputeType<T>>;
  static constexpr ScalarOp kOp = ScalarOp::kAdd;
  static Acc Identity() { return Acc(0); }
  static Acc Load(const T& x) { return Acc(x); }
  static Acc Combine(const Acc& a, const Acc& b) { return WrapAdd(a, b); }
  static T Finish(const Acc& a, int64_t n) {
    if constexpr (std::is_integral_v<T>) {
      return n == 0 ? T(0) : static_cast<T>(a / static_cast<Acc>(n));
    } else if constexpr (kIsComplex<T>) {
      return a / static_cast<typename T::value_type>(n);
    } else {
      return T(a / static_cast<Acc>(n));
    }
  }
};

template <class T>
struct ProdReducer {
  using Acc = ComputeType<T>;
  static Acc Identity() { return Acc(1); }
  static Acc Load(const T& x) { return Acc(x); }
  static Acc Combine(const Acc& a, const Acc& b) { return WrapMul(a, b); }
  static T Finish(const Acc& a, int64_t) { return T(a); }
};

// NaN wherever an element is NaN.
template <class T>
struct MaxReducer {
  using Acc = ComputeType<T>;
  static constexpr ScalarOp kOp = ScalarOp::kMaximum;
  static Acc Identity() {
    using Limits = std::numeric_limits<Acc>;
    return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
  }
  static Acc Load(const T& x) { return Acc(x); }
  static Acc Combine(Acc a, Acc b) { return a < b || b != b ? b : a; }
  static T Finish(Acc a, int64_t) { return T(a); }
};

template <class T>
struct MinReducer {
  using Acc = ComputeType<T>;
  static constexpr ScalarOp kOp = ScalarOp::kMinimum;
  static Acc Identity() {
    using Limits = std::numeric_limits<Acc>;
    return Limits::has_infinity ? Limits::infinity() : Limits::max();
  }
  static Acc Load(const T& x) { return Acc(x); }
  static Acc Combine(Acc a, Acc b) { return b < a || b != b ? b : a; }
  static T Finish(Acc a, int64_t) { return T(a); }
};

template <class T>
struct EuclideanNormReducer {
  using Acc = ComputeType<T>;
  static Acc Identity() { return Acc(0); }
  static Acc Load(const T& x) {
    if constexpr (kIsComplex<T>) {
      return x * std::conj(x);
    } else {
      return WrapMul(Acc(x), Acc(x));
    }
  }
  static Acc Combine(const Acc& a, const Acc& b) { return WrapAdd(a, b); }
  static T Finish(const Acc& a, int64_t) {
    if constexpr (std::is_integral_v<T>) {
      return FloatToInteger<T>(std::sqrt(static_cast<double>(a)));
    } else {
      return T(std::sqrt(a));
    }
  }
};

template <class T>
struct AllReducer {
  using Acc = bool;
  static bool Identity() { return true; }
  static bool Load(bool x) { return x; }
  static bool Combine(bool a, bool b) { return a & b; }
  static bool Finish(bool a, int64_t) { return a; }
};

template <class T>
struct AnyReducer {
  using Acc = bool;
  static bool Identity() { return false; }
  static bool Load(bool x) { return x; }
  static bool Combine(bool a, bool b) { return a | b; }
  static bool Finish(bool a, int64_t) { return a; }
};

template <class R>
inline constexpr bool kIsSum = false;
template <class T>
inline constexpr bool kIsSum<SumReducer<T>> = true;
template <class T>
inline constexpr bool kIsSum<MeanReducer<T>> = true;

// A contiguous run of at most Reducer::kBlock elements, in 16 interleaved chains that vectorise.
template <class R, class T>
typename R::Acc ReduceBlock(const T* x, int64_t n) {
  using Acc = typename R::Acc;
  constexpr int kLanes = 16;
  if constexpr (std::is_same_v<T, float> && kIsSum<R>) return Vectors().sum(x, n);
  Acc acc = R::Identity();
  int64_t i = 0;
  if constexpr (std::is_same_v<T, float> && !kIsSum<R> && requires { R::kOp; }) {
    constexpr int64_t kRow = 64;  // as rows of so many columns, in the compute core
    if (n >= 2 * kRow) {
      float row[kRow];
      std::copy_n(x, kRow, row);
      Vectors().combine_rows(R::kOp, x + kRow, kRow, n / kRow - 1, kRow, row);
      for (const float best : row) acc = R::Combine(acc, best);
      for (i = n / kRow * kRow; i < n; ++i) acc = R::Combine(acc, x[i]);
      return acc;
    }
  }
  if (n >= 2 * kLanes) {
    Acc lanes[kLanes];
    for (int l = 0; l < kLanes; ++l) lanes[l] = R::Load(x[l]);
    for (i = kLanes; i + kLanes <= n; i += kLanes) {
      for (int l = 0; l < kLanes; ++l) lanes[l] = R::Combine(lanes[l], R::Load(x[i + l]));
    }
    for (int step = kLanes / 2; step > 0; step /= 2) {
      for (int l = 0; l < step; ++l) lanes[l] = R::Combine(lanes[l], lanes[l + step]);
    }
    acc = lanes[0];
  }
  for (; i < n; ++i) acc = R::Combine(acc, R::Load(x[i]));
  return acc;
}

// Reduction of elements T, with what it knows of types left out.
template <template <class> class Reduction, class T>
struct Untyped {
  using R = Reduction<T>;
  using Acc = typename R::Acc;
  static_assert(sizeof(Acc) <= Reducer::kMostBytes);

  static void Identity(int64_t n, void* accumulators) {
    std::fill_n(static_cast<Acc*>(accumulators), n, R::Identity());
  }
  static void Load(const void* x, int64_t n, void* accumulators) {
    for (int64_t i = 0; i < n; ++i) {
      static_cast<Acc*>(accumulators)[i] = R::Load(static_cast<const T*>(x)[i]);
    }
  }
  static void Add(const void* x, int64_t n, void* accumulators) {
    if constexpr (kIsSmallFloat<T>) {
      float wide[Reducer::kBlock];
      WidenToFloats(DTypeOf<T>::value, x, n, wide);
      return Untyped<Reduction, float>::Add(wide, n, accumulators);
    }
    Acc* const to = static_cast<Acc*>(accumulators);
    const T* const from = static_cast<const T*>(x);
    for (int64_t i = 0; i < n; ++i) to[i] = R::Combine(to[i], R::Load(from[i]));
  }
  static void Combine(const void* from, int64_t n, void* accumulators) {
    Acc* const to = static_cast<Acc*>(accumulators);
    for (int64_t i = 0; i < n; ++i) to[i] = R::Combine(to[i], static_cast<const Acc*>(from)[i]);
  }
  [[gnu::noinline]] static void Block(const void* x, int64_t n, void* accumulator) {
    if constexpr (kIsSmallFloat<T>) {
      float wide[Reducer::kBlock];
      WidenToFloats(DTypeOf<T>::value, x, n, wide);
      return Untyped<Reduction, float>::Block(wide, n, accumulator);
    }
    *static_cast<Acc*>(accumulator) = ReduceBlock<R>(static_cast<const T*>(x), n);
  }
  static void Lines(const void* x, int64_t step, int64_t count, int64_t n, void* y) {
    for (int64_t i = 0; i < count; ++i) {
      Acc acc;
      Block(static_cast<const T*>(x) + i * step, n, &acc);
      static_cast<T*>(y)[i] = R::Finish(R::Combine(R::Identity(), acc), n);
    }
  }
  static void Finish(const void* accumulators, int64_t n, int64_t inputs, void* y) {
    for (int64_t i = 0; i < n; ++i) {
      static_cast<T*>(y)[i] = R::Finish(static_cast<const Acc*>(accumulators)[i], inputs);
    }
  }
  static constexpr ScalarOp Op() {
    if constexpr (std::is_same_v<T, float> && requires { R::kOp; }) return R::kOp;
    return ScalarOp::kNone;
  }

  static constexpr Reducer kReducer = {sizeof(T), sizeof(Acc), Op(),  Identity, Load,
                                       Add,       Combine,     Block, Lines,    Finish};
};

template <DTypeSet set, template <class> class R>
Status RunReduction(OpContext& ctx) {
  const Reducer* reducer = nullptr;
  SM_RETURN_IF_ERROR(VisitDType<set>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    reducer = &Untyped<R, T>::kReducer;
    return Status();
  }));
  Reduce(ctx, *reducer, PlanReduction(ctx.input(0).shape(), ctx.IntsInput(1)),
         ctx.input(0).raw_data(), ctx.output(0).raw_mutable_data());
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature = "All(input: bool, reduction_indices: Tidx) -> (output: bool); keep_dims: bool = "
                  "false; Tidx: {int32,int64} = int32",
     .shape = ReductionShape,
     .build = BuildPlain<(RunReduction<Only(DType::kBool), AllReducer>)>},
    {.signature = "Any(input: bool, reduction_indices: Tidx) -> (output: bool); keep_dims: bool = "
                  "false; Tidx: {int32,int64} = int32",
     .shape = ReductionShape,
     .build = BuildPlain<(RunReduction<Only(DType::kBool), AnyReducer>)>},
    {.signature =
         "EuclideanNorm(input: T, reduction_indices: Tidx) -> (output: T); keep_dims: bool = "
         "false; T: {float,double,int32,uint8,int16,int8,complex64,int64,qint8,quint8,qint32,"
         "bfloat16,qint16,quint16,uint16,complex128,half,uint32,uint64}; Tidx: {int32,int64} = "
         "int32",
     .shape = ReductionShape,
     .build = BuildPlain<(RunReduction<kNumbers, EuclideanNormReducer>)>},
    {.signature =
         "Max(input: T, reduction_indices: Tidx) -> (output: T); keep_dims: bool = false; T: "
         "{float,double,int32,uint8,int16,int8,int64,bfloat16,uint16,half,uint32,uint64,qint8,"
         "quint8,qint32,qint16,quint16}; Tidx: {int32,int64} = int32",
     .shape = ReductionShape,
     .build = BuildPlain<(RunReduction<kReals, MaxReducer>)>,
     .per_example = true},
    {.signature =
         "Mean(input: T, reduction_indices: Tidx) -> (output: T); keep_dims: bool = false; T: "
         "{float,double,int32,uint8,int16,int8,complex64,int64,qint8,quint8,qint32,bfloat16,"
         "qint16,quint16,uint16,complex128,half,uint32,uint64}; Tidx: {int32,int64} = int32",
     .shape = ReductionShape,
     .build = BuildPlain<(RunReduction<kNumbers, MeanReducer>)>,
     .per_example = true},
    {.signature =
         "Min(input: T, reduction_indices: Tidx) -> (output: T); keep_dims: bool = false; T: "
         "{float,double,int32,uint8,int16,int8,int64,bfloat16,uint16,half,uint32,uint64,qint8,"
         "quint8,qint32,qint16,quint16}; Tidx: {int32,int64} = int32",
     .shape = ReductionShape,
     .build = BuildPlain<(RunReduction<kReals, MinReducer>)>,
     .per_example = true},
    {.signature =
         "Prod(input: T, reduction_indices: Tidx) -> (output: T); keep_dims: bool = false; T: "
         "{float,double,int32,uint8,int16,int8,complex64,int64,qint8,quint8,qint32,bfloat16,"
         "qint16,quint16,uint16,complex128,half,uint32,uint64}; Tidx: {int32,int64} = int32",
     .shape = ReductionShape,
     .build = BuildPlain<(RunReduction<kNumbers, ProdReducer>)>},
    {.signature =
         "Sum(input: T, reduction_indices: Tidx) -> (output: T); keep_dims: bool = false; T: "
         "{float,double,int32,uint8,int16,int8,complex64,int64,qint8,quint8,qint32,bfloat16,"
         "qint16,quint16,uint16,complex128,half,uint32,uint64}; Tidx: {int32,int64} = int32",
     .shape = ReductionShape,
     .build = BuildPlain<(RunReduction<kNumbers, SumReducer>)>,
     .per_example = true},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ReductionOps() { return kOps; }

}  // namespace savedmodel
