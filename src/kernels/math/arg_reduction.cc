// ArgMax and ArgMin.
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

Status ArgShape(ShapeContext& ctx) {
  const Shape& in = ctx.input(0);
  SM_RETURN_IF_ERROR(ctx.ExpectRank(1, 0));
  if (!in.known_rank()) return Status();
  const Tensor* dimension = ctx.value(1);
  if (dimension == nullptr) {
    if (in.rank() > 0) ctx.set_output(0, Shape::UnknownOfRank(in.rank() - 1));
    return Status();
  }
  const int64_t d = dimension->dtype() == DType::kInt16   ? *dimension->data<int16_t>()
                    : dimension->dtype() == DType::kInt64 ? *dimension->data<int64_t>()
                                                          : *dimension->data<int32_t>();
  SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(d, in.rank()));
  Shape out = in.WithRemoved(axis);
  SM_CHECK_ARG(in[axis] != 0 || out.num_elements() == 0, "axis ", axis, " is empty in shape ", in);
  ctx.set_output(0, std::move(out));
  return Status();
}

// True where `candidate` replaces `best`: the first of equals stays, and NaN never replaces.
template <bool max, class T>
bool Better(T candidate, T best) {
  return max ? candidate > best : candidate < best;
}

// Index of the best of `n` elements `step` apart; 0 when none beats the worst finite value.
template <bool max, class T>
int64_t ArgBest(const T* x, int64_t n, int64_t step) {
  using C = ComputeType<T>;
  C best = max ? std::numeric_limits<C>::lowest() : std::numeric_limits<C>::max();
  int64_t at = 0;
  for (int64_t i = 0; i < n; ++i) {
    const C value = static_cast<C>(x[i * step]);
    if (Better<max>(value, best)) {
      best = value;
      at = i;
    }
  }
  return at;
}

template <bool max>
Status RunArg(OpContext& ctx) {
  const Shape& in = ctx.input(0).shape();
  const int64_t d = ctx.input(1).dtype() == DType::kInt16 ? *ctx.in<int16_t>(1) : ctx.IntInput(1);
  SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(d, in.rank()));
  const int64_t size = in[axis], inner = in.Product(axis + 1, in.rank());
  constexpr DTypeSet kArgTypes = kReals | Only(DType::kBool);
  constexpr DTypeSet kIndexTypes = kInt32Or64 | Only(DType::kInt16) | Only(DType::kUInt16);
  return VisitDType<kArgTypes>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* x = ctx.in<T>(0);
    const auto each = [&](auto store) {
      ctx.ParallelFor(ctx.output(0).num_elements(), 1.0 * size, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const T* from = x + i / inner * inner * size + i % inner;
          store(i, inner == 1 ? ArgBest<max>(from, size, 1) : ArgBest<max>(from, size, inner));
        }
      });
    };
    return VisitDType<kIndexTypes>(ctx.output_dtype(0), [&](auto index_tag) -> Status {
      using Index = typename decltype(index_tag)::type;
      Index* y = ctx.out<Index>(0);
      each([y](int64_t i, int64_t at) { y[i] = static_cast<Index>(at); });
      return Status();
    });
  });
}

constexpr OpDef kOps[] = {
    {.signature =
         "ArgMax(input: T, dimension: Tidx) -> (output: output_type); T: {float,double,int32,"
         "uint8,int16,int8,int64,bfloat16,uint16,half,uint32,uint64,qint8,quint8,qint32,qint16,"
         "quint16,bool}; Tidx: {int16,int32,int64} = int32; output_type: {int16,uint16,int32,"
         "int64} = int64",
     .shape = ArgShape,
     .build = BuildPlain<RunArg<true>>},
    {.signature =
         "ArgMin(input: T, dimension: Tidx) -> (output: output_type); T: {float,double,int32,"
         "uint8,int16,int8,int64,bfloat16,uint16,half,uint32,uint64,qint8,quint8,qint32,qint16,"
         "quint16,bool}; Tidx: {int32,int64} = int32; output_type: {int32,int64} = int64",
     .shape = ArgShape,
     .build = BuildPlain<RunArg<false>>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> ArgReductionOps() { return kOps; }

}  // namespace savedmodel
