// Fourier transforms over the last one, two or three dimensions: complex, and of real signals.
#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>

#include "src/base/aligned_vector.h"
#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/fft.h"
#include "src/kernels/math/fft_lines.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

// Plans by length, for one kernel. Thread-safe.
template <class T>
class FftPlans {
 public:
  std::shared_ptr<const FftPlan<T>> Get(int64_t n, FftKind kind) const {
    std::lock_guard<std::mutex> lock(mutex_);
    if (plans_.size() > kMost) plans_.clear();
    auto& plan = plans_[{n, kind}];
    if (plan == nullptr) plan = std::make_shared<const FftPlan<T>>(n, kind);
    return plan;
  }

 private:
  static constexpr size_t kMost = 8;
  mutable std::mutex mutex_;
  mutable std::map<std::pair<int64_t, FftKind>, std::shared_ptr<const FftPlan<T>>> plans_;
};

struct AllFftPlans {
  const FftPlans<float>& Of(float) const { return floats; }
  const FftPlans<double>& Of(double) const { return doubles; }
  FftPlans<float> floats;
  FftPlans<double> doubles;
};

// Transforms `count` lines of `in_size` and `out_size` numbers, `step` apart, in parallel: line i
// begins at from(i), its result at to(i).
template <class T, class In, class Out>
struct LineTransform {
  int64_t count, in_size, out_size, step;
  T scale;

  template <class From, class To>
  void Run(OpContext& ctx, const FftPlan<T>& plan, From from, To to) const {
    const int lanes = plan.Lanes(count);
    const double cost = 10.0 * lanes * static_cast<double>(plan.most_pairs() + 1);
    ctx.ParallelFor((count + lanes - 1) / lanes, cost, [&](int64_t begin, int64_t end) {
      const size_t size = 2 * static_cast<size_t>(plan.most_pairs() * lanes);
      AlignedVector<T> x(size), y(size);
      std::vector<const In*> in(lanes);
      std::vector<Out*> out(lanes);
      for (int64_t first = begin * lanes; first < std::min(count, end * lanes); first += lanes) {
        for (int64_t l = 0; l < lanes; ++l) {
          in[l] = from(std::min(first + l, count - 1));
          out[l] = first + l < count ? to(first + l) : nullptr;
        }
        LoadLines<T>(LineBlock<const In>{in.data(), lanes, in_size, step}, x.data());
        const T* result = plan.Run(lanes, x.data(), y.data());
        StoreLines<T>(result, scale, LineBlock<Out>{out.data(), lanes, out_size, step});
      }
    });
  }
};

// Transforms `data` along one axis in place.
template <class T>
void TransformAxis(OpContext& ctx, const FftPlans<T>& plans, const Shape& shape, int axis,
                   bool inverse, std::complex<T>* data) {
  using C = std::complex<T>;
  const int64_t size = shape[axis], step = shape.Product(axis + 1, shape.rank());
  const int64_t count = shape.Product(0, axis) * step;
  if (size == 0 || count == 0) return;
  const auto plan = plans.Get(size, inverse ? FftKind::kInverse : FftKind::kForward);
  const T scale = inverse ? T(1) / static_cast<T>(size) : T(1);
  const auto line = [&](int64_t i) { return data + i / step * step * size + i % step; };
  LineTransform<T, C, C>{count, size, size, step, scale}.Run(ctx, *plan, line, line);
}

// Row `i` of [rows.., columns] cropped to the leading corner: offset of row `i` of `small` in
// `big`.
int64_t CroppedRow(const Shape& big, const Shape& small, int64_t i) {
  int64_t offset = 0, step = big[big.rank() - 1];
  for (int d = small.rank() - 2; d >= 0; --d) {
    offset += i % small[d] * step;
    i /= small[d];
    step *= big[d];
  }
  return offset;
}

// Real to complex over the last axis; rows are cropped to `n` elements.
template <class T>
void ForwardReal(OpContext& ctx, const FftPlans<T>& plans, const Shape& in, const Shape& out,
                 int64_t n, const T* x, std::complex<T>* y) {
  using C = std::complex<T>;
  const auto plan = plans.Get(n, FftKind::kRealForward);
  const int64_t columns = out[out.rank() - 1], rows = out.num_elements() / columns;
  const auto from = [&](int64_t row) { return x + CroppedRow(in, out, row); };
  const auto to = [&](int64_t row) { return y + row * columns; };
  if (n % 2 == 0) {
    const auto pairs = [&](int64_t row) { return reinterpret_cast<const C*>(from(row)); };
    LineTransform<T, C, C>{rows, n / 2, columns, 1, T(1)}.Run(ctx, *plan, pairs, to);
  } else {
    LineTransform<T, T, C>{rows, n, columns, 1, T(1)}.Run(ctx, *plan, from, to);
  }
}

