// Fourier transforms over the last one, two or three dimensions: complex, and of real signals.
#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>

#include "src/graph/op_signature.h"
#include "src/graph/shape_fns.h"
#include "src/kernels/math/elementwise.h"
#include "src/kernels/math/fft.h"
#include "src/kernels/math/math_ops.h"

namespace savedmodel {
namespace {

// Plans by length, for one kernel. Thread-safe.
template <class T>
class FftPlans {
 public:
  std::shared_ptr<const FftPlan<T>> Get(int64_t n, bool inverse) const {
    std::lock_guard<std::mutex> lock(mutex_);
    if (plans_.size() > kMost) plans_.clear();
    auto& plan = plans_[{n, inverse}];
    if (plan == nullptr) plan = std::make_shared<const FftPlan<T>>(n, inverse);
    return plan;
  }

 private:
  static constexpr size_t kMost = 8;
  mutable std::mutex mutex_;
  mutable std::map<std::pair<int64_t, bool>, std::shared_ptr<const FftPlan<T>>> plans_;
};

struct AllFftPlans {
  const FftPlans<float>& Of(float) const { return floats; }
  const FftPlans<double>& Of(double) const { return doubles; }
  FftPlans<float> floats;
  FftPlans<double> doubles;
};

// A view of `count` lines of `size` elements `step` apart within [outer, size, step].
struct Lines {
  int64_t outer;
  int64_t size;
  int64_t step;
  int64_t count() const { return outer * step; }
};

Lines LinesAlong(const Shape& shape, int axis) {
  return {shape.Product(0, axis), shape[axis], shape.Product(axis + 1, shape.rank())};
}

// Calls `fn(line offset, buffer, scratch)` for each line, in parallel.
template <class T, class F>
void ForEachLine(OpContext& ctx, const Lines& lines, int64_t buffer_size, int64_t scratch_size,
                 F fn) {
  const double cost = 10.0 * static_cast<double>(lines.size + 1);
  ctx.ParallelFor(lines.count(), cost, [&](int64_t begin, int64_t end) {
    std::vector<std::complex<T>> buffer(buffer_size), scratch(scratch_size);
    for (int64_t i = begin; i < end; ++i) {
      fn(i / lines.step * lines.step * lines.size + i % lines.step, buffer.data(), scratch.data());
    }
  });
}

// Transforms `data` along one axis in place.
template <class T>
void TransformAxis(OpContext& ctx, const FftPlans<T>& plans, const Shape& shape, int axis,
                   bool inverse, std::complex<T>* data) {
  const Lines lines = LinesAlong(shape, axis);
  if (lines.size == 0 || lines.count() == 0) return;
  const auto plan = plans.Get(lines.size, inverse);
  const T scale = inverse ? T(1) / static_cast<T>(lines.size) : T(1);
  const auto transform = [&](int64_t at, std::complex<T>* buffer, std::complex<T>* scratch) {
    for (int64_t k = 0; k < lines.size; ++k) buffer[k] = data[at + k * lines.step];
    plan->Run(buffer, scratch);
    for (int64_t k = 0; k < lines.size; ++k) data[at + k * lines.step] = buffer[k] * scale;
  };
  ForEachLine<T>(ctx, lines, lines.size, plan->scratch_size(), transform);
}

// The transform of n real numbers, n even, through a complex one of half the length:
// `buffer` holds pairs of them, `roots` e^(-2 pi i k / n), `y` gets n / 2 + 1 elements.
template <class T>
void UnpackReal(const std::complex<T>* z, const std::complex<T>* roots, int64_t n,
                std::complex<T>* y) {
  const int64_t h = n / 2;
  for (int64_t k = 0; k <= h; ++k) {
    const std::complex<T> a = z[k % h], b = std::conj(z[(h - k) % h]);
    const std::complex<T> even = (a + b) * T(0.5), d = (a - b) * T(0.5);
    const std::complex<T> odd = {d.imag(), -d.real()};
    y[k] = {even.real() + odd.real() * roots[k].real() - odd.imag() * roots[k].imag(),
            even.imag() + odd.real() * roots[k].imag() + odd.imag() * roots[k].real()};
  }
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
  const bool halves = n % 2 == 0;
  const auto plan = plans.Get(halves ? n / 2 : n, false);
  std::vector<std::complex<T>> roots;
  for (int64_t k = 0; halves && k <= n / 2; ++k) {
    const double angle = -2 * M_PI * static_cast<double>(k) / static_cast<double>(n);
    roots.emplace_back(static_cast<T>(std::cos(angle)), static_cast<T>(std::sin(angle)));
  }
  const int64_t columns = out[out.rank() - 1];
  const Lines rows{out.num_elements() / columns, n, 1};
  const auto transform = [&](int64_t at, std::complex<T>* buffer, std::complex<T>* scratch) {
    const int64_t row = at / n;
    const T* from = x + CroppedRow(in, out, row);
    if (halves) {
      for (int64_t k = 0; k < n / 2; ++k) buffer[k] = {from[2 * k], from[2 * k + 1]};
      plan->Run(buffer, scratch);
      UnpackReal(buffer, roots.data(), n, y + row * columns);
    } else {
      for (int64_t k = 0; k < n; ++k) buffer[k] = from[k];
      plan->Run(buffer, scratch);
      std::copy_n(buffer, columns, y + row * columns);
    }
  };
  ForEachLine<T>(ctx, rows, n, plan->scratch_size(), transform);
}

// Complex to real over the last axis: rows of n / 2 + 1 elements become n.
template <class T>
void BackwardReal(OpContext& ctx, const FftPlans<T>& plans, const Shape& out,
                  const std::complex<T>* x, T* y) {
  const int64_t n = out[out.rank() - 1], columns = n / 2 + 1;
  const auto plan = plans.Get(n, true);
  const T scale = T(1) / static_cast<T>(n);
  const Lines rows{out.num_elements() / n, n, 1};
  const auto transform = [&](int64_t at, std::complex<T>* buffer, std::complex<T>* scratch) {
    const std::complex<T>* from = x + at / n * columns;
    for (int64_t k = 0; k < columns; ++k) buffer[k] = from[k];
    for (int64_t k = columns; k < n; ++k) buffer[k] = std::conj(from[n - k]);
    buffer[0] = buffer[0].real();
    plan->Run(buffer, scratch);
    for (int64_t k = 0; k < n; ++k) y[at + k] = buffer[k].real() * scale;
  };
  ForEachLine<T>(ctx, rows, n, plan->scratch_size(), transform);
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
