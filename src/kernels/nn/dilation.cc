// Grey-scale morphological dilation.
#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/nn/nn_ops.h"
#include "src/kernels/nn/spatial.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

StatusOr<WindowAttrs> ReadDilationAttrs(const Attrs& list) {
  SM_ASSIGN_OR_RETURN(WindowAttrs attrs, ReadWindowAttrs(list, 2));
  const std::vector<int64_t>& rates = list.Ints("rates");
  SM_CHECK_ARG(rates.size() == 4 && rates[0] == 1 && rates[3] == 1 && rates[1] > 0 &&
                   rates[2] > 0 && rates[1] < (1 << 30) && rates[2] < (1 << 30),
               "found rates ", rates, ", expected [1, rows, columns, 1] with positive values");
  attrs.dilation = {1, rates[1], rates[2]};
  return attrs;
}

Status DilationShape(ShapeContext& ctx) {
  SM_ASSIGN_OR_RETURN(WindowAttrs attrs, ReadDilationAttrs(ctx.attrs()));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(0, 4));
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 3));
  const Shape &input = ctx.input(0), &filter = ctx.input(1);
  if (!filter.known_rank() || !input.known_rank()) {
    ctx.set_output(0, Shape::UnknownOfRank(4));
    return Status();
  }
  SM_CHECK_ARG(input[3] == -1 || filter[2] == -1 || input[3] == filter[2], "input ", input,
               " and filter ", filter, " must have equally many channels");
  attrs.window = {1, filter[0], filter[1]};
  SM_ASSIGN_OR_RETURN(Shape out,
                      WindowOutputShape(attrs, input, input[3] == -1 ? filter[2] : input[3]));
  ctx.set_output(0, std::move(out));
  return Status();
}

template <class T>
T Lowest() {
  if constexpr (std::is_same_v<T, half>) return half::FromBits(0xfbff);
  if constexpr (std::is_same_v<T, bfloat16>) return bfloat16::FromBits(0xff7f);
  return std::numeric_limits<T>::lowest();
}

// x + f; integers wrap around.
template <class T>
T Plus(T x, T f) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(static_cast<uint64_t>(x) + static_cast<uint64_t>(f));
  } else {
    return x + f;
  }
}

template <class T>
void Dilate(OpContext& ctx, const WindowGeometry& g, const T* x, const T* filter, T* y) {
  const double cost = 0.5 * static_cast<double>(g.taps()) * g.channels;
  ctx.ParallelFor(g.batch * g.out_pixels(), cost, [&](int64_t begin, int64_t end) {
    for (int64_t pixel = begin; pixel < end; ++pixel) {
      const int64_t left = pixel % g.out[2] * g.stride[2] - g.before[2];
      const int64_t top = pixel / g.out[2] % g.out[1] * g.stride[1] - g.before[1];
      const T* image = x + pixel / g.out_pixels() * g.in_pixels() * g.channels;
      const TapRange rows = TapsInside(top, g.window[1], g.dilation[1], g.in[1]);
      const TapRange columns = TapsInside(left, g.window[2], g.dilation[2], g.in[2]);
      T* best = y + pixel * g.channels;
      std::fill_n(best, g.channels, Lowest<T>());
      for (int64_t kh = rows.begin; kh < rows.end; ++kh) {
        for (int64_t kw = columns.begin; kw < columns.end; ++kw) {
          const int64_t h = top + kh * g.dilation[1], w = left + kw * g.dilation[2];
          const T* from = image + (h * g.in[2] + w) * g.channels;
          const T* f = filter + (kh * g.window[2] + kw) * g.channels;
#pragma GCC ivdep
          for (int64_t c = 0; c < g.channels; ++c) {
            const T value = Plus(from[c], f[c]);
            best[c] = value > best[c] ? value : best[c];
          }
        }
      }
    }
  });
}

StatusOr<KernelPtr> BuildDilation(BuildContext& build) {
  SM_ASSIGN_OR_RETURN(const WindowAttrs parsed, ReadDilationAttrs(build.attrs()));
  return MakeKernel([parsed](OpContext& ctx) -> Status {
    if (ctx.output(0).num_elements() == 0) return Status();
    WindowAttrs attrs = parsed;
    attrs.window = {1, ctx.input(1).shape()[0], ctx.input(1).shape()[1]};
    SM_ASSIGN_OR_RETURN(const WindowGeometry g, ResolveWindow(attrs, ctx.input(0).shape()));
    return VisitDType<kReals>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using T = typename decltype(tag)::type;
      Dilate(ctx, g, ctx.in<T>(0), ctx.in<T>(1), ctx.out<T>(0));
      return Status();
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature = "Dilation2D(input: T, filter: T) -> (output: T); T: {float,double,int32,uint8,"
                  "int16,int8,int64,bfloat16,uint16,half,uint32,uint64}; "
                  "strides: list(int) >= 4; rates: list(int) >= 4; padding: {'SAME','VALID'}",
     .shape = DilationShape,
     .build = BuildDilation},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> DilationOps() { return kOps; }

}  // namespace savedmodel