// Complex to real over the last axis: rows of n / 2 + 1 elements become n.
template <class T>
void BackwardReal(OpContext& ctx, const FftPlans<T>& plans, const Shape& out,
                  const std::complex<T>* x, T* y) {
  using C = std::complex<T>;
  const int64_t n = out[out.rank() - 1], rows = out.num_elements() / n, columns = n / 2 + 1;
  const auto plan = plans.Get(n, FftKind::kRealInverse);
  const T scale = T(1) / static_cast<T>(n);
  const auto from = [&](int64_t row) { return x + row * columns; };
  const auto to = [&](int64_t row) { return y + row * n; };
  if (n % 2 == 0) {
    const auto pairs = [&](int64_t row) { return reinterpret_cast<C*>(to(row)); };
    LineTransform<T, C, C>{rows, columns, n / 2, 1, scale}.Run(ctx, *plan, from, pairs);
  } else {
    LineTransform<T, C, T>{rows, columns, n, 1, scale}.Run(ctx, *plan, from, to);
  }
}

// ------------------------------------------------------------------------------------------- ops

template <int dims>
Status FftShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, dims));
  ctx.set_output(0, ctx.input(0));
  return Status();
}

template <int dims, bool inverse>
StatusOr<KernelPtr> BuildFft(BuildContext&) {
  return MakeKernel([plans = std::make_shared<const AllFftPlans>()](OpContext& ctx) {
    return VisitDType<kComplexes>(ctx.input(0).dtype(), [&](auto tag) -> Status {
      using C = typename decltype(tag)::type;
      using T = typename C::value_type;
      const Shape& shape = ctx.input(0).shape();
      if (ctx.out<C>(0) != ctx.in<C>(0)) {
        std::copy_n(ctx.in<C>(0), shape.num_elements(), ctx.out<C>(0));
      }
      for (int axis = shape.rank() - dims; axis < shape.rank(); ++axis) {
        TransformAxis<T>(ctx, plans->Of(T()), shape, axis, inverse, ctx.out<C>(0));
      }
      return Status();
    });
  });
}

// Real transforms take the lengths of the transformed dimensions from input 1.
template <int dims, bool inverse>
Status RealFftShape(ShapeContext& ctx) {
  SM_RETURN_IF_ERROR(ctx.ExpectRankAtLeast(0, dims));
  const Shape &in = ctx.input(0), &length_shape = ctx.input(1);
  SM_CHECK_ARG(length_shape.CompatibleWith(Shape({dims})), "fft_length must have shape [", dims,
               "], found ", length_shape);
  std::vector<int64_t> lengths;
  if (!in.known_rank()) return Status();
  if (!ctx.IntValues(1, &lengths)) {
    ctx.set_output(0, Shape::UnknownOfRank(in.rank()));
    return Status();
  }
  std::vector<int64_t> out = in.ToVector();
  for (int d = 0; d < dims; ++d) {
    const int axis = in.rank() - dims + d;
    const int64_t length = lengths[d];
    SM_CHECK_ARG(length >= 0, "fft_length[", d, "] must be >= 0, but got: ", length);
    const int64_t half = d == dims - 1 && length > 0 ? length / 2 + 1 : length;
    const int64_t needed = inverse ? half : length;
    SM_CHECK_ARG(in[axis] == -1 || in[axis] == 0 || in[axis] >= needed, "Input dimension ", axis,
                 " must have length of at least ", needed, " but got: ", in[axis]);
    out[axis] = in[axis] == 0 ? 0 : inverse ? length : half;
  }
  SM_ASSIGN_OR_RETURN(Shape shape, Shape::Make(out));
  ctx.set_output(0, std::move(shape));
  return Status();
}

template <class T>
void RunForwardReal(OpContext& ctx, const FftPlans<T>& plans, int dims) {
  using C = std::complex<T>;
  const Shape &in = ctx.input(0).shape(), &out = ctx.output(0).shape();
  const int64_t n = ctx.IntsInput(1).back();
  ForwardReal<T>(ctx, plans, in, out, n, ctx.in<T>(0), ctx.out<C>(0));
  for (int axis = out.rank() - dims; axis < out.rank() - 1; ++axis) {
    TransformAxis<T>(ctx, plans, out, axis, false, ctx.out<C>(0));
  }
}

template <class T>
Status RunBackwardReal(OpContext& ctx, const FftPlans<T>& plans, int dims) {
  using C = std::complex<T>;
  const Shape &in = ctx.input(0).shape(), &out = ctx.output(0).shape();
  const int last = out.rank() - 1;
  const Shape cropped = out.WithDim(last, out[last] / 2 + 1);
  SM_ASSIGN_OR_RETURN(Tensor spectrum, ctx.AllocateTemp(ctx.input(0).dtype(), cropped));
  C* data = static_cast<C*>(spectrum.raw_mutable_data());
  const int64_t columns = cropped[last];
  for (int64_t row = 0; row < cropped.num_elements() / columns; ++row) {
    std::copy_n(ctx.in<C>(0) + CroppedRow(in, cropped, row), columns, data + row * columns);
  }
  for (int axis = out.rank() - dims; axis < last; ++axis) {
    TransformAxis<T>(ctx, plans, cropped, axis, true, data);
  }
  BackwardReal<T>(ctx, plans, out, data, ctx.out<T>(0));
  return Status();
}

