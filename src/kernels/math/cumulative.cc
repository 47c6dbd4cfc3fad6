// Running sums, products and log-sum-exps along an axis.
#include <cmath>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/integer_math.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

template <class T>
struct CumulativeSum {
  static T Identity() { return T(0); }
  static T Combine(const T& a, const T& b) { return WrapAdd(a, b); }
};

template <class T>
struct CumulativeProduct {
  static T Identity() { return T(1); }
  static T Combine(const T& a, const T& b) { return WrapMul(a, b); }
};

// ln(e^a + e^b) without overflow.
template <class T>
struct CumulativeLogSumExp {
  static T Identity() { return -std::numeric_limits<T>::infinity(); }
  static T Combine(T a, T b) {
    if (a != a || b != b) return a + b;
    const T low = std::min(a, b), high = std::max(a, b);
    if (std::isinf(high)) return high;
    return high + std::log1p(std::exp(low - high));
  }
};

Status ScanShape(ShapeContext& ctx) {
  const Shape& in = ctx.input(0);
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 0));
  int64_t axis;
  if (in.known_rank() && ctx.IntValue(1, &axis)) {
    SM_RETURN_IF_ERROR(shape::NormalizeAxis(axis, in.rank()).status());
  }
  ctx.set_output(0, in);
  return Status();
}

struct Scan {
  bool exclusive;
  bool reverse;
};

// Columns [begin, end) of one [size, inner] slice.
template <class Op, class T>
void ScanColumns(const T* x, T* y, int64_t size, int64_t inner, int64_t begin, int64_t end,
                 Scan scan) {
  using C = ComputeType<T>;
  const int64_t step = scan.reverse ? -inner : inner;
  for (int64_t column = begin; column < end; ++column) {
    int64_t at = column + (scan.reverse ? (size - 1) * inner : 0);
    C acc = Op::Identity();
    for (int64_t i = 0; i < size; ++i, at += step) {
      const C next = Op::Combine(acc, static_cast<C>(x[at]));
      y[at] = T(scan.exclusive ? acc : next);
      acc = next;
    }
  }
}

template <DTypeSet set, template <class> class Op>
StatusOr<KernelPtr> BuildScan(BuildContext& build) {
  const Scan scan{build.attrs().Bool("exclusive"), build.attrs().Bool("reverse")};
  return MakeKernel([scan](OpContext& ctx) {
    const Shape& in = ctx.input(0).shape();
    SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(ctx.IntInput(1), in.rank()));
    const int64_t size = in[axis], inner = in.Product(axis + 1, in.rank());
    const int64_t lines = size == 0 ? 0 : in.num_elements() / size;
    return VisitDType<set>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      const T* x = ctx.in<T>(0);
      T* y = ctx.out<T>(0);
      ctx.ParallelFor(lines, 2.0 * size, [&](int64_t begin, int64_t end) {
        while (begin < end) {
          const int64_t outer = begin / inner, column = begin % inner;
          const int64_t count = std::min(inner - column, end - begin);
          ScanColumns<Op<ComputeType<T>>>(x + outer * size * inner, y + outer * size * inner, size,
                                          inner, column, column + count, scan);
          begin += count;
        }
      });
      return Status();
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature =
         "Cumprod(x: T, axis: Tidx) -> (out: T); exclusive: bool = false; reverse: bool = "
         "false; T: {float,double,int32,uint8,int16,int8,complex64,int64,qint8,quint8,qint32,"
         "bfloat16,qint16,quint16,uint16,complex128,half,uint32,uint64}; Tidx: {int32,int64} = "
         "int32",
     .shape = ScanShape,
     .build = (BuildScan<kNumbers, CumulativeProduct>),
     .in_place = InPlace::kInput0},
    {.signature =
         "Cumsum(x: T, axis: Tidx) -> (out: T); exclusive: bool = false; reverse: bool = "
         "false; T: {float,double,int32,uint8,int16,int8,complex64,int64,qint8,quint8,qint32,"
         "bfloat16,qint16,quint16,uint16,complex128,half,uint32,uint64}; Tidx: {int32,int64} = "
         "int32",
     .shape = ScanShape,
     .build = (BuildScan<kNumbers, CumulativeSum>),
     .in_place = InPlace::kInput0},
    {.signature =
         "CumulativeLogsumexp(x: T, axis: Tidx) -> (out: T); exclusive: bool = false; reverse: "
         "bool = false; T: {bfloat16,half,float,double}; Tidx: {int32,int64} = int32",
     .shape = ScanShape,
     .build = (BuildScan<kFloats, CumulativeLogSumExp>),
     .in_place = InPlace::kInput0},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> CumulativeOps() { return kOps; }

}  // namespace savedmodel
