// ArgMax and ArgMin.
#include <algorithm>
#include <cassert>

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

// Results [begin, end), each of `size` elements `inner` apart.
template <bool max, class T>
void ArgBests(const T* x, int64_t size, int64_t inner, int64_t begin, int64_t end,
              int32_t* results) {
  for (int64_t i = begin; i < end;) {
    const T* from = x + i / inner * inner * size + i % inner;
    if constexpr (std::is_same_v<T, float>) {
      constexpr int64_t kWorthACall = 48;
      if (inner == 1) {
        const int64_t at =
            size < kWorthACall ? ArgBest<max>(from, size, 1) : Vectors().arg_best(max, from, size);
        *results++ = static_cast<int32_t>(at), ++i;
      } else {
        const int64_t columns = std::min(inner - i % inner, end - i);
        Vectors().arg_best_rows(max, from, inner, size, columns, results);
        results += columns, i += columns;
      }
    } else if (std::is_integral_v<T> && inner == 1) {
      T best = *from;
      for (int64_t k = 1; k < size; ++k) best = Better<max>(from[k], best) ? from[k] : best;
      *results++ = static_cast<int32_t>(std::find(from, from + size, best) - from), ++i;
    } else {
      *results++ = static_cast<int32_t>(ArgBest<max>(from, size, inner)), ++i;
    }
  }
}

// n indices as the elements of `output` from `first` on.
void StoreIndices(const int32_t* indices, int64_t n, int64_t first, Tensor& output) {
  constexpr DTypeSet kIndexTypes = kInt32Or64 | Only(DType::kInt16) | Only(DType::kUInt16);
  const Status of_index_type = VisitDType<kIndexTypes>(output.dtype(), [&](auto tag) {
    using Index = typename decltype(tag)::type;
    Index* y = static_cast<Index*>(output.raw_mutable_data()) + first;
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<Index>(indices[i]);
    return Status();
  });
  assert(of_index_type.ok());  // the op's signature has no other
  static_cast<void>(of_index_type);
}

template <bool max>
Status RunArg(OpContext& ctx) {
  const Shape& in = ctx.input(0).shape();
  const int64_t d = ctx.input(1).dtype() == DType::kInt16 ? *ctx.in<int16_t>(1) : ctx.IntInput(1);
  SM_ASSIGN_OR_RETURN(const int axis, shape::NormalizeAxis(d, in.rank()));
  const int64_t size = in[axis], inner = in.Product(axis + 1, in.rank());
  SM_CHECK_ARG(size <= std::numeric_limits<int32_t>::max(), "found ", size,
               " elements to choose from, expected less than 2^31");
  constexpr DTypeSet kArgTypes = kReals | Only(DType::kBool);
  constexpr int64_t kBlock = 256;
  return VisitDType<kArgTypes>(ctx.input(0).dtype(), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    const T* x = ctx.in<T>(0);
    ctx.ParallelFor(ctx.output(0).num_elements(), 1.0 * size, [&](int64_t begin, int64_t end) {
      int32_t block[kBlock];
      for (int64_t at = begin; at < end; at += kBlock) {
        const int64_t next = std::min(at + kBlock, end);
        ArgBests<max>(x, size, inner, at, next, block);
        StoreIndices(block, next - at, at, ctx.output(0));
      }
    });
    return Status();
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
