// Conversion between element types.
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/convert.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

inline constexpr DTypeSet kCastable = kNumbers | kQuantized | Only(DType::kBool);

// Clears the low `bits` bits of a mantissa, so that rounding to the narrower type rounds to zero.
template <class Bits, class T>
T ClearLowBits(T x, int bits) {
  Bits u;
  std::memcpy(&u, &x, sizeof(u));
  u &= ~((Bits{1} << bits) - 1);
  std::memcpy(&x, &u, sizeof(u));
  return x;
}

// Mantissa bits of a floating-point type.
template <class T>
constexpr int MantissaBits() {
  if (std::is_same_v<T, half>) return 10;
  if (std::is_same_v<T, bfloat16>) return 7;
  return std::is_same_v<T, float> ? 23 : 52;
}

// `x` as To, rounding to zero where both are floating-point types and To is the narrower.
template <class To, class From>
To TruncatingConvert(From x) {
  if constexpr (std::is_same_v<From, float> && kIsSmallFloat<To>) {
    return Convert<To>(ClearLowBits<uint32_t>(x, 23 - MantissaBits<To>()));
  } else if constexpr (std::is_same_v<From, double> && kIsFloatingPoint<To> &&
                       !std::is_same_v<To, double>) {
    return Convert<To>(ClearLowBits<uint64_t>(x, 52 - MantissaBits<To>()));
  } else {
    return Convert<To>(x);
  }
}

template <class From, class To>
void CastElements(OpContext& ctx, bool truncate) {
  const From* x = ctx.in<From>(0);
  To* y = static_cast<To*>(ctx.output(0).raw_mutable_data());
  ctx.ParallelFor(ctx.input(0).num_elements(), 0.7, [&](int64_t begin, int64_t end) {
    if (truncate) {
      for (int64_t i = begin; i < end; ++i) y[i] = TruncatingConvert<To>(x[i]);
    } else {
#pragma GCC ivdep
      for (int64_t i = begin; i < end; ++i) y[i] = Convert<To>(x[i]);
    }
  });
}

// From or to half and bfloat16 by the compute core, to or from float. False for other types.
bool CastSmallFloats(OpContext& ctx) {
  const DType from = ctx.input(0).dtype(), to = ctx.output_dtype(0);
  const auto is_small = [](DType d) { return (kSmallFloats & Only(d)) != 0; };
  const auto* x = static_cast<const char*>(ctx.input(0).raw_data());
  auto* y = static_cast<char*>(ctx.output(0).raw_mutable_data());
  if (!(is_small(from) && to == DType::kFloat) && !(is_small(to) && from == DType::kFloat)) {
    return false;
  }
  ctx.ParallelFor(ctx.input(0).num_elements(), 0.2, [&](int64_t begin, int64_t end) {
    if (is_small(from)) {
      WidenToFloats(from, x + 2 * begin, end - begin, reinterpret_cast<float*>(y + 4 * begin));
    } else {
      NarrowFloats(to, reinterpret_cast<const float*>(x + 4 * begin), end - begin, y + 2 * begin);
    }
  });
  return true;
}

StatusOr<KernelPtr> BuildCast(BuildContext& build) {
  const DType from = build.input_dtype(0), to = build.output_dtype(0);
  if (from == to) {
    return MakeKernel([](OpContext& ctx) { return ctx.ForwardInput(0, 0, ctx.input(0).shape()); });
  }
  const auto castable = [](DType d) { return (kCastable & Only(d)) != 0; };
  if (!castable(from) || !castable(to)) {
    return Unimplemented("Cast from ", from, " to ", to, " is not supported");
  }
  const bool truncate = build.attrs().Bool("Truncate");
  return MakeKernel([truncate](OpContext& ctx) {
    if (!truncate && CastSmallFloats(ctx)) return Status();
    return VisitDType<kCastable>(ctx.input(0).dtype(), [&](auto from_tag) -> Status {
      return VisitDType<kCastable>(ctx.output_dtype(0), [&](auto to_tag) -> Status {
        CastElements<typename decltype(from_tag)::type, typename decltype(to_tag)::type>(ctx,
                                                                                         truncate);
        return Status();
      });
    });
  });
}

Status BitcastShape(ShapeContext& ctx) {
  const Shape& in = ctx.input(0);
  if (!in.known_rank()) return Status();
  const int64_t from = static_cast<int64_t>(DTypeSize(ctx.attrs().Type("T")));
  const int64_t to = static_cast<int64_t>(DTypeSize(ctx.attrs().Type("type")));
  if (from == to) {
    ctx.set_output(0, in);
  } else if (from > to) {
    ctx.set_output(0, in.WithAppended(from / to));
  } else {
    SM_CHECK_ARG(in.rank() > 0 && (in[in.rank() - 1] == -1 || in[in.rank() - 1] == to / from),
                 "cannot bitcast ", ctx.attrs().Type("T"), in, " to ", ctx.attrs().Type("type"),
                 ": expected a last dimension of ", to / from);
    ctx.set_output(0, in.WithRemoved(in.rank() - 1));
  }
  return Status();
}

Status RunBitcast(OpContext& ctx) {
  const Tensor& in = ctx.input(0);
  if (in.num_bytes() > 0) {
    std::memcpy(ctx.output(0).raw_mutable_data(), in.raw_data(), in.num_bytes());
  }
  return Status();
}

constexpr OpDef kOps[] = {
    {.signature =
         "Bitcast(input: T) -> (output: type); T: {bfloat16,half,float,double,int64,int32,"
         "uint8,uint16,uint32,uint64,int8,int16,complex64,complex128,qint8,quint8,qint16,"
         "quint16,qint32}; type: {bfloat16,half,float,double,int64,int32,uint8,uint16,uint32,"
         "uint64,int8,int16,complex64,complex128,qint8,quint8,qint16,quint16,qint32}",
     .shape = BitcastShape,
     .build = BuildPlain<RunBitcast>},
    {.signature = "Cast(x: SrcT) -> (y: DstT); SrcT: type; DstT: type; Truncate: bool = false",
     .shape = shape::SameAsInput0,
     .build = BuildCast},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> CastOps() { return kOps; }

}  // namespace savedmodel
