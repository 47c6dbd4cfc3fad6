// Points of the Sobol sequence, which fill a cube more evenly than random ones.
#include "src/kernels/math/sobol.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "src/base/status_macros.h"
#include "src/graph/op_signature.h"
#include "src/kernels/math/math_ops.h"
#include "src/kernels/visit_dtype.h"

namespace savedmodel {
namespace {

constexpr int kDigits = 31;

// ------------------------------------------------------------------------------ direction numbers

// x^n modulo `modulus`, a polynomial of degree `degree`; n < 2^degree. Bit i of a polynomial is the
// coefficient, 0 or 1, of x^i.
uint32_t PowerOfX(uint32_t n, uint32_t modulus, int degree) {
  uint32_t power = 1;
  for (int bit = degree - 1; bit >= 0; --bit) {
    uint32_t next = 0;
    for (int i = 0; i < degree; ++i) next |= (power >> i & 1) << 2 * i;  // the square
    next <<= n >> bit & 1;
    for (int i = degree - 1; i >= 0; --i) next ^= (next >> (degree + i) & 1) * (modulus << i);
    power = next;
  }
  return power;
}

// Whether 2^degree - 1 is the least n > 0 for which x^n is 1.
bool IsPrimitive(uint32_t polynomial, int degree) {
  const uint32_t period = (1u << degree) - 1;
  if (PowerOfX(period, polynomial, degree) != 1) return false;
  // All prime factors of 2^degree - 1 up to degree 13 that are less than it.
  for (const uint32_t prime : {3, 5, 7, 11, 13, 17, 23, 31, 73, 89}) {
    if (prime < period && period % prime == 0 &&
        PowerOfX(period / prime, polynomial, degree) == 1) {
      return false;
    }
  }
  return true;
}

// For each binary digit, most significant first, a row of direction numbers: one for each
// dimension, of kDigits digits.
using DirectionNumbers = std::array<std::array<uint32_t, kSobolDimensions>, kDigits>;

// Direction number k of a dimension is v_k = m_k / 2^(k + 1). With its polynomial
// x^d + a_1 x^(d-1) + … + a_d, m_k = 2 a_1 m_(k-1) ^ … ^ 2^d a_d m_(k-d) ^ m_(k-d) from k = d on.
void SetDimension(int j, uint32_t polynomial, int degree, int64_t* position, DirectionNumbers* v) {
  std::array<uint32_t, kDigits> m;
  for (int k = 0; k < degree; ++k) {
    m[k] = 1;
    for (int i = 1; i <= k; ++i, ++*position) {
      m[k] |= static_cast<uint32_t>(kSobolInitialBits[*position / 64] >> *position % 64 & 1) << i;
    }
  }
  for (int k = degree; k < kDigits; ++k) {
    m[k] = m[k - degree];
    for (int i = 1; i <= degree; ++i) m[k] ^= (m[k - i] << i) * (polynomial >> (degree - i) & 1);
  }
  for (int k = 0; k < kDigits; ++k) (*v)[k][j] = m[k] << (kDigits - 1 - k);
}

DirectionNumbers MakeDirectionNumbers() {
  DirectionNumbers v;
  for (int k = 0; k < kDigits; ++k) v[k][0] = 1u << (kDigits - 1 - k);
  int64_t position = 0;
  int j = 1;
  for (uint32_t polynomial = 3; j < kSobolDimensions; polynomial += 2) {
    const int degree = std::bit_width(polynomial) - 1;
    if (IsPrimitive(polynomial, degree)) SetDimension(j++, polynomial, degree, &position, &v);
  }
  return v;
}

const DirectionNumbers& AllDirectionNumbers() {
  static const DirectionNumbers v = MakeDirectionNumbers();
  return v;
}

// ---------------------------------------------------------------------------------------- samples

Status Fault(StatusCode code, const char* what, int64_t found) {
  return Status(code, StrCat(what, ", found ", found));
}

// In TensorFlow's words.
Status CheckArguments(int64_t dim, int64_t num_results, int64_t skip) {
  constexpr StatusCode kInvalid = StatusCode::kInvalidArgument;
  if (dim < 1) return Fault(kInvalid, "dim must be at least one", dim);
  if (dim > 21200) return Fault(kInvalid, "dim must be at most 21200", dim);
  static_assert(kSobolDimensions == 1111);
  if (dim > kSobolDimensions) {
    return Fault(StatusCode::kUnimplemented,
                 "dim must be at most 1111: the library has no numbers of later dimensions", dim);
  }
  if (num_results < 1) return Fault(kInvalid, "num_results must be at least one", num_results);
  if (skip < 0) return Fault(kInvalid, "skip must be non-negative", skip);
  if (num_results + skip >= std::numeric_limits<int32_t>::max()) {
    return Fault(kInvalid, "num_results+skip must be less than 2147483647", num_results + skip);
  }
  return Status();
}

Status SobolShape(ShapeContext& ctx) {
  for (int i = 0; i < 3; ++i) SM_RETURN_IF_ERROR(ctx.ExpectRank(i, 0));
  int64_t dim = 1, num_results = 1, skip = 0;  // what is not known may be right
  const bool dim_known = ctx.IntValue(0, &dim), num_known = ctx.IntValue(1, &num_results);
  ctx.IntValue(2, &skip);
  SM_RETURN_IF_ERROR(CheckArguments(dim, num_results, skip));
  ctx.set_output(0, Shape({num_known ? num_results : -1, dim_known ? dim : -1}));
  return Status();
}

// Point n is the exclusive or of the direction numbers that the bits of n's Gray code select; the
// codes of n - 1 and n differ in the lowest bit of n that is set.
void PointAt(uint32_t n, int64_t dim, const DirectionNumbers& v, uint32_t* point) {
  std::fill_n(point, dim, 0);
  for (uint32_t code = n ^ n >> 1; code != 0; code &= code - 1) {
    const auto& row = v[std::countr_zero(code)];
    for (int64_t j = 0; j < dim; ++j) point[j] ^= row[j];
  }
}

// Row i is point skip + i + 1: TensorFlow leaves out point 0, which is 0.
template <class T>
void Sample(OpContext& ctx, uint32_t skip, T* samples) {
  const DirectionNumbers& v = AllDirectionNumbers();
  const int64_t num_results = ctx.output(0).shape()[0], dim = ctx.output(0).shape()[1];
  // TensorFlow divides by 1 << digits, an int: with 31 digits that is -2^31. The digits are those
  // of the number after the last point's, in TensorFlow the last of those that one thread computes.
  const bool negative = skip + num_results + 1 >= int64_t{1} << (kDigits - 1);
  const T scale = (negative ? T{-1} : T{1}) / static_cast<T>(1u << kDigits);
  ctx.ParallelFor(num_results, static_cast<double>(dim), [&](int64_t begin, int64_t end) {
    uint32_t n = skip + static_cast<uint32_t>(begin);
    std::array<uint32_t, kSobolDimensions> point;
    PointAt(n, dim, v, point.data());
    for (T* row = samples + begin * dim; row != samples + end * dim; row += dim) {
      const auto& change = v[std::countr_zero(++n)];
      for (int64_t j = 0; j < dim; ++j) {
        point[j] ^= change[j];
        row[j] = static_cast<T>(static_cast<int32_t>(point[j])) * scale;
      }
    }
  });
}

// Inputs dim, num_results, skip.
Status RunSobol(OpContext& ctx) {
  SM_RETURN_IF_ERROR(CheckArguments(ctx.IntInput(0), ctx.IntInput(1), ctx.IntInput(2)));
  return VisitDType<kFloatDouble>(ctx.output_dtype(0), [&](auto tag) -> Status {
    using T = typename decltype(tag)::type;
    Sample(ctx, static_cast<uint32_t>(ctx.IntInput(2)), ctx.out<T>(0));
    return Status();
  });
}

constexpr OpDef kOps[] = {
    {.signature = "SobolSample(dim: int32, num_results: int32, skip: int32) -> (samples: dtype); "
                  "dtype: {float,double} = float",
     .shape = SobolShape,
     .build = BuildPlain<RunSobol>},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> SobolOps() { return kOps; }

}  // namespace savedmodel
