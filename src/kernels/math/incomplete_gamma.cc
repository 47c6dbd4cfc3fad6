// Special functions of two and three variables: incomplete gamma and beta, zeta, polygamma.
#include <unsupported/Eigen/SpecialFunctions>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

struct IgammaFn {
  static constexpr double kCost = 200;
  template <class T>
  T operator()(T a, T x) const {
    return Eigen::numext::igamma(a, x);
  }
};

struct IgammacFn {
  static constexpr double kCost = 200;
  template <class T>
  T operator()(T a, T x) const {
    return Eigen::numext::igammac(a, x);
  }
};

struct IgammaGradAFn {
  static constexpr double kCost = 400;
  template <class T>
  T operator()(T a, T x) const {
    return Eigen::numext::igamma_der_a(a, x);
  }
};

// Hurwitz's zeta sums one term per unit below 0: so far below, where the answer is an integer pole
// for float anyway, it is left undefined.
struct ZetaFn {
  static constexpr double kCost = 200;
  template <class T>
  T operator()(T x, T q) const {
    if (q < T(-1e7) && q != std::floor(q)) return std::numeric_limits<T>::quiet_NaN();
    return Eigen::numext::zeta(x, q);
  }
};

struct PolygammaFn {
  static constexpr double kCost = 200;
  template <class T>
  T operator()(T n, T x) const {
    if (x < T(-1e7) && x != std::floor(x)) return std::numeric_limits<T>::quiet_NaN();
    return Eigen::numext::polygamma(n, x);
  }
};

// Inputs have one shape, but for scalars.
Status BetaincShape(ShapeContext& ctx) {
  Shape out;
  for (int i = 0; i < 3; ++i) {
    const Shape& in = ctx.input(i);
    if (!in.known_rank()) return Status();
    if (in.rank() == 0) continue;
    SM_CHECK_ARG(out.rank() == 0 || out.CompatibleWith(in),
                 "Shapes of inputs are inconsistent: ", out, " vs. ", in);
    if (out.rank() == 0) {
      out = in;
    } else {
      SM_ASSIGN_OR_RETURN(out, out.Merge(in));
    }
  }
  ctx.set_output(0, std::move(out));
  return Status();
}

Status RunBetainc(OpContext& ctx) {
  return VisitDType<kFloatDouble>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T *a = ctx.in<T>(0), *b = ctx.in<T>(1), *x = ctx.in<T>(2);
    const int64_t a_step = ctx.input(0).shape().rank() > 0;
    const int64_t b_step = ctx.input(1).shape().rank() > 0;
    const int64_t x_step = ctx.input(2).shape().rank() > 0;
    T* y = ctx.out<T>(0);
    ctx.ParallelFor(ctx.output(0).num_elements(), 300, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        y[i] = Eigen::numext::betainc(a[i * a_step], b[i * b_step], x[i * x_step]);
      }
    });
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "Betainc(a: T, b: T, x: T) -> (z: T); T: {float,double}",
     .shape = BetaincShape,
     .build = BuildPlain<RunBetainc>},
    {.signature = "Igamma(a: T, x: T) -> (z: T); T: {bfloat16,half,float,double}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kFloatDouble, IgammaFn>)>},
    {.signature = "IgammaGradA(a: T, x: T) -> (z: T); T: {float,double}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kFloatDouble, IgammaGradAFn>)>},
    {.signature = "Igammac(a: T, x: T) -> (z: T); T: {bfloat16,half,float,double}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kFloatDouble, IgammacFn>)>},
    {.signature = "Polygamma(a: T, x: T) -> (z: T); T: {float,double}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kFloatDouble, PolygammaFn>)>},
    {.signature = "Zeta(x: T, q: T) -> (z: T); T: {float,double}",
     .shape = shape::Broadcast,
     .build = BuildPlain<(RunBinary<kFloatDouble, ZetaFn>)>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> IncompleteGammaOps() { return kOps; }

}  // namespace savedmodel