template <int dims, bool inverse>
StatusOr<KernelPtr> BuildRealFft(BuildContext& build) {
  const bool single = build.attrs().Type("Treal") == DType::kFloat;
  if (single != (build.attrs().Type("Tcomplex") == DType::kComplex64)) {
    return InvalidArgument("found Treal ", build.attrs().Type("Treal"), " with Tcomplex ",
                           build.attrs().Type("Tcomplex"),
                           ", expected types of the same precision");
  }
  return MakeKernel([plans = std::make_shared<const AllFftPlans>(), single](OpContext& ctx) {
    const auto run = [&](auto zero) -> Status {
      using T = decltype(zero);
      if (ctx.output(0).num_elements() == 0) return Status();
      if (inverse) return RunBackwardReal<T>(ctx, plans->Of(zero), dims);
      RunForwardReal<T>(ctx, plans->Of(zero), dims);
      return Status();
    };
    return single ? run(0.0f) : run(0.0);
  });
}

constexpr OpDef kOps[] = {
    {.signature = "FFT(input: Tcomplex) -> (output: Tcomplex); Tcomplex: {complex64,complex128} = "
                  "complex64",
     .shape = FftShape<1>,
     .build = (BuildFft<1, false>)},
    {.signature =
         "FFT2D(input: Tcomplex) -> (output: Tcomplex); Tcomplex: {complex64,complex128} = "
         "complex64",
     .shape = FftShape<2>,
     .build = (BuildFft<2, false>)},
    {.signature =
         "FFT3D(input: Tcomplex) -> (output: Tcomplex); Tcomplex: {complex64,complex128} = "
         "complex64",
     .shape = FftShape<3>,
     .build = (BuildFft<3, false>)},
    {.signature = "IFFT(input: Tcomplex) -> (output: Tcomplex); Tcomplex: {complex64,complex128} = "
                  "complex64",
     .shape = FftShape<1>,
     .build = (BuildFft<1, true>)},
    {.signature =
         "IFFT2D(input: Tcomplex) -> (output: Tcomplex); Tcomplex: {complex64,complex128} = "
         "complex64",
     .shape = FftShape<2>,
     .build = (BuildFft<2, true>)},
    {.signature =
         "IFFT3D(input: Tcomplex) -> (output: Tcomplex); Tcomplex: {complex64,complex128} = "
         "complex64",
     .shape = FftShape<3>,
     .build = (BuildFft<3, true>)},
    {.signature =
         "IRFFT(input: Tcomplex, fft_length: int32) -> (output: Treal); Treal: {float,double} "
         "= float; Tcomplex: {complex64,complex128} = complex64",
     .shape = (RealFftShape<1, true>),
     .build = (BuildRealFft<1, true>)},
    {.signature = "IRFFT2D(input: Tcomplex, fft_length: int32) -> (output: Treal); Treal: {float,"
                  "double} = float; Tcomplex: {complex64,complex128} = complex64",
     .shape = (RealFftShape<2, true>),
     .build = (BuildRealFft<2, true>)},
    {.signature = "IRFFT3D(input: Tcomplex, fft_length: int32) -> (output: Treal); Treal: {float,"
                  "double} = float; Tcomplex: {complex64,complex128} = complex64",
     .shape = (RealFftShape<3, true>),
     .build = (BuildRealFft<3, true>)},
    {.signature =
         "RFFT(input: Treal, fft_length: int32) -> (output: Tcomplex); Treal: {float,double} = "
         "float; Tcomplex: {complex64,complex128} = complex64",
     .shape = (RealFftShape<1, false>),
     .build = (BuildRealFft<1, false>)},
    {.signature =
         "RFFT2D(input: Treal, fft_length: int32) -> (output: Tcomplex); Treal: {float,double} "
         "= float; Tcomplex: {complex64,complex128} = complex64",
     .shape = (RealFftShape<2, false>),
     .build = (BuildRealFft<2, false>)},
    {.signature =
         "RFFT3D(input: Treal, fft_length: int32) -> (output: Tcomplex); Treal: {float,double} "
         "= float; Tcomplex: {complex64,complex128} = complex64",
     .shape = (RealFftShape<3, false>),
     .build = (BuildRealFft<3, false>)},
};
static_assert(RowsAreSound(kOps));

}  // namespace

Span<const OpDef> FftOps() { return kOps; }

}  // namespace savedmodel
